"""Reads IDX, the format that MNIST and Fashion-MNIST are published in, and finds its companions.

An IDX file is one array: two zero bytes, a type code, the number of dimensions, each dimension as
a big-endian 32-bit integer, then the values. Labels and test rows are files of their own, found
by the usual names (train-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz).
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
    """The array in an IDX file, gzipped or not. Raises DataFileError for a broken one."""
    with reading(path, "an IDX file", cached=cached):
        opener = gzip.open if path.suffix.lower() == ".gz" else open
        with opener(path, "rb") as stream:
            content = stream.read()
        if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
            raise ValueError("it does not start as IDX files do")
        dtype, dimensions = np.dtype(_DTYPES[content[2]]), content[3]
        start = 4 + 4 * dimensions
        shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4"))
        if len(shape) != dimensions or len(content) - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"it holds {len(content):,} bytes, which is not what its head says")
        values = np.frombuffer(content, dtype, offset=start).reshape(shape)
        return values.astype(dtype.newbyteorder("="))


def load_idx(path: Path, target: Path | None, seed: int) -> Dataset:
    """Images from `path`, labels from `target` or from the labels file beside it.

    Without `target`, and with both the training and the test images there, whichever of the two
    `path` is, these are the splits, with the first training rows as validation. Otherwise the one
    file's rows are split by `seed`.
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
            f"{images} holds {x.ndim}-dimensional values, not images: give the images file, "
            "and the labels file as target="
        )
    if y.ndim != 1:
        raise ValueError(f"{labels} holds {y.ndim}-dimensional values: labels have one dimension")
    check_rows(x, y, x_name=str(images), y_name=str(labels))
    return x, y


def _labels_beside(images: Path) -> Path:
    name = re.sub(r"images([-.])idx\d", r"labels\1idx1", images.name)
    labels = images.with_name(name)
    if name == images.name:
        raise ValueError(
            f"{images}: no labels file can be guessed, as the name does not contain "
            "'images-idx3'; name the labels file as target="
        )
    if not labels.exists():
        raise FileNotFoundError(
            f"{labels} does not exist: put the labels of {images.name} there, "
            "or name the labels file as target="
        )
    return labels


def _counterpart(images: Path) -> Path | None:
    """The test images that belong to training images, or the other way round, if they exist."""
    for this, other in _COUNTERPARTS:
        if f"{this}-images" in images.name:
            candidate = images.with_name(images.name.replace(f"{this}-images", f"{other}-images"))
            if candidate.exists():
                return candidate
    return None
