"""Reads user-supplied NumPy files, .npz and .npy.

Arrays keep their shape and dtype. x must be numeric or boolean; files with pickled objects are
refused, because unpickling can execute arbitrary code.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from trainer.checks import did_you_mean
from trainer.datasets.cache import DataFileError, reading
from trainer.datasets.dataset import Dataset, Split
from trainer.datasets.splits import (
    ThreeSplits,
    as_dataset,
    check_rows,
    infer_task,
    split_in_three,
    split_off_validation,
)
from trainer.text import printable

Pair = tuple[str, str]

UNSPLIT: list[Pair] = [("x", "y"), ("images", "labels")]
TRAIN, TEST = ("x_train", "y_train"), ("x_test", "y_test")
VALID: list[Pair] = [("x_valid", "y_valid"), ("x_val", "y_val")]


def load_npz(path: Path, target: str | None, seed: int) -> Dataset:
    """Load arrays x and y, or images and labels; or x_train, y_train, x_test and y_test.

    `target` names the array of targets if it has another name. If the file also has x_valid and
    y_valid, its three splits are used as they are.
    """
    # np.load treats anything that is not a zip archive as a pickle, and its error says so.
    if not zipfile.is_zipfile(path):
        raise DataFileError(f"{path} is incomplete or not an .npz file: create or copy it again")
    with np.load(path, allow_pickle=False) as archive:
        pairs = _pairs(path.name, archive.files, target)
        with reading(path, "an .npz file of plain numbers", cached=False):
            arrays = {key: archive[key] for pair in pairs for key in pair}
    parts = [
        _split(arrays[x], arrays[y], f"{path.name}: {x}", f"{path.name}: {y}") for x, y in pairs
    ]
    task = infer_task(parts[0].y)
    match parts:
        case [unsplit]:
            splits = split_in_three(*unsplit, task, seed)
        case [train, test]:
            splits = split_off_validation(train, test, task, seed)
        case [train, valid, test]:
            splits = ThreeSplits(train, valid, test, note="The three splits are those of the file.")
    return as_dataset(
        splits,
        name=path.name,
        task=task,
        description=f"Arrays {', '.join(key for pair in pairs for key in pair)}; "
        f"each row of x has shape {parts[0].x.shape[1:]} and dtype {parts[0].x.dtype}.",
        source=str(path),
    )


def load_npy(path: Path, target: Path | None, seed: int) -> Dataset:
    """Load x from `path` and y from the .npy file `target`."""
    if target is None:
        raise ValueError(
            f"target=None: {path.name} contains only x; "
            "pass the .npy file with the targets, for example target='y.npy'"
        )
    arrays = []
    for file in (path, target):
        with (
            reading(file, "an .npy file of plain numbers", cached=False),
            file.open("rb") as stream,
        ):
            arrays.append(np.lib.format.read_array(stream, allow_pickle=False))
    x, y = _split(arrays[0], arrays[1], str(path), str(target))
    task = infer_task(y)
    return as_dataset(
        split_in_three(x, y, task, seed),
        name=path.name,
        task=task,
        description=f"x from {path.name}, y from {target.name}; "
        f"each row of x has shape {x.shape[1:]} and dtype {x.dtype}.",
        source=f"{path}, {target}",
    )


def _pairs(name: str, keys: list[str], target: str | None) -> list[Pair]:
    """Return the (x, y) keys of all rows, of train and test, or of train, valid and test."""
    if target is not None:
        return [(_key_of_x(name, keys, target), target)]
    if all(key in keys for key in TRAIN + TEST):
        valid = [pair for pair in VALID if all(key in keys for key in pair)]
        return [TRAIN, *valid[:1], TEST]
    for pair in UNSPLIT:
        if all(key in keys for key in pair):
            return [pair]
    raise ValueError(
        f"target=None: {name} contains the arrays {', '.join(map(printable, keys)) or '(none)'}; "
        "call them x and y, or images and labels, or x_train, y_train, x_test and y_test, "
        "or pass the name of the target array as target="
    )


def _key_of_x(name: str, keys: list[str], target: str) -> str:
    if target not in keys:
        raise ValueError(
            f"target={target!r}: {name} has no such array; {did_you_mean(target, keys)}"
        )
    others = [key for key in keys if key != target]
    known = [x for x, _ in UNSPLIT if x in others] or others
    if len(known) != 1:
        raise ValueError(
            f"target={target!r}: it is unclear which array of {name} is x, among "
            f"{', '.join(map(printable, keys))}; call it x, or leave only one array besides the "
            "target"
        )
    return known[0]


def _split(x: np.ndarray, y: np.ndarray, x_name: str, y_name: str) -> Split:
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{x_name} has dtype {x.dtype}: x must be numeric or boolean")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    check_rows(x, y, x_name=x_name, y_name=y_name)
    return Split(x, y)
