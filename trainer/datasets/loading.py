"""`load` and `names`: picks the reader for a name, a path or a DataFrame.

Responsible for checking the arguments and choosing the reader by them, before any file is opened.
Not for reading files (the other modules).
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer.datasets import images, tables, texts
from trainer.datasets.array_files import load_npy, load_npz
from trainer.datasets.dataset import Dataset
from trainer.datasets.idx import load_idx
from trainer.datasets.image_folders import load_folder
from trainer.datasets.table_files import MissingTarget, as_table, is_table, read_table
from trainer.utils.checks import did_you_mean, one_of

if TYPE_CHECKING:
    import pandas as pd

_NAMED: dict[str, Callable[[int], Dataset]] = images.LOADERS | texts.LOADERS | tables.LOADERS
_LARGEST_SIDE = 10_000  # pixels
_KINDS = (
    ".csv or .csv.gz, .tsv, .txt, .xlsx, .parquet, .jsonl, .npz, .npy, an IDX images file "
    "(train-images-idx3-ubyte.gz), or a folder with one folder of images per class"
)


def names() -> list[str]:
    """Return the names of data sets that `load` accepts, sorted."""
    return sorted(_NAMED)


def load(
    name_or_path: str | os.PathLike[str] | pd.DataFrame,
    *,
    target: str | os.PathLike[str] | Hashable | None = None,
    seed: int = 0,
    as_text: bool = False,
    image_size: tuple[int, int] | None = None,
    broken_images: Literal["raise", "skip"] = "raise",
    missing_target: MissingTarget = "drop",
) -> Dataset:
    """Load a named data set, a file or a DataFrame, split into train, validation and test rows.

    MNIST, Fashion-MNIST, CIFAR and IDX files named train and t10k keep their test rows, and their
    first 5,000 training rows become validation. Other sources with test rows keep these, and a
    random fifth of the training rows becomes validation. All others are split 60/20/20 at random.
    Random splits are stratified for classification; the description says if that was impossible.

    Nothing is scaled or encoded. Images are uint8 of shape (n, height, width), or
    (n, height, width, 3) for colour. The task of a file is inferred: regression for targets with
    fractions, or if the number of distinct integers is above 50 and above 5% of the rows; else
    classification.

    Public data sets are downloaded into the Keras cache unless they are already there; those from
    scikit-learn need no network. TensorFlow is imported only for downloading. If the environment
    variable TRAINER_DATASETS_MIRROR is the address of a mirror (https:, http:, file: or a folder),
    files are downloaded from there, and their checksums are verified; `check` says what is at hand.

    Args:
        name_or_path: One of `names()`, a DataFrame, or a path to
            .csv, .tsv, .tab, .txt: x is a DataFrame, y the column `target`. The separator (comma,
                semicolon, tab or bar), decimal commas and the encoding (UTF-8, UTF-16, and by
                chardet's guess the common ones of East Asia and Europe) are found from the
                content, and the description names them. There is a warning where the encoding is
                not clear. Blanks around names and cells are stripped, but not inside quotes;
            .xlsx, .xls: the first sheet, likewise; needs openpyxl, .xls python-calamine;
            .parquet: likewise; needs pyarrow. A named index becomes a column, also that of a
                DataFrame;
            .jsonl, .ndjson, .json: one object per line, or a list of objects, likewise;
            .npz: arrays x and y, or images and labels, or x_train, y_train, x_test and y_test;
            .npy: x, with y in the .npy file `target`;
            IDX (train-images-idx3-ubyte.gz): images, with the labels file next to it;
            a folder: one folder of images per class; photos are turned upright as their EXIF data
                say.
            Tables may be compressed: .gz, .bz2, .xz, .zst, or the only file of a .zip or .tar.
            A name takes precedence over a file of the same name: write "./iris" for the file.
        target: For files and DataFrames only: the column, array or file with y, where needed (see
            above). There is a warning for text that holds numbers, such as "27%": it is classes.
        seed: An integer from 0 to 2**32 - 1 that determines the random split.
        as_text: For "imdb" and "reuters": whether x is an array of str, the whole texts, instead of
            word indices. It needs one more file, the word index.
        image_size: For folders of images: the (height, width) in pixels that every image is
            resized to, bilinearly and without keeping its proportions. None: all images must have
            the same size.
        broken_images: For folders of images: "raise" an error that names the first broken image,
            or "skip" broken ones with a warning that names them.
        missing_target: For tables: "drop" rows without a target with a warning that counts them,
            or "raise" an error.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument or the content of a file is not usable.
        FileNotFoundError: The path does not exist.
        DataFileError: A file is broken, or a download failed.
        ImportError: A package to read this kind of file is not installed; the message names it.

    >>> dataset = load("digits")
    >>> dataset.train.x.shape, dataset.valid.x.shape, dataset.test.x.shape
    ((1077, 8, 8), (360, 8, 8), (360, 8, 8))
    >>> x, y = dataset.train
    """
    seed = _checked_seed(seed)
    one_of("missing_target", missing_target, ("drop", "raise"))
    one_of("broken_images", broken_images, ("raise", "skip"))
    size = _checked_size(image_size)
    options = _given(image_size=image_size, broken_images=broken_images != "raise")
    if as_text and (not isinstance(name_or_path, str) or name_or_path not in texts.LOADERS):
        raise ValueError(
            f"as_text={as_text!r}: only for {' and '.join(texts.LOADERS)}, which come as word "
            "indices; leave it out"
        )
    # pandas' DataFrame, polars' and Arrow's tables, without importing any of these; of the class,
    # because a table that is computed lazily would be computed for its columns
    if hasattr(type(name_or_path), "columns"):
        _only_for_folders(options, "a table")
        return as_table(name_or_path, _as_label(target), seed, missing_target)
    if not isinstance(name_or_path, str | os.PathLike):
        raise TypeError(
            f"name_or_path={name_or_path!r:.60}: must be a data set's name, a path or a DataFrame"
            if isinstance(name_or_path, int | float | None)
            else f"name_or_path is of type {type(name_or_path).__name__}: must be a data set's "
            "name, a path or a DataFrame"
        )
    if not isinstance(target, str | os.PathLike | None):
        raise TypeError(f"target={target!r}: must be the name of a column or array, or a path")
    if isinstance(name_or_path, str) and name_or_path in _NAMED:
        _only_for_folders(options, name_or_path)
        if target is not None:
            raise ValueError(
                f"target={target!r}: only for files; {name_or_path} already has targets, "
                "so leave it out"
            )
        if as_text:
            return texts.LOADERS[name_or_path](seed, as_text=True)
        return _NAMED[name_or_path](seed)
    path = Path(name_or_path).expanduser()
    kind = path.name.lower()
    if not str(name_or_path) or not path.exists():
        raise _unknown(name_or_path, path)
    # A table in Parquet may be a folder of files.
    if path.is_dir() and not kind.endswith((".parquet", ".pq")):
        if target is not None:
            raise ValueError(
                f"target={target!r}: the classes are the subfolders of {path}; leave it out"
            )
        return load_folder(path.resolve(), seed, size, skip_broken=broken_images == "skip")
    _only_for_folders(options, path.name)
    if is_table(kind):
        table = read_table(path)
        return as_table(
            table.frame,
            _as_key(target),
            seed,
            missing_target,
            name=path.name,
            source=str(path),
            notes=table.notes,
        )
    return _load_arrays(path, target, seed)


def _load_arrays(path: Path, target: str | os.PathLike[str] | None, seed: int) -> Dataset:
    kind = path.name.lower()
    if kind.endswith(".npz"):
        return load_npz(path, _as_key(target), seed)
    if kind.endswith(".npy"):
        return load_npy(path, _as_file(target), seed)
    if kind.endswith((".gz", "ubyte")):
        return load_idx(path, _as_file(target), seed)
    raise ValueError(f"name_or_path={str(path)!r}: cannot read this kind of file; pass {_KINDS}")


def _given(**options: Any) -> list[str]:
    return [name for name, value in options.items() if value]


def _only_for_folders(options: list[str], what: str) -> None:
    if options:
        raise ValueError(
            f"{options[0]}: only for folders of images, and {what} is not one; leave it out"
        )


def _checked_size(image_size: tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    try:
        height, width = (0 if isinstance(s, bool) else operator.index(s) for s in image_size)
    except (TypeError, ValueError):
        height = width = 0
    if not (1 <= height <= _LARGEST_SIDE and 1 <= width <= _LARGEST_SIDE):
        raise ValueError(
            f"image_size={image_size!r}: must be the height and width in pixels, such as (64, 64), "
            f"each from 1 to {_LARGEST_SIDE:,}"
        )
    return height, width


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
        hint = f"the folder {str(path.parent)!r} does not exist either"
        if path.parent.is_dir():
            data = [entry.name for entry in path.parent.iterdir() if _may_be_data(entry)]
            hint = did_you_mean(path.name, data) if data else "no data are in its folder"
        return FileNotFoundError(f"name_or_path={written!r}: no such file or folder; {hint}")
    return ValueError(
        f"name_or_path={written!r}: no data set has this name, and a path must be {_KINDS}; "
        f"{did_you_mean(written, names())}"
    )


def _may_be_data(entry: Path) -> bool:
    kind = entry.name.lower()
    known = is_table(kind) or kind.endswith((".npz", ".npy", ".gz", "ubyte")) or entry.is_dir()
    return known and not kind.startswith(".")


def _as_label(target: Any) -> Hashable:
    if not isinstance(target, Hashable):
        raise TypeError(f"target={target!r}: must be the label of one column")
    return target


def _as_key(target: str | os.PathLike[str] | None) -> str | None:
    return None if target is None else os.fspath(target)


def _as_file(target: str | os.PathLike[str] | None) -> Path | None:
    if target is None:
        return None
    path = Path(target).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"target={str(target)!r}: no such file")
    return path
