"""The rows that a command is called with: a file, a folder, or a named data set.

Responsible for what is trained on, evaluated and predicted, and for writing predictions. Not for
reading files (`trainer.datasets`).
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cli.command import WrongCall
from trainer.cli.signatures import Argument
from trainer.utils.text import to_csv

if TYPE_CHECKING:
    from trainer.base import Trainer
    from trainer.datasets import Dataset

DATA = Argument("data", str, "a file, a folder of images, or a named data set: trainer datasets")
TARGET = Argument("target", str | None, "the column to predict; for .npy the file with y", None)
LOADING = [
    Argument("split_seed", int, "the seed of the split into train, validation and test rows", 0),
    Argument("as_text", bool, "for imdb and reuters: texts instead of word indices", False),
    Argument("image_size", Any, "for folders of images: [height, width] to resize to", None),
    Argument(
        "broken_images",
        str,
        "for folders of images: what is done with images that cannot be read",
        "raise",
        choices=("raise", "skip"),
    ),
]


def source(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to be known to load the same data again from any folder, as JSON.

    Args:
        given: The arguments of a call: DATA, TARGET and LOADING.
    """
    from trainer.datasets import names

    found = {a.name: given[a.name] for a in (DATA, TARGET, *LOADING)}
    if not found["data"]:
        raise WrongCall("--data '': must be a file, a folder of images, or a named data set")
    if found["data"] not in names():
        found["data"] = str(Path(found["data"]).expanduser().resolve())
        if found["data"].lower().endswith(".npy") and found["target"] is not None:
            found["target"] = str(Path(found["target"]).expanduser().resolve())
    return found


def load(source: Mapping[str, Any], *, missing_target: str = "drop") -> Dataset:
    """Load data in three splits.

    Args:
        source: As from `source`.
        missing_target: As of datasets.load.

    Raises:
        TypeError, ValueError, OSError, ImportError: As of datasets.load.
    """
    from trainer import datasets

    size = source["image_size"]
    try:
        return datasets.load(
            source["data"],
            target=source["target"],
            seed=source["split_seed"],
            as_text=source["as_text"],
            image_size=tuple(size) if isinstance(size, list) else size,
            broken_images=source["broken_images"],
            missing_target="raise" if missing_target == "raise" else "drop",
        )
    except (ValueError, FileNotFoundError) as error:
        text = str(error)
        flags = {"name_or_path=": "--data ", "target=": "--target ", "seed=": "--split_seed "}
        for name, flag in flags.items():
            if text.startswith(name):
                text = flag + text.removeprefix(name)
        text = text.replace('missing_target="drop"', "--missing_target drop")
        pixels = r"image_size=\((\d+), (\d+)\)"
        raise WrongCall(re.sub(pixels, r"--image_size '[\1, \2]'", text)) from error


def to_evaluate(trainer: Trainer, source: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """Return the rows of data with their targets, and what they are in words.

    They are all rows of a file that have a target, and the test rows of a named data set.

    Raises:
        ValueError: No row has a target, or some have none and the field missing_target is "raise".
        WrongCall: There are no targets.
    """
    from trainer import datasets

    path, target = Path(source["data"]), source["target"]
    if source["data"] not in datasets.names() and _is_table(path):
        if target is None:
            raise WrongCall(
                "--target None: must be the name of the column that the predictions are compared "
                "with; write --target and the name"
            )
        x, y = _table(path, target)
        if y is None:
            raise WrongCall(
                f"--data {path}: has no column {target!r}, so that nothing can be compared with "
                "the predictions; write --target and the name of the column"
            )
        known = dataclasses.replace(trainer.missing_targets(), warns=False).kept(y)
        if known is not None:
            warnings.warn(
                f"--data {path.name}: {len(x) - len(known):,} of {len(x):,} rows have no {target}, "
                "and are left out",
                stacklevel=2,
            )
            x, y = x.iloc[known], y.iloc[known]
        return x, y, f"{len(x):,} rows of {path.name}"
    dataset = load(source)
    if source["data"] in datasets.names():
        return *dataset.test, f"{len(dataset.test.x):,} test rows of {dataset.name}"
    x, y = (_joined([getattr(part, name) for part in _splits(dataset)]) for name in "xy")
    return x, y, f"{len(x):,} rows of {dataset.name}"


def check_column(data: str, target: str | None) -> None:
    """Check that a table has the column that a call names as its target.

    Args:
        data: As of `to_predict`.
        target: Of the call; None if it names none.

    Raises:
        WrongCall: There is no such column.
    """
    from trainer.utils.checks import did_you_mean

    path = Path(data).expanduser()
    if target is None or not _is_table(path):
        return
    x, y = _table(path, target)
    if y is None:
        hint = did_you_mean(target, map(str, x))
        raise WrongCall(f"--target {target}: {path.name} has no such column; {hint}")


def to_predict(trainer: Any, data: str, target: str | None) -> tuple[Any, list[str] | None]:
    """Return the rows to predict, in the order of the file.

    Args:
        trainer: A fitted one; images are resized to those that it was trained on.
        data: A table, .npy or .npz; a folder of images; or a named data set, for its test rows.
        target: The name of the target's column, which is left out if the table has it.

    Returns:
        The rows; and the name of each if they are files, else None.

    Raises:
        WrongCall: The file is of another kind, or does not exist.
    """
    import numpy as np

    from trainer import datasets
    from trainer.datasets.image_folders import read_images

    if data in datasets.names():
        return datasets.load(data).test.x, None
    path = Path(data).expanduser()
    if _is_table(path):
        return _table(path, target)[0], None
    if not path.exists():
        raise WrongCall(f"--data {data}: there is no such file, and no data set of this name")
    kind = path.suffix.lower()
    if path.is_dir():
        shape = getattr(trainer.model_, "input_shape", None)
        if not isinstance(shape, tuple) or len(shape) not in (3, 4) or None in shape[1:]:
            raise WrongCall(f"--data {data}: is a folder, and the model was not trained on images")
        return read_images(path, shape[1:3], colour=len(shape) == 4 and shape[3] == 3)
    if kind not in (".npy", ".npz"):
        raise WrongCall(
            f"--data {data}: rows to predict must be in a table (.csv, .xlsx, .parquet, .jsonl), "
            ".npy, .npz or a folder of images; for others call predict from Python"
        )
    found = np.load(path, allow_pickle=False)
    if kind == ".npy":
        return found, None
    with found:
        keys = [key for key in ("x", "images", "x_test") if key in found]
        if not keys:
            raise WrongCall(f"--data {data}: has no array x; its arrays are {sorted(found)}")
        return found[keys[0]], None


def _table(path: Path, target: Any) -> tuple[Any, Any]:
    from trainer.datasets.table_files import read_columns

    return read_columns(path, target)


def _is_table(path: Path) -> bool:
    from trainer.datasets.table_files import is_table

    return path.is_file() and is_table(path.name.lower())


def identified(dataset: Dataset) -> dict[str, str]:
    """Return what the test rows are known again by: a digest of each of their arrays."""
    from trainer.data.preparation import Rows
    from trainer.runs import fingerprint

    return fingerprint.of(Rows(*dataset.test, None)) or {}


def training_rows(dataset: Dataset, *, with_valid: bool) -> tuple[Any, Any]:
    """Return x and y to train on; with_valid adds the validation rows."""
    if not with_valid:
        return dataset.train.x, dataset.train.y
    parts = (dataset.train, dataset.valid)
    return _joined([p.x for p in parts]), _joined([p.y for p in parts])


def _splits(dataset: Dataset) -> tuple[Any, ...]:
    return (dataset.train, dataset.valid, dataset.test)


def _joined(parts: list[Any]) -> Any:
    import numpy as np

    if hasattr(parts[0], "iloc"):
        import pandas as pd

        return pd.concat(parts)
    return np.concatenate(parts)


def predictions(trainer: Any, x: Any, files: list[str] | None, *, extra_columns: str) -> str:
    """Return the predictions as CSV: a column for each output, and for each class' probability.

    Args:
        trainer: A fitted one.
        x: The rows.
        files: The name of each, which becomes the first column; or None.
        extra_columns: As of Trainer.predict.
    """
    import numpy as np

    from trainer.data import arrays

    columns: dict[str, Any] = {} if files is None else {"file": files}

    def add(name: str, values: Any, names: list[str] | None = None) -> None:
        values = np.asarray(values)
        if values.ndim == 1:
            columns[name] = values.tolist()
            return
        flat = values.reshape(len(values), -1)
        for i in range(flat.shape[1]):
            columns[f"{name}_{names[i] if names else i}"] = flat[:, i].tolist()

    for name, values in arrays.leaves(
        trainer.predict(x, extra_columns=extra_columns), "prediction"
    ):
        add(name, values)
    classes = getattr(trainer, "classes_", None)
    if isinstance(classes, np.ndarray):
        probabilities = trainer.predict_proba(x, extra_columns=extra_columns)
        add("probability", probabilities, [str(c) for c in classes.tolist()])
    return to_csv(list(columns), zip(*columns.values(), strict=True))
