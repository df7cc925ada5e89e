"""Reads IDX, the format that MNIST and Fashion-MNIST are published in.

An IDX file is one array: two zero bytes, a type code, the number of dimensions, each dimension as
a big-endian 32-bit integer, then the values. Labels and test rows are in separate files, which are
found by their usual names (train-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz).
"""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path

import numpy as np

from trainer.datasets.cache import reading
from trainer.datasets.dataset import Dataset, Split
from trainer.datasets.splits import (
    as_dataset,
    check_rows,
    infer_task,
    split_in_three,
    split_off_first_rows,
)

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_COUNTERPARTS = (("train", "t10k"), ("train", "test"), ("t10k", "train"), ("test", "train"))


def read_idx(path: Path, *, cached: bool = False) -> np.ndarray:
    """Return the array in an IDX file, gzipped or not.

    Raises:
        DataFileError: The file is broken.
    """
    with reading(path, "an IDX file", cached=cached):
        opener = gzip.open if path.suffix.lower() == ".gz" else open
        with opener(path, "rb") as stream:
            content = stream.read()
        if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
            raise ValueError("it does not start with an IDX header")
        dtype, dimensions = np.dtype(_DTYPES[content[2]]), content[3]
        start = 4 + 4 * dimensions
        shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
        if len(shape) != dimensions or len(content) - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"its {len(content):,} bytes do not match its header")
        values = np.frombuffer(content, dtype, offset=start).reshape(shape)
        return values.astype(dtype.newbyteorder("="))


def load_idx(path: Path, target: Path | None, seed: int) -> Dataset:
    """Load images from `path`, and labels from `target` or from the labels file next to it.

    Without `target`, if both the training and the test images exist (`path` may be either), test
    rows are kept as such and the first training rows become validation. Otherwise the rows of
    this one file are split by `seed`.
    """
    other = _counterpart(path) if target is None else None
    if other is None:
        x, y = _read_pair(path, target)
        task = infer_task(y)
        splits = split_in_three(x, y, task, seed)
    else:
        train, test = sorted((path, other), key=lambda file: "train-images" not in file.name)
        x, y = _read_pair(train, None)
        task = infer_task(y)
        splits = split_off_first_rows(Split(x, y), Split(*_read_pair(test, None)))
    return as_dataset(
        splits,
        name=path.name,
        task=task,
        description=f"Images of {' x '.join(map(str, x.shape[1:]))} pixels from IDX files.",
        source=str(path),
    )


def _read_pair(images: Path, target: Path | None) -> tuple[np.ndarray, np.ndarray]:
    labels = target or _labels_beside(images)
    x, y = read_idx(images), read_idx(labels)
    if x.ndim < 2:
        raise ValueError(
            f"{images} contains {x.ndim}-dimensional values, not images: pass the images file, "
            "and the labels file as target="
        )
    if y.ndim != 1:
        raise ValueError(f"{labels} contains {y.ndim}-dimensional values: labels must be 1-D")
    check_rows(x, y, x_name=str(images), y_name=str(labels))
    return x, y


def _labels_beside(images: Path) -> Path:
    name = re.sub(r"images([-.])idx\d", r"labels\1idx1", images.name)
    labels = images.with_name(name)
    if name == images.name:
        raise ValueError(
            f"{images}: cannot guess the labels file, because the name does not contain "
            "'images-idx3'; pass the labels file as target="
        )
    if not labels.exists():
        raise FileNotFoundError(
            f"{labels} does not exist: put the labels of {images.name} there, "
            "or pass the labels file as target="
        )
    return labels


def _counterpart(images: Path) -> Path | None:
    """Return the test images that belong to training images, or vice versa, if they exist."""
    for this, other in _COUNTERPARTS:
        if f"{this}-images" in images.name:
            candidate = images.with_name(images.name.replace(f"{this}-images", f"{other}-images"))
            if candidate.exists():
                return candidate
    return None
