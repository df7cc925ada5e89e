"""Reads a folder with one subfolder of images per class, named after the class.

All images must have the same size, unless a size to resize them to is given. Photos are turned
upright first if their EXIF data say how the camera was held. They become uint8 arrays of shape
(n, height, width) if all are greyscale, else (n, height, width, 3).
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainer.datasets.cache import DataFileError, reading
from trainer.datasets.dataset import Dataset
from trainer.datasets.splits import as_dataset, split_in_three

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_GREY = {"1", "L", "LA"}
_COLOUR = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"}


def load_folder(
    root: Path, seed: int, size: tuple[int, int] | None = None, *, skip_broken: bool = False
) -> Dataset:
    """Load the images of the class folders in `root`; the sorted folder names are the classes.

    Args:
        root: The folder of the class folders.
        seed: Of the random split.
        size: The height and width to resize images to; None if all have the same size.
        skip_broken: Whether to leave out images that cannot be read, with a warning, instead of
            raising a DataFileError.
    """
    folders = [entry for entry in _visible(root) if entry.is_dir()]
    loose = [entry for entry in _visible(root) if entry.is_file()]
    if len(folders) < 2:
        counted = f"{len(loose)} file{'' if len(loose) == 1 else 's'}"
        found = f" and {counted}, such as {loose[0].name}" if loose else ""
        raise ValueError(
            f"{root} contains {'1 folder' if folders else 'no folders'}{found}: put the images of "
            "each class into a subfolder named after the class; at least two classes are needed"
        )
    if loose_images := [entry for entry in loose if _is_image(entry)]:
        raise ValueError(
            f"{root} contains both class folders and images without a class, such as "
            f"{loose_images[0].name} ({len(loose_images)} in all): move each image into the folder "
            "of its class"
        )
    images = [_images_in(folder) for folder in folders]
    files = [file for in_class in images for file in in_class]
    labels = np.repeat(np.arange(len(folders)), [len(in_class) for in_class in images])
    left_out = len(_visible(root)) + sum(map(len, map(_visible, folders)))
    left_out -= len(folders) + len(files)
    also = f" {left_out} other entries of these folders were ignored." if left_out else ""
    broken: dict[Path, DataFileError] | None = {} if skip_broken else None
    colour = _check_headers(files, size, broken)
    x, kept = _read_pixels(files, colour, size, broken)
    y = labels[kept]
    if broken:
        also += _report_broken(broken, len(files))
    for label, folder in enumerate(folders):
        if label not in y:
            raise DataFileError(
                f"{folder}: no image of this class can be read; copy its images again, or remove "
                "the folder"
            )
    resized = ", resized," if size else ""
    return as_dataset(
        split_in_three(x, y, "classification", seed),
        name=root.name,
        task="classification",
        class_names=[folder.name for folder in folders],
        description=f"{'Colour' if colour else 'Greyscale'} images of {x.shape[2]} x {x.shape[1]} "
        f"pixels{resized} from {len(folders)} class folders.{also}",
        source=str(root),
    )


def read_images(root: Path, size: tuple[int, int], *, colour: bool) -> tuple[np.ndarray, list[str]]:
    """Read all images in a folder and those below it, as `load_folder` reads them with a size.

    Args:
        root: The folder.
        size: The height and width to resize images to.
        colour: Whether they have three channels; else they are grey.

    Returns:
        The images [n, height, width], or [n, height, width, 3], and their paths within the folder,
        in the order of these.

    Raises:
        ValueError: There are none, or one is animated, transparent or not 8 bits per channel.
        DataFileError: One cannot be read.
    """
    files = sorted(f for f in root.rglob("*") if _is_image(f) and f.is_file())
    files = [f for f in files if not any(p.startswith(".") for p in f.relative_to(root).parts)]
    if not files:
        raise ValueError(f"{root} contains no image ({', '.join(SUFFIXES)})")
    _check_headers(files, size, None)
    pixels, _ = _read_pixels(files, colour, size, None)
    return pixels, [file.relative_to(root).as_posix() for file in files]


def _report_broken(broken: dict[Path, DataFileError], total: int) -> str:
    """Warn of the images that were left out; return a sentence for the description."""
    named = ", ".join(map(str, list(broken)[:5])) + (", ..." if len(broken) > 5 else "")
    # load_folder, load, and the user
    warnings.warn(
        f"{len(broken)} of {total} images cannot be read and are left out: {named}", stacklevel=4
    )
    return f" {len(broken)} broken images were left out."


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _visible(folder: Path) -> list[Path]:
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(entries, key=lambda entry: entry.name)


def _images_in(folder: Path) -> list[Path]:
    files = [file for file in _visible(folder) if _is_image(file) and file.is_file()]
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

    try:
        # Not by its path: Pillow then maps some .tiff files into memory by the wrong width, where
        # their orientation is to swap width and height.
        with (
            reading(file, "an image", cached=False),
            file.open("rb") as stream,
            PIL.Image.open(stream) as image,
        ):
            yield image
    # What Pillow raises for broken files besides the errors that `reading` knows.
    except (SyntaxError, struct.error, PIL.Image.DecompressionBombError) as error:
        raise DataFileError(f"{file} is incomplete or not an image ({error})") from error


@contextmanager
def _noting(file: Path, broken: dict[Path, DataFileError] | None) -> Iterator[None]:
    """Add a broken image to `broken`, or raise its error if that is None."""
    try:
        yield
    except DataFileError as error:
        if broken is None:
            raise
        broken[file] = error


class _Header(NamedTuple):
    size: tuple[int, int]
    mode: str
    frames: int
    colour: bool


def _upright(image: Image) -> Image:
    """Return the image as its EXIF data say it is to be shown."""
    import PIL.ImageOps

    image.load()  # an error in the pixels is one of the image, not of its EXIF data
    try:
        return PIL.ImageOps.exif_transpose(image)
    except (SyntaxError, struct.error, ValueError, TypeError, KeyError):
        # Damaged EXIF data name no orientation. Viewers show such images as they are stored.
        return image


def _header(file: Path, *, with_size: bool) -> _Header:
    """Return what `_check_headers` needs; the size before resizing only if that matters.

    Pixels are decoded for the size of images with an orientation, and of .png files, whose
    orientation may come after them.
    """
    with _opened(file) as image:
        # A phone's .jpg file may contain previews as further frames; the first is the photo.
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        colour = image.mode in _COLOUR and not _has_grey_palette(image)
        mode = image.mode
        size = _upright(image).size if with_size and _may_be_turned(image) else image.size
        return _Header(size, mode, frames, colour)


def _may_be_turned(image: Image) -> bool:
    metadata = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"} & set(image.info)
    return bool(metadata) or image.format in ("PNG", "TIFF")


def _check_headers(
    files: list[Path], size: tuple[int, int] | None, broken: dict[Path, DataFileError] | None
) -> bool:
    """Return whether any image is in colour; note the broken ones.

    Raises:
        ValueError: The images differ in size and are not to be resized, or one is animated or not
            8 bits per channel.
    """
    colour = False
    first: tuple[Path, tuple[int, int]] | None = None
    for file in files:
        header = None
        with _noting(file, broken):
            header = _header(file, with_size=size is None)
        if header is None:
            continue
        (width, height), mode, frames, in_colour = header
        colour = colour or in_colour
        first = first or (file, header.size)
        if size is None and header.size != first[1]:
            raise ValueError(
                f"{first[0]} has {first[1][0]} x {first[1][1]} pixels and {file} has "
                f"{width} x {height}: write image_size=({first[1][1]}, {first[1][0]}), the height "
                "and width, to resize all images to the size of the first"
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


def _read_pixels(
    files: list[Path],
    colour: bool,
    size: tuple[int, int] | None,
    broken: dict[Path, DataFileError] | None,
) -> tuple[np.ndarray, list[int]]:
    """Return the images that are not broken, and their positions in `files`."""
    images, kept = [], []
    for position, file in enumerate(files):
        if broken and file in broken:
            continue
        pixels = None
        with _noting(file, broken):
            pixels = _pixels(file, colour, size)
        if pixels is not None:
            images.append(pixels)
            kept.append(position)
    return np.stack(images) if images else np.empty((0, 1, 1), np.uint8), kept


def _pixels(file: Path, colour: bool, size: tuple[int, int] | None) -> np.ndarray:
    import PIL.Image

    with _opened(file) as stored:
        image = _upright(stored)
        has_alpha = image.has_transparency_data
        opaque = not has_alpha or image.convert("RGBA").getchannel("A").getextrema()[0] == 255
        plain = image.convert("RGB" if colour else "L")
        if size is not None and plain.size != size[::-1]:
            plain = plain.resize(size[::-1], PIL.Image.Resampling.BILINEAR)
        pixels = np.asarray(plain)
    if not opaque:
        raise ValueError(f"{file} has transparent pixels: save it with an opaque background")
    return pixels
