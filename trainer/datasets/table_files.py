"""Reads tables: DataFrames, and files of separated text, Excel, Parquet and JSON lines.

Every column except the target stays as pandas reads it, including missing values and text; the
estimator encodes them. The encoding and the separator of a text file are found from its content,
and decimal commas become numbers. Files may be compressed.
"""

from __future__ import annotations

import bz2
import contextlib
import csv
import datetime
import decimal
import functools
import gzip
import io
import itertools
import json
import lzma
import re
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from trainer.datasets.cache import DataFileError, reading
from trainer.datasets.dataset import Dataset
from trainer.datasets.encodings import encoding_of
from trainer.datasets.splits import as_dataset, check_rows, infer_task, split_in_three
from trainer.utils.checks import did_you_mean
from trainer.utils.text import printable
from trainer.utils.written_numbers import find_written_numbers

if TYPE_CHECKING:
    import pandas as pd

MissingTarget = Literal["drop", "raise"]

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tar")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_NOTHING = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"  # marks of encodings, and white space
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"  # the first bytes of .xls
_SNIFFED = 200  # lines in which the separator and decimal commas are looked for
_NUMBER = r"\s*[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?\s*"
_THOUSANDS = r"\s*[-+]?\d{1,3}(?:\.\d{3})+(?:,\d+)?\s*"
_WITH_GROUPS = r"\s*[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?\s*"
_FRACTION = re.compile(r"\s*[-+]?[0-9]*\.?[0-9]+\s*")
_NUMBERS = 0.95  # a text target of which this share are numbers was probably meant to be numbers
_SAVE_OR_READ = (
    "save it as UTF-8, or read it yourself and pass the DataFrame: "
    "datasets.load(pandas.read_csv(path, encoding=...), target=...)"
)
# The extra of this package that brings what pandas reads a kind of file with.
_EXTRAS = {
    "pyarrow": "parquet",
    "openpyxl": "excel",
    "python-calamine": "excel",
    "zstandard": "zstd",
}


class Table(NamedTuple):
    """A table, and how it was read."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()  # sentences for the description


def is_table(name: str) -> bool:
    """Return whether the name of a file is that of a table, compressed or not.

    The name of an archive (.zip, .tar) does not show what is in it, so these are taken as tables.
    """
    stem, packing = _unpacked_name(name)
    return _suffix(stem) in _READERS or packing in (".zip", ".tar")


def read_table(path: Path) -> Table:
    """Read a table from a file, compressed or not.

    Raises:
        ValueError: An archive contains another kind of file.
        DataFileError: The file is broken, empty, or of an unknown encoding.
        ImportError: A package to read this kind of file is not installed.
    """
    name, content = _content(path)
    reader = _READERS.get(_suffix(name))
    if reader is None:
        raise ValueError(
            f"{path} contains {name}: cannot read this kind of file; pack one file that is one "
            f"of {', '.join(_READERS)}"
        )
    if content is not None and not content.strip(_NOTHING):
        raise DataFileError(f"{path} is empty: create or copy the file again")
    return reader(path, content)


def read_columns(path: Path, target: Hashable | None) -> tuple[pd.DataFrame, pd.Series | None]:
    """Read all rows of a table, in their order, as `as_table` reads those that it splits.

    Args:
        path: The file.
        target: The label of the column with the targets; it may be missing, as in rows to predict.

    Returns:
        The other columns, and the target or None.

    Raises:
        ValueError, DataFileError, ImportError: As for `read_table`.
    """
    frame, _ = _with_named_index(path.name, read_table(path).frame)
    frame = _with_plain_cells(path.name, frame)
    if target is None or target not in frame.columns:
        return frame, None
    return frame.drop(columns=target), _plain_target(frame[target])


def as_table(
    frame: Any,
    target: Hashable,
    seed: int,
    missing_target: MissingTarget,
    *,
    name: str = "DataFrame",
    source: str = "a DataFrame",
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Split the rows of a DataFrame into x and the column `target`.

    Args:
        frame: A pandas DataFrame, or a table with a method `to_pandas` (polars, Arrow). The named
            levels of its index become columns, except for the numbers of the rows.
        target: The label of the column to predict.
        seed: Of the random split.
        missing_target: "drop" to leave out rows without a target with a warning, or "raise".
        name: Of the table, for messages.
        source: Where it is from.
        notes: Sentences for the description.

    Raises:
        TypeError: The frame cannot be converted to pandas.
        ValueError: The target is not a column, or nothing is left to predict from or to learn.
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        if not hasattr(frame, "to_pandas"):
            raise TypeError(
                f"name_or_path is of type {type(frame).__name__}: must be a DataFrame of pandas or "
                "have to_pandas(); write collect() or compute() for one that is not computed yet"
            )
        with _needed("pyarrow", f"{name}: converting a {type(frame).__name__} to pandas"):
            frame = frame.to_pandas()
    frame, restored = _with_named_index(name, frame)
    _check_columns(name, frame, target)
    frame = _with_plain_cells(name, frame)
    x, y = frame.drop(columns=target), _plain_target(frame[target])
    if len(y) and y.isna().any():
        x, y = _without_missing(name, target, x, y, missing_target)
    if y.dtype == object and len({str if isinstance(v, str) else type(v) for v in y}) > 1:
        kinds = sorted({type(value).__name__ for value in y})
        raise ValueError(
            f"target={target!r}: the column mixes values of the types {', '.join(kinds)}; "
            "make them all numbers or all text"
        )
    check_rows(x, y, x_name=name, y_name=f"the column {target!r}")
    task = infer_task(y)
    _warn_of_written_numbers(name, target, y)
    description = (
        f"{len(x):,} rows of {x.shape[1]} columns to predict {target} from, with "
        f"{int(x.isna().sum().sum()):,} missing values."
    )
    return as_dataset(
        split_in_three(x, y, task, seed),
        name=name,
        task=task,
        description=" ".join((description, *notes, *restored)),
        source=source,
    )


def _with_named_index(name: str, frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the frame with the named levels of its index as columns, and a sentence on them.

    `set_index` made them of columns. Numbers of rows from 0, and levels without a name, are none.

    Raises:
        ValueError: A column with other values has the same name.
    """
    import pandas as pd

    index = frame.index
    if isinstance(index, pd.RangeIndex) and (index.start, index.step) == (0, 1):
        return frame, ()
    levels = [i for i, level in enumerate(index.names) if level is not None]
    added = []
    for i in levels:
        level = index.names[i]
        if level not in frame.columns:
            added.append(i)
        elif not index.get_level_values(i).equals(pd.Index(frame[level])):
            raise ValueError(
                f"{name} has an index {level!r}, and a column of this name with other values: "
                f'write frame.rename_axis(index="another name"), or drop one of them'
            )
    if not added:
        return frame, ()
    if isinstance(frame.columns, pd.CategoricalIndex):  # takes no other names
        frame = frame.set_axis(frame.columns.astype(object), axis=1)
    names = ", ".join(printable(index.names[i]) for i in added)
    dropped = [i for i in range(index.nlevels) if i not in added]
    plain = frame.reset_index(level=dropped, drop=True) if dropped else frame
    made = "a column" if len(added) == 1 else "columns"
    return plain.reset_index(), (f"The index {names} became {made}.",)


def _check_columns(name: str, frame: pd.DataFrame, target: Hashable) -> None:
    columns = list(frame.columns)
    shown = list(map(printable, columns))
    if frame.columns.nlevels > 1:
        raise ValueError(
            f"{name} has columns of {frame.columns.nlevels} levels: write "
            'frame.columns = ["_".join(map(str, c)) for c in frame.columns] first'
        )
    if target is None:
        raise ValueError(
            "target=None: must be the name of the column to predict; "
            f"write one of {', '.join(shown) or '(there are no columns)'}"
        )
    if target not in columns:
        hint = did_you_mean(target, map(str, columns))
        if len(columns) == 1:
            hint = (
                f"its only column is {columns[0]!r}; the cells of a text file must be separated "
                f"by {', '.join(_SEPARATORS.values())}"
            )
        raise ValueError(f"target={target!r}: {name} has no such column; {hint}")
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise ValueError(f"{name} has several columns {twice!r}: rename them or drop all but one")
    if len(columns) == 1:
        raise ValueError(f"{name} has no column other than the target {target!r}")


def _with_plain_cells(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with dates and decimal numbers, which Parquet has, in pandas' own types."""
    import pandas as pd
    from pandas.api.types import is_object_dtype

    frame = frame.copy(deep=False)
    for column in [name for name in frame if is_object_dtype(frame[name].dtype)]:
        cells = frame[column].dropna()
        kinds = {type(cell) for cell in cells}
        if nested := [k for k in kinds if issubclass(k, list | dict | set | tuple | np.ndarray)]:
            raise ValueError(
                f"{name}: the column {column!r} has cells of the type {nested[0].__name__}: "
                "write their values into columns of their own, or drop the column"
            )
        if kinds == {decimal.Decimal}:
            frame[column] = frame[column].astype(np.float64)
        elif kinds == {datetime.date}:
            frame[column] = pd.to_datetime(frame[column])
    return frame


def _plain_target(y: pd.Series) -> pd.Series:
    """Return nullable and Arrow numbers and booleans as NumPy's, if none is missing."""
    from pandas.api import types

    if not types.is_extension_array_dtype(y.dtype) or not types.is_numeric_dtype(y.dtype):
        return y
    if y.isna().any():
        return y
    kind = "bool" if types.is_bool_dtype(y.dtype) else "int64"
    return y.astype("float64" if types.is_float_dtype(y.dtype) else kind)


def _warn_of_written_numbers(name: str, target: Hashable, y: pd.Series) -> None:
    """Warn if the target is text that holds numbers, since every number is a class then."""
    from pandas.api import types

    if not (types.is_object_dtype(y.dtype) or types.is_string_dtype(y.dtype)):
        return
    if not all(isinstance(value, str) for value in y):
        return
    levels = y.value_counts()
    values, label = list(map(str, levels.index)), f"frame[{target!r}]"
    others = (1 - _NUMBERS) * len(y)
    found = find_written_numbers(values, levels.tolist(), label, others)
    if found is not None:
        example, code, note = found.example, found.code, found.note
    elif all(map(_FRACTION.fullmatch, values)) and any("." in value for value in values):
        example, code, note = values[0], f"pd.to_numeric({label})", ""
    else:
        return
    # as_table, load, and the user
    warnings.warn(
        f"target={target!r}: the column of {name} is text that holds numbers, such as {example!r}, "
        f"so each of its {len(values):,} values is a class; to predict a number, pass a DataFrame "
        f"with {label} = {code}{note}; if they are classes, convert the column to a category: "
        f"{label}.astype('category')",
        stacklevel=4,
    )


def _without_missing(
    name: str, target: Hashable, x: pd.DataFrame, y: pd.Series, missing_target: MissingTarget
) -> tuple[pd.DataFrame, pd.Series]:
    known = y.notna().to_numpy()
    where = np.flatnonzero(~known)
    missing = (
        f"target={target!r}: {len(where):,} of {len(y):,} rows of {name} have no value in this "
        f"column (first rows: {', '.join(map(str, where[:5]))}, counted from 0 after the header)"
    )
    if missing_target == "raise":
        raise ValueError(f'{missing}; remove them, or write missing_target="drop"')
    if not known.any():
        raise ValueError(f"{missing}: none remains; choose another column")
    # as_table, load, and the user
    warnings.warn(f"{missing}; they are left out", stacklevel=4)
    return x[known], _plain_target(y[known].infer_objects())


# ---- packed files -------------------------------------------------------------------------------


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lower()


def _unpacked_name(name: str) -> tuple[str, str]:
    """Return the name without the suffix of a compression, and that suffix or ""."""
    lower = name.lower()
    for suffix, short in ((".tgz", ".tar.gz"), (".tbz", ".tar.bz2"), (".txz", ".tar.xz")):
        lower = lower.removesuffix(suffix) + short if lower.endswith(suffix) else lower
    if lower.endswith((".tar.gz", ".tar.bz2", ".tar.xz", ".tar")):
        return lower[: lower.rindex(".tar")], ".tar"
    packing = next((suffix for suffix in _COMPRESSED if lower.endswith(suffix)), "")
    return lower.removesuffix(packing), packing


def _content(path: Path) -> tuple[str, bytes | None]:
    """Return the name of a file and its bytes, both as they are once unpacked.

    The bytes of a folder, which Parquet may be, are None.
    """
    if path.is_dir():
        return path.name, None
    name, packing = _unpacked_name(path.name)
    with reading(path, f"a {packing} file" if packing else "a table", cached=False):
        match packing:
            case ".zip":
                return _only_in_zip(path)
            case ".tar":
                return _only_in_tar(path)
            case ".zst":
                with _needed("zstandard", f"{path}: reading .zst files"):
                    import zstandard
                try:
                    with zstandard.open(path, "rb") as stream:
                        return name, stream.read()
                except zstandard.ZstdError as error:  # no subclass of OSError or ValueError
                    raise ValueError(error) from error
            case ".gz" | ".bz2" | ".xz":
                opener: Callable[..., Any] = {".gz": gzip, ".bz2": bz2, ".xz": lzma}[packing].open
                with opener(path, "rb") as stream:
                    return name, stream.read()
    return name, path.read_bytes()


def _only(path: Path, names: list[str]) -> str:
    """Return the one file of an archive that is not the leftover of an operating system."""
    found = [
        name
        for name in names
        if not PurePath(name).name.startswith(".") and "__MACOSX" not in PurePath(name).parts
    ]
    if len(found) != 1:
        listed = ", ".join(map(printable, found[:5])) + (", ..." if len(found) > 5 else "")
        raise DataFileError(
            f"{path} contains {len(found)} files ({listed or 'none'}): a table must be the only "
            "file of its archive; unpack it and pass one of them"
        )
    return found[0]


def _only_in_zip(path: Path) -> tuple[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        name = _only(path, [info.filename for info in archive.infolist() if not info.is_dir()])
        if archive.getinfo(name).flag_bits & 1:
            raise DataFileError(f"{path} is locked by a password: unpack it and pass {name}")
        return name, archive.read(name)


def _only_in_tar(path: Path) -> tuple[str, bytes]:
    with tarfile.open(path) as archive:
        name = _only(path, [member.name for member in archive if member.isfile()])
        stream = archive.extractfile(name)
        assert stream is not None  # a regular file
        return name, stream.read()


@contextmanager
def _needed(package: str, purpose: str) -> Iterator[None]:
    """Turn the error of a package that is not installed into one that says how to install it."""
    try:
        yield
    except ImportError as error:
        extra = _EXTRAS[package]
        reason = str(error).split("\n")[0]
        raise ImportError(
            f"{purpose} needs {package}, which is not installed or too old ({reason}): "
            f"pip install {package}, or pip install 'exact-trainer[{extra}]'"
        ) from error


# ---- separated text -----------------------------------------------------------------------------


def _read_text(path: Path, content: bytes | None) -> Table:
    import pandas as pd

    assert content is not None
    encoding = _known_encoding(path, content)
    _check_is_table(path, content, encoding)
    with _open_text(content, encoding) as stream:
        first = stream.readline()
        # Excel's note on the separator; the table begins in the next line
        noted = re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE)
        skipped = int(noted is not None)
    with reading(path, "a CSV file", cached=False), _long_cells():
        separator = noted[1] if noted else _separator(content, encoding)
        content, decoded_by = _without_padding(content, encoding, separator)
        layout, header = _check_lengths(path, content, decoded_by, separator, skipped)
        read = functools.partial(
            pd.read_csv,
            sep=separator,
            encoding=decoded_by,
            skiprows=skipped,
            # Reading in chunks could infer mixed types for a column.
            low_memory=False,
            skipinitialspace=True,
            # Otherwise an empty cell at the end of each line would shift the columns.
            index_col=False if layout == "empty cell at the end" else None,
        )
        with warnings.catch_warnings():
            # "Length of header or names does not match length of data": the empty cells
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            frame = read(io.BytesIO(content))
            commas, unclear = _meaning_of_commas(frame, separator)
            if commas == "decimal":
                frame = read(io.BytesIO(content), decimal=",")
    frame.columns = frame.columns.str.strip()  # those in quotes too
    notes = [f"Read as {encoding}, separated by {_SEPARATORS.get(separator, repr(separator))}"]
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        # read_table, load, and the user
        warnings.warn(
            f"{path} has several columns {twice[0]!r}: the second is renamed {twice[0] + '.1'!r}, "
            "and so on",
            stacklevel=4,
        )
    if unclear is not None:
        column, cell = unclear
        # read_table, load, and the user
        warnings.warn(
            f"{path}: the commas in the column {column!r}, such as {cell!r}, are taken as decimal "
            "commas, since the separator is not a comma; if they separate thousands, read the file "
            'yourself and pass the DataFrame: datasets.load(pandas.read_csv(path, thousands=","), '
            "target=...)",
            stacklevel=4,
        )
    if commas == "decimal":
        frame = _without_thousands(frame)
        notes.append("with decimal commas")
    elif commas == "thousands":
        frame = _without_commas(frame)
        notes.append("with commas between thousands")
    return Table(_named_only(frame), (", ".join(notes) + ".",))


def _known_encoding(path: Path, content: bytes) -> str:
    """Return the encoding of a text file; warn if it is not clear.

    Raises:
        DataFileError: It is unknown.
    """
    found = encoding_of(content)
    if found is None:
        raise DataFileError(
            f"{path}: the encoding of this file is unknown ({_not_utf_8(content)}); {_SAVE_OR_READ}"
        )
    if found.doubt is not None:
        # a reader, read_table, load, and the user
        warnings.warn(
            f"{path} is not in UTF-8, and its encoding is a guess: {printable(found.doubt)}; if "
            f"this is wrong, {_SAVE_OR_READ}",
            stacklevel=5,
        )
    return found.name


def _check_is_table(path: Path, content: bytes, encoding: str) -> None:
    """Raise a DataFileError for a web page, which is often what a download link returns."""
    start = content[:1000].decode(encoding, "ignore").lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype", "<html", "<?xml", "<head", "<body")):
        raise DataFileError(
            f"{path} is a web page or XML, not a table: download the file itself (the link to the "
            '"raw" file), or read it with pandas.read_html or read_xml and pass the DataFrame'
        )


def _not_utf_8(content: bytes) -> str:
    """Return why bytes are not text in UTF-8."""
    if b"\0" in content:
        return "it contains zero bytes, so it may not be text at all"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"byte {content[error.start]:#x} in line {line:,} is not UTF-8"
    return "it starts with the mark of an encoding that it is not in"


def _open_text(content: bytes, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding=encoding, newline="")


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let the csv module read cells longer than 131,072 characters, such as whole documents."""
    limit = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _lines(stream: io.TextIOWrapper, separator: str) -> Any:
    return csv.reader(stream, delimiter=separator, skipinitialspace=True)


def _without_padding(content: bytes, encoding: str, separator: str) -> tuple[bytes, str]:
    """Return the text without blanks at the end of its cells, and the encoding that it is then in.

    pandas skips only those at the start. Blanks inside quotes are part of a cell.
    """
    blanks = "[ ]" if separator == "\t" else r"[ \t]"
    after = rf"(?=[{re.escape(separator)}\r\n]|\Z)"
    padding = rf"(?<!{blanks}){blanks}++{after}"
    if separator == " ":
        return content, encoding
    # All encodings but these have the bytes of ASCII for it, so that most files need not be held
    # as text.
    wide = encoding.startswith(("utf-16", "utf-32"))
    if not wide and not re.search(padding.encode(), content):
        return content, encoding
    with _open_text(content, encoding) as stream:
        text = stream.read()
    # A quoted cell is kept whole: it begins at the start of a cell, and may contain separators.
    quoted = rf'(?:\A|[{re.escape(separator)}\r\n]){blanks}*+"(?:[^"]|"")*+"'
    text = re.sub(f"({quoted})|{padding}", lambda match: match[1] or "", text)
    return text.encode("utf-8"), "utf-8"


def _separator(content: bytes, encoding: str) -> str:
    """Return the separator by which the first lines have the same number of cells, at least two."""
    best, best_score = ",", (0.0, 1)
    for separator in _SEPARATORS:
        with _open_text(content, encoding) as stream:
            lines = itertools.islice(_lines(stream, separator), _SNIFFED)
            lengths = [len(cells) for cells in lines if cells]
        if not lengths or lengths[0] < 2:
            continue
        # The header may lack the name of the first column.
        alike = [length in (lengths[0], lengths[0] + 1) for length in lengths]
        score = (sum(alike) / len(alike), lengths[0])
        if score > best_score:
            best, best_score = separator, score
    return best


def _check_lengths(
    path: Path, content: bytes, encoding: str, separator: str, skipped: int
) -> tuple[str, list[str]]:
    """Return how the lines differ from the header, and the header.

    They are the "same", or have "row names" (one more cell at the start of every line, which pandas
    takes as the index) or an "empty cell at the end".

    Raises:
        DataFileError: A line has more or fewer cells than the header.
    """
    with _open_text(content, encoding) as stream:
        lines = _lines(stream, separator)
        rows = ((lines.line_num, cells) for cells in lines if cells)
        for _ in range(skipped):
            next(rows, None)
        _, header = next(rows, (0, []))
        longer = same = 0
        all_empty = True
        for number, cells in rows:
            if len(cells) == len(header):
                same += 1
            elif len(cells) == len(header) + 1:
                longer += 1
                all_empty = all_empty and not cells[-1].strip()
            if len(cells) not in (len(header), len(header) + 1) or (longer and same):
                raise DataFileError(
                    f"{path}: line {number} has {len(cells)} cells, but the header has "
                    f"{len(header)} (separated by {_SEPARATORS.get(separator, separator)}): write "
                    "one cell for each column, quotes around cells that contain the separator, "
                    "and no lines above the header"
                )
    if not longer:
        return "same", header
    return "empty cell at the end" if all_empty else "row names", header


def _texts(frame: pd.DataFrame) -> Iterator[tuple[Hashable, pd.Series]]:
    """Yield the columns that pandas read as text, without their missing values."""
    from pandas.api import types

    for column in frame:
        if types.is_string_dtype(frame[column].dtype) and frame[column].notna().any():
            yield column, frame[column].dropna().astype(str)


def _meaning_of_commas(
    frame: pd.DataFrame, separator: str
) -> tuple[Literal["decimal", "thousands"] | None, tuple[Hashable, str] | None]:
    """Return what commas in columns of numbers are, and a column and cell that leave it unclear.

    All cells of such a column are numbers. In files separated by commas they are never decimal
    commas, since "1,5" is then more likely two things.
    """
    unclear = None
    thousands = False
    for column, cells in _texts(frame):
        if not cells.str.contains(",", regex=False).any():
            continue
        groups = bool(cells.str.fullmatch(_WITH_GROUPS).all())
        if separator == ",":
            thousands = thousands or groups
        elif cells.str.fullmatch(f"{_NUMBER}|{_THOUSANDS}").all():
            if not groups:
                return "decimal", None
            shown = cells[cells.str.contains(",", regex=False)]
            unclear = unclear or (column, str(shown.iloc[0]))
        else:
            thousands = thousands or groups
    if thousands:
        return "thousands", None
    return ("decimal" if unclear else None), unclear


def _without_commas(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert columns of numbers such as 1,234.5."""
    import pandas as pd

    for column, cells in list(_texts(frame)):
        if cells.str.fullmatch(_WITH_GROUPS).all():
            plain = cells.str.replace(",", "", regex=False)
            frame[column] = pd.to_numeric(plain).reindex(frame.index)
    return frame


def _without_thousands(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert columns of numbers such as 1.234,5 and, if these are not thousands, also 1.5."""
    import pandas as pd

    for column, cells in list(_texts(frame)):
        if cells.str.fullmatch(f"{_NUMBER}|{_THOUSANDS}").all():
            plain = cells.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
        elif cells.str.fullmatch(r"\s*[-+]?\d+(?:\.\d+)?\s*").all():
            plain = cells
        else:
            continue
        frame[column] = pd.to_numeric(plain).reindex(frame.index)
    return frame


def _named_only(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame without columns that have neither a name nor a value."""
    blank = [
        column
        for column in frame
        if str(column).startswith("Unnamed: ") and frame[column].isna().all()
    ]
    return frame.drop(columns=blank)


# ---- other kinds of files -----------------------------------------------------------------------


def _read_parquet(path: Path, content: bytes | None) -> Table:
    import pandas as pd

    with (
        reading(path, "a Parquet file", cached=False),
        _needed("pyarrow", f"{path}: reading Parquet files"),
    ):
        return Table(pd.read_parquet(path if content is None else io.BytesIO(content)))


@contextmanager
def _errors_of_calamine() -> Iterator[None]:
    """Turn the errors of calamine, which are plain exceptions, into ValueErrors."""
    from python_calamine import CalamineError

    try:
        yield
    except CalamineError as error:
        raise ValueError(f"{error}; a workbook with a password cannot be read") from error


def _read_excel(path: Path, content: bytes | None) -> Table:
    import pandas as pd

    assert content is not None
    # By content: files that are called .xls are often of the newer kind, which is a zip archive.
    new = zipfile.is_zipfile(io.BytesIO(content))
    if not new and not content.startswith(_OLD_EXCEL):
        raise DataFileError(f"{path} is incomplete or not an Excel file: create or copy it again")
    package = "openpyxl" if new else "python-calamine"
    engine: Literal["openpyxl", "calamine"] = "openpyxl" if new else "calamine"
    with (
        reading(path, "an Excel file", cached=False),
        _needed(package, f"{path}: reading Excel files of this kind"),
        contextlib.nullcontext() if new else _errors_of_calamine(),
        pd.ExcelFile(io.BytesIO(content), engine=engine) as book,
    ):
        frame = pd.read_excel(book)
        sheets = list(map(str, book.sheet_names))
    if len(sheets) > 1:
        # read_table, load, and the user
        warnings.warn(
            f"{path} has {len(sheets)} sheets, and the first, {sheets[0]!r}, is loaded; for "
            "another one, pass pandas.read_excel(path, sheet_name=...) instead of the path",
            stacklevel=4,
        )
    frame.columns = frame.columns.map(lambda column: str(column).strip())
    return Table(_named_only(frame), (f"Sheet {sheets[0]!r}.",))


def _read_json(path: Path, content: bytes | None) -> Table:
    """Read one object per line or, from a .json file, also one list of objects."""
    import pandas as pd

    assert content is not None
    found = encoding_of(content)
    encoding = None if found is None else found.name
    if encoding not in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"):
        raise DataFileError(f"{path}: is not in UTF-8, which JSON must be; save it as UTF-8")
    records = []
    with reading(path, "a file of JSON lines", cached=False):
        text = content.decode(encoding)
        if text.lstrip().startswith("["):
            records = json.loads(text)
        else:
            for number, line in enumerate(text.split("\n"), 1):
                if line.strip():
                    try:
                        records.append(json.loads(line))
                    except ValueError as error:
                        raise ValueError(f"line {number}: {error}") from error
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise DataFileError(
                f"{path}: entry {number} is {record!r:.60}: every line must be an object such as "
                '{"size": 3.5, "town": "York"}'
            )
    return Table(pd.DataFrame.from_records(records))


_READERS: dict[str, Callable[[Path, bytes | None], Table]] = {
    ".csv": _read_text,
    ".tsv": _read_text,
    ".tab": _read_text,
    ".txt": _read_text,
    ".xlsx": _read_excel,
    ".xlsm": _read_excel,
    ".xls": _read_excel,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
}
