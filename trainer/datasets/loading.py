"""`load` and `names`: picks the reader for a name or a path.

Responsible for checking the arguments and choosing the reader by them, before any file is opened.
Not for reading files (the other modules).
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from pathlib import Path

from trainer.datasets import images, tables, texts
from trainer.datasets.array_files import load_npy, load_npz
from trainer.datasets.csv_files import load_csv
from trainer.datasets.dataset import Dataset
from trainer.datasets.idx import load_idx
from trainer.datasets.image_folders import load_folder
from trainer.utils.checks import did_you_mean

_NAMED: dict[str, Callable[[int], Dataset]] = images.LOADERS | texts.LOADERS | tables.LOADERS
_KINDS = (
    ".csv or .csv.gz, .npz, .npy, an IDX images file (train-images-idx3-ubyte.gz), "
    "or a folder with one folder of images per class"
)


def names() -> list[str]:
    """Return the names of data sets that `load` accepts, sorted."""
    return sorted(_NAMED)


def load(
    name_or_path: str | os.PathLike[str],
    *,
    target: str | os.PathLike[str] | None = None,
    seed: int = 0,
    as_text: bool = False,
) -> Dataset:
    """Load a named data set or a file, split into train, validation and test rows.

    MNIST, Fashion-MNIST, CIFAR and IDX files named train and t10k keep their test rows, and their
    first 5,000 training rows become validation. Other sources with test rows keep these, and a
    random fifth of the training rows becomes validation. All others are split 60/20/20 at random.
    Random splits are stratified for classification; the description says if that was impossible.

    Nothing is scaled or encoded. Images are uint8 of shape (n, height, width), or
    (n, height, width, 3) for colour. The task of a file is inferred: regression for targets with
    fractions, or if the number of distinct integers is above 50 and above 5% of the rows; else
    classification.

    Public data sets are downloaded into the Keras cache unless they are already there; those from
    scikit-learn need no network. TensorFlow is imported only for downloading.

    Args:
        name_or_path: One of `names()`, or a path to
            .csv, .csv.gz: x is a DataFrame, y the column `target`;
            .npz: arrays x and y, or images and labels, or x_train, y_train, x_test and y_test;
            .npy: x, with y in the .npy file `target`;
            IDX (train-images-idx3-ubyte.gz): images, with the labels file next to it;
            a folder: one folder of images per class, all images of the same size.
            A name takes precedence over a file of the same name: write "./iris" for the file.
        target: For files only: the column, array or file with y, where needed (see above).
        seed: An integer from 0 to 2**32 - 1 that determines the random split.
        as_text: For "imdb" and "reuters": whether x is an array of str, the whole texts, instead of
            word indices. It needs one more file, the word index.

    Raises:
        ValueError: An argument or the content of a file is not usable.
        FileNotFoundError: The path does not exist.
        DataFileError: A file is broken, or a download failed.

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
    if as_text and (not isinstance(name_or_path, str) or name_or_path not in texts.LOADERS):
        raise ValueError(
            f"as_text={as_text!r}: only for {' and '.join(texts.LOADERS)}, which come as word "
            "indices; leave it out"
        )
    if isinstance(name_or_path, str) and name_or_path in _NAMED:
        if target is not None:
            raise ValueError(
                f"target={target!r}: only for files; {name_or_path} already has targets, "
                "so leave it out"
            )
        if as_text:
            return texts.LOADERS[name_or_path](seed, as_text=True)
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
                f"target={target!r}: the classes are the subfolders of {path}; leave it out"
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
    raise ValueError(f"name_or_path={str(path)!r}: cannot read this kind of file; pass {_KINDS}")


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
            else f"the folder {str(path.parent)!r} does not exist either"
        )
        return FileNotFoundError(f"name_or_path={written!r}: no such file or folder; {hint}")
    return ValueError(
        f"name_or_path={written!r}: no data set has this name, and a path must be {_KINDS}; "
        f"{did_you_mean(written, names())}"
    )


def _as_key(target: str | os.PathLike[str] | None) -> str | None:
    return None if target is None else os.fspath(target)


def _as_file(target: str | os.PathLike[str] | None) -> Path | None:
    if target is None:
        return None
    path = Path(target).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"target={str(target)!r}: no such file")
    return path
