"""Reads a folder with one subfolder of images per class, named after the class.

All images must have the same size: how to resize them is for the user to decide. They become
uint8 arrays of shape (n, height, width) if all are greyscale, else (n, height, width, 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.datasets.cache import reading
from trainer.datasets.dataset import Dataset
from trainer.datasets.splits import as_dataset, split_in_three

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_GREY = {"1", "L", "LA"}
_COLOUR = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"}


def load_folder(root: Path, seed: int) -> Dataset:
    """Load the images of the class folders in `root`; the sorted folder names are the classes."""
    folders = [entry for entry in _visible(root) if entry.is_dir()]
    if len(folders) < 2:
        raise ValueError(
            f"{root} contains {len(folders)} folders: put the images of each class into a "
            "subfolder named after the class; at least two classes are needed"
        )
    images = [_images_in(folder) for folder in folders]
    files = [file for in_class in images for file in in_class]
    colour = _check_headers(files)
    x = _read_pixels(files, colour)
    y = np.repeat(np.arange(len(folders)), [len(in_class) for in_class in images])
    left_out = len(_visible(root)) + sum(map(len, map(_visible, folders))) - len(folders) - len(x)
    also = f" {left_out} other entries of these folders were ignored." if left_out else ""
    return as_dataset(
        split_in_three(x, y, "classification", seed),
        name=root.name,
        task="classification",
        class_names=[folder.name for folder in folders],
        description=f"{'Colour' if colour else 'Greyscale'} images of {x.shape[2]} x {x.shape[1]} "
        f"pixels from {len(folders)} class folders.{also}",
        source=str(root),
    )


def _visible(folder: Path) -> list[Path]:
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(entries, key=lambda entry: entry.name)


def _images_in(folder: Path) -> list[Path]:
    files = [file for file in _visible(folder) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise ValueError(
            f"{folder} contains no image ({', '.join(SUFFIXES)}): each folder in {folder.parent} "
            "is taken as a class, so remove this one, or pass the folder whose subfolders are the "
            "classes"
        )
    return files


@contextmanager
def _opened(file: Path) -> Iterator[Image]:
    import PIL.Image

    with reading(file, "an image", cached=False), PIL.Image.open(file) as image:
        yield image


def _check_headers(files: list[Path]) -> bool:
    """Return whether any image is in colour.

    Raises:
        ValueError: The images differ in size, or one is animated or not 8 bits per channel.
    """
    colour = False
    first_size = None
    for file in files:
        with _opened(file) as image:
            size, mode = image.size, image.mode
            # A phone's .jpg file may contain previews as further frames; the first is the photo.
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            colour = colour or (mode in _COLOUR and not _has_grey_palette(image))
        first_size = first_size or size
        if size != first_size:
            raise ValueError(
                f"{files[0]} has {first_size[0]} x {first_size[1]} pixels and {file} has "
                f"{size[0]} x {size[1]}: resize all images to the same size first, "
                f"for example with Pillow's Image.resize(({first_size[0]}, {first_size[1]}))"
            )
        if mode not in _GREY | _COLOUR:
            raise ValueError(
                f"{file} has pixels of mode {mode}, not 8 bits per channel: "
                "save it as an 8-bit greyscale or RGB image"
            )
        if frames > 1:
            raise ValueError(
                f"{file} is an animation of {frames} frames: "
                "save the frame to learn from as a separate image"
            )
    return colour


def _has_grey_palette(image: Image) -> bool:
    """Return whether the image has a palette of greys only, as greyscale .gif files do."""
    palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
    return len(palette) > 0 and bool((palette == palette[:, :1]).all())


def _read_pixels(files: list[Path], colour: bool) -> np.ndarray:
    images = []
    for file in files:
        with _opened(file) as image:
            has_alpha = image.has_transparency_data
            opaque = not has_alpha or image.convert("RGBA").getchannel("A").getextrema()[0] == 255
            images.append(np.asarray(image.convert("RGB" if colour else "L")))
        if not opaque:
            raise ValueError(f"{file} has transparent pixels: save it with an opaque background")
    return np.stack(images)
