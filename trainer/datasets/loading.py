"""`load` and `names`: which reader answers for a name or a path.

Decides by the argument alone, before any file is opened, and checks the arguments; reading is the
part of the other modules, which are imported when they are needed.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from pathlib import Path

from trainer.checks import did_you_mean
from trainer.datasets import images, tables, texts
from trainer.datasets.array_files import load_npy, load_npz
from trainer.datasets.csv_files import load_csv
from trainer.datasets.dataset import Dataset
from trainer.datasets.idx import load_idx
from trainer.datasets.image_folders import load_folder

_NAMED: dict[str, Callable[[int], Dataset]] = images.LOADERS | texts.LOADERS | tables.LOADERS
_KINDS = (
    ".csv or .csv.gz, .npz, .npy, an IDX images file (train-images-idx3-ubyte.gz), "
    "or a folder with one folder of images per class"
)


def names() -> list[str]:
    """The names that `load` knows, sorted."""
    return sorted(_NAMED)


def load(
    name_or_path: str | os.PathLike[str],
    *,
    target: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Dataset:
    """Load a named data set or the user's own file, in train, validation and test rows.

    name_or_path: one of `names()`, or a path to
        .csv, .csv.gz: x is a DataFrame, y the column `target`;
        .npz: arrays x and y, or images and labels, or x_train, y_train, x_test and y_test;
        .npy: x, with y in the .npy file `target`;
        IDX (train-images-idx3-ubyte.gz): images, with the labels in the labels file beside it;
        a folder: one folder of images per class, all of one size.
        A name goes before a file of the same name: write "./iris" for the file.
    target: for files only: the column, array or file that holds y, where the above needs it.
    seed: an integer from 0 to 2**32 - 1; decides which rows are drawn for which split.

    The splits: MNIST, Fashion-MNIST, CIFAR and train and t10k IDX files keep their test rows, and
    the first 5,000 training rows are for validation. Other sources with test rows keep these, and
    a fifth of the training rows is drawn for validation. All others are drawn 60/20/20. Drawing is
    stratified for classification; the description says where that was impossible.

    Nothing is scaled or encoded. Images are uint8 of shape (n, height, width), or
    (n, height, width, 3) for colour. The task of a file is inferred: regression for targets with
    fractions or with more than 50 distinct integers in more than 5% of the rows, else
    classification.

    Public sets are downloaded into the Keras cache unless they are there already; those from
    scikit-learn need no network. TensorFlow is imported only for downloading.

    Raises ValueError for an argument or content that does not fit, FileNotFoundError for a path
    that does not exist, and DataFileError for a broken file or a download that failed.

    >>> dataset = load("digits")
    >>> dataset.train.x.shape, dataset.valid.x.shape, dataset.test.x.shape
    ((1077, 8, 8), (360, 8, 8), (360, 8, 8))
    >>> x, y = dataset.train
    """
    seed = _checked_seed(seed)
    if not isinstance(name_or_path, str | os.PathLike):
        raise TypeError(f"name_or_path={name_or_path!r}: must be a data set's name or a path")
    if not isinstance(target, str | os.PathLike | None):
        raise TypeError(f"target={target!r}: must be the name of a column or array, or a path")
    if isinstance(name_or_path, str) and name_or_path in _NAMED:
        if target is not None:
            raise ValueError(
                f"target={target!r}: only for files, and {name_or_path} brings its own targets; "
                "leave it out"
            )
        return _NAMED[name_or_path](seed)
    return _load_path(name_or_path, target, seed)


def _load_path(
    name_or_path: str | os.PathLike[str], target: str | os.PathLike[str] | None, seed: int
) -> Dataset:
    path = Path(name_or_path).expanduser()
    kind = path.name.lower()
    if not str(name_or_path) or not path.exists():
        raise _unknown(name_or_path, path)
    if path.is_dir():
        if target is not None:
            raise ValueError(
                f"target={target!r}: the folder {path} names its classes itself; leave it out"
            )
        return load_folder(path.resolve(), seed)
    if kind.endswith((".csv", ".csv.gz")):
        return load_csv(path, _as_key(target), seed)
    if kind.endswith(".npz"):
        return load_npz(path, _as_key(target), seed)
    if kind.endswith(".npy"):
        return load_npy(path, _as_file(target), seed)
    if kind.endswith((".gz", "ubyte")):
        return load_idx(path, _as_file(target), seed)
    raise ValueError(f"name_or_path={str(path)!r}: can't read this kind of file; give {_KINDS}")


def _checked_seed(seed: int) -> int:
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if isinstance(seed, bool) or not 0 <= number < 2**32:
        raise ValueError(f"seed={seed!r}: must be an integer from 0 to 2**32 - 1; write 0")
    return number


def _unknown(name_or_path: str | os.PathLike[str], path: Path) -> ValueError | FileNotFoundError:
    written = str(name_or_path)
    looks_like_path = not isinstance(name_or_path, str) or path.suffix or len(path.parts) > 1
    if looks_like_path and written:
        hint = (
            did_you_mean(path.name, [entry.name for entry in path.parent.iterdir()])
            if path.parent.is_dir()
            else f"nor is there a folder {str(path.parent)!r}"
        )
        return FileNotFoundError(
            f"name_or_path={written!r}: there is no such file or folder; {hint}"
        )
    return ValueError(
        f"name_or_path={written!r}: no data set has this name, and a path must lead to {_KINDS}; "
        f"{did_you_mean(written, names())}"
    )


def _as_key(target: str | os.PathLike[str] | None) -> str | None:
    return None if target is None else os.fspath(target)


def _as_file(target: str | os.PathLike[str] | None) -> Path | None:
    if target is None:
        return None
    path = Path(target).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"target={str(target)!r}: there is no such file")
    return path
