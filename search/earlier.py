"""Trials of an earlier study as points that a new one knows already: warm_start_from.

Responsible for deciding which of them lie in the new space, and for refusing studies whose scores
cannot be compared. Not for reading the earlier study (`studies`), nor for telling the proposer
(`coordinator`).
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.kept import Kept
from search.space import Point, Space, shown, taken_apart, text_of
from search.studies import StudyResults, load_study
from search.study.coordinator import EARLIER
from search.study.storage import Trial
from search.study.trial import Fold
from trainer.hyperparameters import Choice, Float
from trainer.utils.text import printable


@dataclass(frozen=True)
class Earlier:
    """What a new study takes over.

    Attributes:
        known: the trials that count, with their folds.
        history: one record for each trial of the earlier study that had ended, as JSON values.
    """

    known: list[tuple[Trial, list[Fold]]]
    history: list[dict[str, Any]]


def opened(source: Any, directory: Any) -> StudyResults:
    """Return the study that warm_start_from names.

    Args:
        source: a directory, or a study that was loaded or imported.
        directory: of the new study, or None.

    Raises:
        TypeError, ValueError: it is not a study, or it is the new one itself.
    """
    if isinstance(source, StudyResults):
        study = source
    elif isinstance(source, (str, os.PathLike)) and str(source):
        try:
            study = load_study(source)
        except ValueError as error:
            raise ValueError(f"warm_start_from: {error}") from error
    else:
        instead = "search.directory_" if isinstance(source, Kept) else "'studies/first'"
        raise TypeError(
            f"warm_start_from={source!r}: must be the directory of a study, or what load_study or "
            f"import_optuna returned; write warm_start_from={instead}"
        )
    own = study.directory_
    there = own is not None and directory is not None and os.path.exists(directory)
    if own is not None and there and os.path.samefile(own, directory):
        raise ValueError(
            f"warm_start_from={str(source)!r}: is the directory of this search itself, which "
            "resumes it anyway; leave it out, or write another directory"
        )
    return study


def take(
    study: StudyResults, space: Space, estimator: Any, description: Mapping[str, Any]
) -> Earlier:
    """Return the trials of a study, those that lie in a space as known ones.

    A parameter that the earlier study did not search has the estimator's own value. One that only
    the earlier study searched must have had that value.

    Args:
        study: the earlier one.
        space: of the new search.
        estimator: of the new search.
        description: of the new search: its objective, data and estimator.

    Raises:
        ValueError: the scores cannot be compared: another objective, other data, or an estimator
            with other values that neither study searches.
    """
    before = study.description
    _comparable(study, before, space, json.loads(json.dumps(dict(description))))
    own = taken_apart(estimator.get_params(deep=True), space)
    folds = study.folds()
    known: list[tuple[Trial, list[Fold]]] = []
    history = []
    for trial in study.trials:
        if trial.state in ("waiting", "running"):
            continue
        record: dict[str, Any] = {
            "trial": trial.id,
            "state": trial.state,
            "score": trial.score,
            "params": {n: v if _is_plain(v) else shown(v) for n, v in trial.params.items()},
        }
        if trial.state == "pruned":
            why = "it was pruned, and has no score of a whole training"
            history.append(record | {"counts": False, "why": why})
            continue
        try:
            point = _placed(trial.params, space, own)
        except ValueError as error:
            history.append(record | {"counts": False, "why": printable(str(error))})
            continue
        history.append(record | {"counts": True, "why": ""})
        taken = dataclasses.replace(
            trial,
            id=len(known),
            key=f"{EARLIER}{trial.id}",
            params=point,
            parent=None,
            rung=None,
            outcome=trial.outcome,
        )
        known.append((taken, folds.get(trial.id, [])))
    return Earlier(known, history)


def _comparable(
    study: StudyResults, before: Mapping[str, Any], space: Space, now: Mapping[str, Any]
) -> None:
    where = f"warm_start_from={study.directory_ or 'the imported study'!r}"
    if before["search"].get("class") == "optuna":
        if before["objective"][1] != now["objective"][1]:
            raise ValueError(
                f"{where}: its objective is best at its {before['objective'][1]}, this search's "
                f"{now['objective'][0]} at its {now['objective'][1]}; choose one of the same "
                "direction"
            )
        if now.keys() & {"objectives", "constraints"}:
            raise ValueError(
                f"{where}: a study of Optuna has been imported with a single objective, and this "
                "search has several, or constraints; pass its best points to enqueue="
            )
        return
    for name, instead in (
        ("objective", "write the same objective= and scoring="),
        ("objectives", "write the same list as objective="),
        ("constraints", "write the same constraints="),
        ("executions_per_trial", "write the same number"),
        ("data", "call fit with the same rows and splits"),
    ):
        if before.get(name) != now.get(name):
            what = (
                f"differs from this search's: {before.get(name)!r} and {now.get(name)!r}"
                if name != "data"
                else "are not those of this search"
            )
            raise ValueError(
                f"{where}: its {name} {what}, so its scores mean something else; {instead}, or "
                "pass its best points to enqueue="
            )
    searched = space.domains.keys() | study.space.domains.keys()
    for name, value in before.get("estimator", {}).items():
        mine = now["estimator"].get(name)
        if name in searched or any(n.startswith(f"{name}__") for n in searched):
            continue
        if value != mine:
            raise ValueError(
                f"{where}: its estimator has {name}={value!r}, and this search's has {mine!r}, so "
                "its scores mean something else; write the same value, or search the parameter"
            )


def _placed(params: Mapping[str, Any], space: Space, own: Mapping[str, Any]) -> Point:
    """Return a trial as a point of the new space.

    Raises:
        ValueError: it does not lie in it.
    """
    for name, value in params.items():
        if name in space.domains:
            continue
        if name not in own or text_of(own[name]) != text_of(value):
            kept = f"the estimator has {own[name]!r}" if name in own else "there is no such one now"
            raise ValueError(f"{name}={shown(value)} is no longer searched, and {kept}")
    whole: dict[str, Any] = {}
    for name, domain in space.domains.items():
        if name not in params and name not in own:
            continue  # a part that the estimator does not have: inactive, or missing
        value = params.get(name, own.get(name))
        if isinstance(domain, Float) and type(value) is int:
            value = float(value)
        if isinstance(domain, Choice) and not domain.contains(value):
            # a study that was loaded has texts in place of objects
            texts = {text_of(v): v for v in domain.values if not _is_plain(v)}
            value = texts.get(value if isinstance(value, str) else text_of(value), value)
        whole[name] = value
    return space.check(whole)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (type(None), bool, int, float, str))
