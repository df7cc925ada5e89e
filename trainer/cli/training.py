"""`trainer fit` and `trainer resume`.

Responsible for the call of Trainer.fit: its class, data and fields, the run's folder, what the run
records of the call, and the score on the test rows. Not for training.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cli import classes, rows, trust
from trainer.cli.command import Command, WrongCall
from trainer.cli.signatures import Argument, of_class
from trainer.utils import forms
from trainer.utils.files import write_whole

if TYPE_CHECKING:
    from trainer.base import Trainer
    from trainer.datasets import Dataset

FOLDER_OF_RUNS = "runs"
EVALUATION = "evaluation.json"
_IN_PYTHON = r"\2 from Python with fit(..., resume=\1), which no command does"
RUN = Argument("RUN", str, "the folder of a run")
TRAINER = Argument(
    "trainer",
    str | None,
    "Classifier, Regressor, package.module:Class or file.py:Class",
    None,
)


def _arguments(words: Sequence[str]) -> list[Argument]:
    own = [rows.DATA, rows.TARGET, TRAINER, *rows.LOADING]
    fields = classes.fields(words)
    twice = {a.name for a in own} & {f.name for f in fields}
    twice |= {f.name for f in fields if f.name in ("config", "print_config", "help", "debug")}
    if twice:
        raise WrongCall(
            f"--trainer {classes.named(words)}: has a field {min(twice)!r}, which is an option of "
            "trainer fit too; give the field another name"
        )
    return [*own, *fields]


def _fit(given: dict[str, Any]) -> None:
    given.pop("config", None)
    source = rows.source(given)
    dataset = rows.load(source, missing_target=given["missing_target"])
    place = given["trainer"]
    if place is None:
        _check_varies(dataset, source)
    if given["run_dir"] == "":
        raise WrongCall("--run_dir '': must be the name of a folder; write --run_dir runs/first")
    source["trainer"] = classes.absolute(place or class_for(dataset))
    fields = {n: v for n, v in given.items() if n not in (*source, "run_dir")}
    cls = classes.found(source["trainer"])
    known = cls._get_param_names()
    defaults = {a.name: a.default for a in classes.fields([])} if place is None else {}
    for name in set(fields).difference(known):  # a field of Classifier, and the task is another
        value = fields.pop(name)
        if value != defaults[name]:
            raise WrongCall(
                f"--{name} {value}: is a field of Classifier, and {source['target']!r} is a "
                f"number to predict, for a {cls.__name__}; leave it out"
            )
    default = {a.name: a.default for a in of_class(cls)}
    source["fields"] = {n: v for n, v in fields.items() if not _same(v, default[n])}
    print(_told(dataset, source, chosen=place is not None), flush=True)
    name = re.sub(r"[^\w-]+", "-", dataset.name.split(".")[0]).strip("-") or "run"
    own = given["run_dir"] is None
    folder = _new_folder(name) if own else Path(given["run_dir"])
    try:
        _train(cls, dataset, source, folder, "auto")
    except (ValueError, TypeError, ImportError) as error:
        if own and not (folder / "history.csv").exists() and not _has_states(folder):
            shutil.rmtree(folder)  # it was refused before it trained anything
        unseen = "y contains" in str(error) and "which training did not have" in str(error)
        if place is None and unseen and dataset.task == "classification":
            from trainer.utils.figures import shortened

            raise WrongCall(
                f"{source['target'] or dataset.name} was taken for classes, and some are in too "
                "few rows to be in each part of the data; if these are amounts, write --trainer "
                f"Regressor, else leave out rows of rare classes ({shortened(str(error), 300)})"
            ) from error
        raise
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()  # of a fit that was refused
        if own and not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def _check_varies(dataset: Dataset, source: Mapping[str, Any]) -> None:
    """Check that there is something to predict.

    Raises:
        WrongCall: The target of a table is the same in all rows.
    """
    import numpy as np

    parts = (dataset.train, dataset.valid, dataset.test)
    values = {value for part in parts for value in np.asarray(part.y).ravel().tolist()}
    if source["target"] is None or len(values) > 1:
        return
    value = dataset.class_names[0] if dataset.class_names else values.pop()
    raise WrongCall(
        f"--target {source['target']!r}: is {value} in all rows of {dataset.name}, so that there "
        "is nothing to predict; name another column"
    )


def _has_states(folder: Path) -> bool:
    return any((folder / "checkpoints").glob("*"))


def _resume(given: dict[str, Any]) -> None:
    from trainer.runs.directory import configuration

    folder = existing(given["RUN"])
    config = configuration(folder)
    cls = classes.of_run(config, folder, given["trainer"])
    recorded = config.get("source")
    source = source_of(config, given, f"trainer resume {shlex.quote(str(folder))}")
    if recorded is None:
        dataset = rows.load(source)
        _train_further(cls, dataset, config, folder)
        return
    source |= {"trainer": recorded["trainer"], "fields": recorded["fields"]}
    if given["trainer"] is not None:
        source["trainer"] = classes.absolute(given["trainer"])
    dataset = rows.load(source, missing_target=source["fields"].get("missing_target", "drop"))
    _train(cls, dataset, source, folder, True)


def _train(
    cls: type[Trainer], dataset: Dataset, source: dict[str, Any], folder: Path, resume: bool | str
) -> None:
    """Call fit as `source` says, and evaluate the result on the test rows."""
    from trainer.runs.directory import source_recorded

    trainer = cls(**source["fields"], run_dir=str(folder))
    own_split = trainer.validation_split is not None
    x, y = rows.training_rows(dataset, with_valid=own_split)
    valid = None if own_split else tuple(dataset.valid)
    recorded = json.loads(json.dumps({**source, "test": rows.identified(dataset)}, default=str))
    if source["trainer"] not in classes.OWN:
        recorded["mark"] = trust.mark(recorded)
    with source_recorded(recorded):
        _with_hint(trainer, x, y, valid, resume, folder)
    _finish(trainer, dataset, folder, command_of(source))


def _train_further(
    cls: type[Trainer], dataset: Dataset, config: Mapping[str, Any], folder: Path
) -> None:
    """Resume a run that was started from Python: its fields are in the folder."""
    trainer = cls.load(folder)
    trainer.set_params(run_dir=str(folder))
    validated = config["data"]["validation"] is not None
    valid = tuple(dataset.valid) if validated else None
    _with_hint(trainer, *dataset.train, valid, True, folder)
    _finish(trainer, dataset, folder, "")


def _with_hint(trainer: Trainer, x: Any, y: Any, valid: Any, resume: Any, folder: Path) -> None:
    from trainer.runs.directory import RunError

    try:
        trainer.fit(x, y, validation_data=valid, resume=resume)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted, and saved; trainer resume {shlex.quote(str(folder))} continues it"
            if (folder / "config.json").exists()
            else "interrupted before anything was trained"
        ) from None
    except RunError as error:
        # which fit of Python takes, and no command
        text = re.sub(r"write resume=(True|'force') (to \w+ it [^,]*)", _IN_PYTHON, str(error))
        raise RunError(text) from error


def _finish(trainer: Trainer, dataset: Dataset, folder: Path, command: str) -> None:
    from trainer import reports

    what = f"{len(dataset.test.x):,} test rows of {dataset.name}"
    evaluation = evaluated(trainer, *dataset.test, what)
    content = json.dumps(evaluation, indent=1) + "\n"
    write_whole(folder / EVALUATION, content.encode(), follow_links=False)
    report = reports.write(trainer, dataset, folder / reports.NAME, command=command)
    print(f"\n{shown(evaluation)}\nrun: {folder}\nreport: {report}")


def command_of(source: Mapping[str, Any]) -> str:
    """Return the call of `trainer fit` that a run was made by."""
    words = ["trainer", "fit"]
    defaults = {a.name: a.default for a in (rows.TARGET, *rows.LOADING)}
    for name, value in {**source, **source["fields"]}.items():
        if name not in ("fields", "mark", "test") and value != defaults.get(name):
            words += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    return shlex.join(words)


def evaluated(trainer: Trainer, x: Any, y: Any, what: str) -> dict[str, Any]:
    """Return the score and the metrics of some rows, as JSON.

    Args:
        trainer: A fitted one.
        x: The rows.
        y: Their targets.
        what: What the rows are, in words.
    """
    metrics = {name: float(value) for name, value in trainer.evaluate(x, y).items()}
    found: dict[str, Any] = {"rows": what, "metrics": metrics}
    if hasattr(trainer, "score"):
        name = "accuracy" if hasattr(trainer, "classes_") else "R squared"
        found["score"] = {"name": name, "value": float(trainer.score(x, y))}
    if trainer.network_.loss_is_scaled:
        found["loss"] = "of the standardised target: 1 is that of predicting its mean"
    return found


def shown(evaluation: Mapping[str, Any]) -> str:
    """Return an evaluation as lines of text."""
    values = dict(evaluation["metrics"])
    if "score" in evaluation:
        name = evaluation["score"]["name"]
        values.pop(name, None)
        values = {name: evaluation["score"]["value"], **values}
    width = max(map(len, values))
    lines = [f"  {name:<{width}}  {value:.6g}" for name, value in values.items()]
    if "loss" in evaluation:
        lines = [f"{x}, {evaluation['loss']}" if x.startswith("  loss ") else x for x in lines]
    return "\n".join([f"on {evaluation['rows']}:", *lines])


def existing(name: str) -> Path:
    """Return the folder of a run.

    Raises:
        WrongCall: There is no such folder.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise WrongCall(
            f"RUN {name}: there is no such folder; trainer runs lists those in {FOLDER_OF_RUNS}/"
        )
    if not (folder / "config.json").exists():
        models = sorted(folder.glob("*.keras"))  # such as the best one of a study
        remedy = (
            f"its model is {models[0]}; write this file"
            if models
            else "trainer runs FOLDER lists those in a folder"
        )
        raise WrongCall(f"RUN {name}: is a folder without a run; {remedy}")
    return folder


def source_of(config: Mapping[str, Any], given: Mapping[str, Any], call: str) -> dict[str, Any]:
    """Return what the data of a run are, with what a call says in its place.

    Args:
        config: The run's config.json.
        given: The arguments of the call: data, target, and perhaps more.
        call: The call without its data, for the message.

    Raises:
        WrongCall: Neither the run nor the call says it.
        Malformed: What the run says is not what `fit` wrote.
    """
    recorded: dict[str, Any] | None = config.get("source")
    if recorded is not None:
        names = ("data", "target", "trainer", "fields")
        forms.mapping("fields", forms.mapping("source", recorded, names)["fields"])
    defaults = {a.name: a.default for a in rows.LOADING}
    if given["data"] is None and recorded is None:
        what = "the run was started from Python, and" if config else "a file of a model"
        raise WrongCall(
            f"{call}: {what} does not know its data; write {call} --data house.csv --target price"
        )
    if given["data"] is None and recorded is not None:
        target = given["target"]
        if target is not None and recorded["target"] not in (target, str(Path(target).resolve())):
            raise WrongCall(
                f"--target {target}: the run predicts {recorded['target']!r} of its own data; "
                "leave it out, or write --data too"
            )
        found = {n: recorded[n] for n in (*defaults, "data", "target") if n in recorded}
        return {**defaults, **found}
    new = {**defaults, **(recorded or {}), "data": given["data"]}
    new["target"] = given["target"] if given["target"] is not None else new.get("target")
    return rows.source(new)


def class_for(dataset: Dataset) -> str:
    """Return the name of the class for the task of a data set."""
    return "Classifier" if dataset.task == "classification" else "Regressor"


def _told(dataset: Dataset, source: Mapping[str, Any], *, chosen: bool) -> str:
    """Return which task it is and why, and how the rows were split."""
    target = source["target"] or dataset.name
    if chosen:
        task = f"{source['trainer']}, as --trainer says"
    elif dataset.task == "regression":
        task = (
            f"regression, as {target} has fractions or many distinct whole numbers; if these are "
            "classes, write --trainer Classifier"
        )
    else:
        n = "" if dataset.class_names is None else f"{len(dataset.class_names)} "
        of = "folders of images" if Path(source["data"]).is_dir() else "text"
        task = (
            f"classification into {n}classes, as {target} has {of} or few distinct whole numbers; "
            "if these are amounts, write --trainer Regressor"
        )
    return f"task: {task}\ndata: {dataset.description}"


def _same(one: Any, other: Any) -> bool:
    if isinstance(other, tuple):
        other = list(other)
    return type(one) is type(other) and bool(one == other)


def _new_folder(name: str) -> Path:
    """Make a new folder for a run, in a way that two processes never take the same one."""
    os.makedirs(FOLDER_OF_RUNS, exist_ok=True)
    number = 1
    while True:
        folder = Path(FOLDER_OF_RUNS) / f"{name}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


FIT = Command(
    name="fit",
    summary="Train a model on your own file",
    example="trainer fit --data house.csv --target price",
    run=_fit,
    arguments=_arguments,
    config=True,
    description=(
        "Numbers with fractions, and many distinct whole numbers, are predicted as numbers; other "
        "targets are classes. A fifth of the rows is held out for validation and a fifth for the "
        "test at the end. The run is written to a new folder in runs/, and trainer resume "
        "continues it after a kill. Every field of the class is an option; those of a class of "
        "your own are listed by trainer fit --trainer file.py:Class --help."
    ),
)
RESUME = Command(
    name="resume",
    summary="Resume a run that was interrupted",
    example="trainer resume runs/house-1",
    run=_resume,
    arguments=lambda words: [
        RUN,
        Argument("data", str | None, "if the data have moved, or the run is from Python", None),
        rows.TARGET,
        TRAINER,
    ],
    description=(
        "A run of trainer fit knows its data and its class, and ends with the weights that it "
        "would have had without the interruption. A run that was started from Python as "
        "fit(*data.train, validation_data=data.valid), with data = datasets.load(...), needs "
        "--data and, for a class of your own, --trainer file.py:Class. A finished run is left as "
        "it is."
    ),
)
