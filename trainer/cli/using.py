"""`trainer evaluate`, `predict`, `report`, `export` and `serve`: using a trained run."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cli import classes, rows
from trainer.cli.command import Command, WrongCall, file_to_write
from trainer.cli.signatures import Argument
from trainer.cli.training import TRAINER, command_of, evaluated, existing, shown, source_of
from trainer.utils.checks import did_you_mean
from trainer.utils.files import write_whole

if TYPE_CHECKING:
    from trainer.base import Trainer
    from trainer.datasets import Dataset

MODEL = Argument("RUN", str, "the folder of a run, or a .keras file")
_OTHER_DATA = Argument("data", str | None, "rows; left out: the test rows of the run", None)
# Entry points of this group are called with the arguments of `trainer report`. They write the page
# of what RUN names and return its path, or None if it is nothing that they know.
REPORTS = "trainer.report"
_FORMATS = ("tf_saved_model", "onnx", "litert", "openvino", "torch")


def _loaded(given: dict[str, Any]) -> tuple[Trainer, dict[str, Any]]:
    """Return the Trainer of a run or file, and the run's config.json; {} for a file."""
    path = Path(given["RUN"]).expanduser()
    if not path.is_file():
        from trainer.runs.directory import configuration

        folder = existing(given["RUN"])
        config = configuration(folder)
        if config["status"] != "finished":
            warnings.warn(
                f"{folder} has not finished its training, and is used as it is; trainer resume "
                f"{shlex.quote(str(folder))} continues it",
                stacklevel=1,
            )
        return classes.of_run(config, folder, given["trainer"]).load(folder), config
    from trainer.saving import owner_of

    owner = owner_of(path)
    if given["trainer"] is None and owner not in classes.OWN:
        raise WrongCall(
            f"RUN {path}: was saved by {owner}, a class of your own; write "
            f"--trainer file.py:{owner} to say where that is"
        )
    return classes.found(given["trainer"] or owner).load(path), {}


def _evaluate(given: dict[str, Any]) -> None:
    trainer, config = _loaded(given)
    call = f"trainer evaluate {shlex.quote(given['RUN'])}"
    source = source_of(config, given, call)
    if given["data"] is None:
        dataset = rows.load(source)
        for text in _changed(given["RUN"], config, dataset):
            warnings.warn(text, stacklevel=1)
        x, y = dataset.test
        what = f"{len(x):,} test rows of {dataset.name}"
        print(shown(evaluated(trainer, x, y, what)))
        return
    try:
        print(shown(evaluated(trainer, *rows.to_evaluate(trainer, source))))
    except WrongCall:
        raise
    except ValueError as error:
        raise WrongCall(f"--data {given['data']}: {error}") from error


def _changed(run: str, config: Mapping[str, Any], dataset: Dataset) -> list[str]:
    """Return a warning if the data are not those that a run of `trainer fit` held out rows of."""
    known = config.get("source", {}).get("test")
    if known is None or known == rows.identified(dataset):
        return []
    return [
        f"{dataset.name} has changed since {run} was trained, so its test rows are not the same, "
        "and some may have been trained on: the score may be too good; to score rows that are new, "
        "write trainer evaluate --data FILE"
    ]


def _predict(given: dict[str, Any]) -> None:
    out = file_to_write(given["out"], ".csv", ".npy")
    _check_other(out, given["data"], "with the rows to predict")
    trainer, config = _loaded(given)
    _check_other(out, config.get("source", {}).get("data"), "that the run was trained on")
    target = given["target"] or config.get("source", {}).get("target")
    x, files = rows.to_predict(trainer, given["data"], target)
    extra = given["extra_columns"]
    try:
        if out.suffix.lower() == ".npy":
            trainer.predict(x, out=out, extra_columns=extra)
        else:
            text = rows.predictions(trainer, x, files, extra_columns=extra)
            write_whole(out, text.encode("utf-8"))
    except ValueError as error:
        rows.check_column(given["data"], given["target"])
        said = str(error).replace("extra_columns='ignore'", "--extra_columns ignore")
        raise WrongCall(f"--data {given['data']}: {said}") from error
    print(f"{len(x):,} predictions: {out}")


def _check_other(out: Path, data: Any, what: str) -> None:
    """Check that a file to write is none with data, which would be lost."""
    path = Path(data or "").expanduser()
    if path.is_file() and out.exists() and out.samefile(path):
        raise WrongCall(f"--out {out}: is the file {what}; write another name")


def _report(given: dict[str, Any]) -> None:
    if given["out"] is not None:
        file_to_write(given["out"], ".html", ".htm")
    for entry in metadata.entry_points(group=REPORTS):
        written = entry.load()(given)
        if written is not None:
            print(f"report: {written}")
            return
    from trainer import reports

    trainer, config = _loaded(given)
    source = source_of(config, given, f"trainer report {shlex.quote(given['RUN'])}")
    out = Path(given["out"]) if given["out"] else Path(given["RUN"]).parent / reports.NAME
    if given["out"] is None and Path(given["RUN"]).is_dir():
        out = Path(given["RUN"]) / reports.NAME
    made_by = config.get("source")
    command = "" if made_by is None else command_of(made_by)
    dataset = rows.load(source)
    notes = _changed(given["RUN"], config, dataset)
    for text in notes:
        warnings.warn(text, stacklevel=1)
    print(f"report: {reports.write(trainer, dataset, out, command=command, notes=notes)}")


def _export(given: dict[str, Any]) -> None:
    if given["format"] not in _FORMATS:
        raise WrongCall(
            f"--format {given['format']}: there is no such format; "
            f"{did_you_mean(given['format'], _FORMATS)}"
        )
    trainer, _ = _loaded(given)
    try:
        print(trainer.export(given["out"], format=given["format"]))
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise WrongCall(re.sub(r"\bpath=", "--out ", str(error))) from error


def _serve(given: dict[str, Any]) -> None:
    from trainer.serving import serve

    trainer, _ = _loaded(given)
    serve(trainer, host=given["host"], port=given["port"])


EVALUATE = Command(
    name="evaluate",
    summary="Score a trained run on a file",
    example="trainer evaluate runs/house-1 --data house.csv",
    run=_evaluate,
    arguments=lambda words: [MODEL, _OTHER_DATA, rows.TARGET, TRAINER],
    description=(
        "All rows of the file are used, of a named data set the test rows. The target is that of "
        "the run unless --target names another column."
    ),
)
PREDICT = Command(
    name="predict",
    summary="Write predictions for the rows of a file",
    example="trainer predict runs/house-1 --data new.csv --out predictions.csv",
    run=_predict,
    arguments=lambda words: [
        MODEL,
        Argument("data", str, "a table, .npy, .npz or a folder of images; or a named data set"),
        Argument("out", str, "the file to write, .csv or .npy"),
        Argument(
            "extra_columns",
            str,
            "whether columns that training did not have are an error",
            "raise",
            choices=("raise", "ignore"),
        ),
        Argument("target", str | None, "a column to leave out; that of the run by itself", None),
        TRAINER,
    ],
    description=(
        "A .csv has the column prediction, and for classes the probability of each, in the order "
        "of the rows; for images also the file. Of a named data set the test rows are predicted. "
        "A .npy file has what predict returns."
    ),
)
REPORT = Command(
    name="report",
    summary="Write a page about a run or a study, to look at and to share",
    example="trainer report runs/house-1 --out report.html",
    run=_report,
    arguments=lambda words: [
        Argument("RUN", str, "the folder of a run or of a study, or a .keras file"),
        Argument("out", str | None, "the file to write; report.html in that folder", None),
        Argument("data", str | None, "the data that it was trained on; those of the run", None),
        rows.TARGET,
        TRAINER,
    ],
    description=(
        "The page of a run has the scores, curves, mistakes, the columns that matter, and warnings "
        "about the data; trainer fit writes it by itself. That of a study, such as studies/house, "
        "has its trials to sort and to filter, and the best configuration. It is one file that "
        "makes no request."
    ),
)
EXPORT = Command(
    name="export",
    summary="Write a trained run for another runtime",
    example="trainer export runs/house-1 --out exported",
    run=_export,
    arguments=lambda words: [
        MODEL,
        Argument("out", str, "a folder for tf_saved_model, else a file"),
        Argument("format", str, f"one of {', '.join(_FORMATS)}", "tf_saved_model"),
        TRAINER,
    ],
)
SERVE = Command(
    name="serve",
    summary="Serve predictions of a trained run over HTTP",
    example="trainer serve runs/house-1 --port 8000",
    run=_serve,
    arguments=lambda words: [
        MODEL,
        Argument("host", str, "the address to listen on", "127.0.0.1"),
        Argument("port", int, "the port; 0 for a free one", 8000),
        TRAINER,
    ],
    description="Ctrl-C ends it, once the requests that have arrived are answered.",
)
