"""`trainer search` and `trainer studies`, which this package adds to the command line.

Responsible for a search as a file describes it, and for the table of studies. Not for searching
(`searches`), or for the command line (`trainer.cli`), which finds these commands by the entry
points in the group `trainer.commands`.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import shlex
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.cli import classes, rows
from trainer.cli.command import Command, WrongCall
from trainer.cli.looking import table
from trainer.cli.signatures import Argument, of_source
from trainer.cli.training import TRAINER, class_for, evaluated, shown

FOLDER_OF_STUDIES = "studies"
BEST = "best.keras"
_LEFT_OUT = ("space", "callbacks", "executor", "directory", "refit")
_DOMAIN = "{low: 0.0001, high: 0.1, log: true}, or a list of values"


def _arguments(words: Sequence[str]) -> list[Argument]:
    del words
    return [
        rows.DATA,
        rows.TARGET,
        TRAINER,
        *rows.LOADING,
        Argument("fields", Any, "a dict of the fields of the class that all trials have", {}),
        Argument("space", Any, f"a dict: of each field {_DOMAIN}; or its annotated domains", None),
        Argument("directory", str | None, f"of the study; {FOLDER_OF_STUDIES}/NAME", None),
        *(a for a in of_source(("search.searches", "TunerSearch")) if a.name not in _LEFT_OUT),
    ]


def _search(given: dict[str, Any]) -> None:
    given.pop("config", None)
    source = rows.source(given)
    fields = given["fields"]
    if not isinstance(fields, Mapping):
        raise WrongCall(f"--fields {fields}: must be a dict; write fields: {{epochs: 5}}")
    space = _space(given["space"])
    if given["directory"] == "":
        raise WrongCall(
            f"--directory '': must be the name of a folder; write --directory "
            f"{FOLDER_OF_STUDIES}/first"
        )
    dataset = rows.load(source)
    cls = classes.found(given["trainer"] or class_for(dataset))
    name = re.sub(r"[^\w-]+", "-", dataset.name.split(".")[0]).strip("-") or "study"
    place = f"{FOLDER_OF_STUDIES}/{name}" if given["directory"] is None else given["directory"]
    directory = Path(place).expanduser()
    known = {a.name for a in _arguments([])} - {*source, "trainer", "fields"}
    options = {n: v for n, v in given.items() if n in known - {"space", "directory"}}
    from search.searches import TunerSearch
    from search.space import annotated

    if ".py:" in (given["trainer"] or ""):
        import cloudpickle

        # workers do not know the file: they are sent the class itself, as for a script
        cloudpickle.register_pickle_by_value(sys.modules[cls.__module__])
    options["objective"] = _objective(given["objective"])
    made = cls(**fields)
    if space is None and not annotated(made):
        raise WrongCall(
            f"--space null: {cls.__name__} has no annotated domains; write --space "
            "'{learning_rate: {low: 0.0001, high: 0.1, log: true}}'"
        )
    search = TunerSearch(made, space, directory=str(directory), **options)
    x, y = rows.training_rows(dataset, with_valid=given["cv"] is not None)
    valid = None if given["cv"] is not None else tuple(dataset.valid)
    try:
        search.fit(x, y, validation_data=valid)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted, and saved in {shlex.quote(str(directory))}; the same call resumes it"
        ) from None
    except (ValueError, TypeError) as error:
        raise type(error)(_as_in_a_file(str(error))) from error
    best = search.best_estimator_
    best.save(directory / BEST)
    print(search.summary())
    print(f"\nbest: {json.dumps(search.best_params_, default=str)}")
    print(shown(evaluated(best, *dataset.test, f"{len(dataset.test.x):,} test rows")))
    print(f"model: {directory / BEST}")


def _objective(given: Any) -> Any:
    """Return the objective with pairs as Python has them: a file has lists alone."""
    if not isinstance(given, list):
        return given
    if len(given) == 2 and given[1] in ("max", "min"):
        return tuple(given)
    return [_objective(one) for one in given]


def _as_in_a_file(text: str) -> str:
    """Return an error of a search with what to write as a file and the command line have it."""
    text = re.sub(r"\((['\"])(\w+)\1, '(max|min)'\)", r"[\2,\3]", text)
    return re.sub(r"\b(?:Float|Int)\(([^()]*)\)", _domain_in_a_file, text)


def _domain_in_a_file(found: re.Match[str]) -> str:
    values = {}
    for i, part in enumerate(found[1].split(", ")):
        name, equals, value = part.rpartition("=")
        values[name if equals else ("low", "high")[min(i, 1)]] = value
    kept = {n: v for n, v in values.items() if v != "None" and (n, v) != ("log", "False")}
    return f"{{{', '.join(f'{n}: {v.lower()}' for n, v in kept.items())}}}"


def _space(given: Any) -> Any:
    """Return a space with domains for what a file can say of them."""
    if isinstance(given, list) and any(isinstance(part, Mapping) for part in given):
        return [_space(part) for part in given]
    if not isinstance(given, Mapping):
        return given
    return {str(name): _domain(str(name), value) for name, value in given.items()}


def _domain(name: str, value: Any) -> Any:
    from trainer.hyperparameters import Float, Int

    if not isinstance(value, Mapping):
        return value
    unknown = set(value) - {"low", "high", "step", "log"}
    if unknown or not {"low", "high"} <= set(value):
        raise WrongCall(f"--space {name}: {dict(value)}: must be {_DOMAIN}")
    whole = all(type(value[key]) is int for key in ("low", "high"))
    try:
        return (Int if whole else Float)(**value)
    except (TypeError, ValueError) as error:
        raise WrongCall(f"--space {name}: {_as_in_a_file(str(error))}") from error


def _studies(given: dict[str, Any]) -> None:
    folder = Path(given["FOLDER"]).expanduser()
    if not folder.is_dir():
        raise WrongCall(
            f"FOLDER {folder}: there is no such folder; trainer search writes studies to "
            f"{FOLDER_OF_STUDIES}/, and for others write trainer studies FOLDER"
        )
    found = sorted(path.parent for path in folder.glob("*/study.sqlite"))
    if not found and (folder / "study.sqlite").exists():
        found = [folder]
    if not found:
        print(f"there are no studies in {folder}")
        return
    header = ("name", "class", "score", "best", "trials", "failed", "began")
    print(table([header, *map(_row, found)]))


def write_logs(folder: Path, logs: Path) -> bool:
    """Write logs of TensorBoard for `trainer tensorboard STUDY`.

    Args:
        folder: the folder that the call names.
        logs: an empty folder.

    Returns:
        Whether the folder is that of a study; for another nothing is written.

    Raises:
        WrongCall: it is a folder with several studies, or a study that cannot be read.
    """
    if not (folder / "study.sqlite").exists():
        inside = sorted(path.parent for path in folder.glob("*/study.sqlite"))
        if inside and not any(folder.rglob("events.out.tfevents.*")):
            raise WrongCall(
                f"FOLDER {folder}: holds several studies, of which one is shown at a time; write "
                f"trainer tensorboard {shlex.quote(str(inside[0]))}"
            )
        return False
    from search.studies import load_study

    try:
        load_study(folder).export_tensorboard(logs)
    except ValueError as error:
        raise WrongCall(f"FOLDER {folder}: {error}") from error
    return True


def write_report(given: Mapping[str, Any]) -> Path | None:
    """Write the page of a study for `trainer report STUDY`.

    Args:
        given: the arguments of the call.

    Returns:
        The file; None, and nothing is written, if it is not the folder of a study.

    Raises:
        WrongCall: the study cannot be read or has not begun, or the call says what only a run has.
    """
    path = Path(given["RUN"]).expanduser()
    if not (path / "study.sqlite").exists():
        return None
    for name in ("data", "target", "trainer"):
        if given[name] is not None:
            raise WrongCall(
                f"--{name} {given[name]}: the page of a study needs no data; leave it out"
            )
    import matplotlib

    matplotlib.use("Agg")
    from search import pages
    from search.studies import load_study

    try:
        study = load_study(path)
    except ValueError as error:
        raise WrongCall(f"RUN {path}: {error}") from error
    return study.report(Path(given["out"]).expanduser() if given["out"] else path / pages.NAME)


def _row(study: Path) -> tuple[str, ...]:
    # read-only: opening a Store would convert the study of an older version, and mark it as held
    path = (study / "study.sqlite").resolve()
    # without a log of a writer nothing has to be read besides, and SQLite leaves no files behind
    written_to = path.with_name("study.sqlite-wal").exists()
    address = f"{path.as_uri()}?mode=ro{'' if written_to else '&immutable=1'}"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as file:
            trials = file.execute("select state, score, started from trials").fetchall()
            written = file.execute("select value from study where name = 'description'").fetchone()
        description = json.loads(written[0]) if written else {}
        objective = description.get("objective") or ["", "min"]
        cls = str(description.get("estimator", {}).get("class", ""))
    except (sqlite3.Error, ValueError, AttributeError, TypeError) as error:
        return study.name, "", "", "", "", "", f"cannot be read: {error}"
    states = [state for state, _, _ in trials]
    scores = [score for _, score, _ in trials if isinstance(score, float)]
    best = (max if objective[1] == "max" else min)(scores, default=None)
    begun = min((at for _, _, at in trials if isinstance(at, float)), default=None)
    when = "" if begun is None else f"{datetime.datetime.fromtimestamp(begun):%Y-%m-%d %H:%M}"
    return (
        study.name,
        cls,
        str(objective[0]),
        "" if best is None else f"{best:.4g}",
        str(states.count("completed")),
        str(states.count("failed")),
        when,
    )


SEARCH = Command(
    name="search",
    summary="Search for the best hyperparameters, as described in a file",
    example="trainer search --config study.yaml",
    run=_search,
    arguments=_arguments,
    config=True,
    description=(
        "The file has any of these options by name, such as data, target, space, fields, tuner "
        "and max_trials. The study is saved as it proceeds: the same call resumes it. The best "
        f"model is written to {BEST} in the study's folder, where trainer predict takes it."
    ),
)
STUDIES = Command(
    name="studies",
    summary="List the studies in a folder, with their best scores",
    example="trainer studies",
    run=_studies,
    arguments=lambda words: [Argument("FOLDER", str, "a folder with studies", FOLDER_OF_STUDIES)],
)
