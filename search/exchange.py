"""A study for other programs, and studies of Optuna as ours.

Responsible for translating trials and spaces. Not for what is done with them (`studies`).
"""

from __future__ import annotations

import datetime
import io
import itertools
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from search.proposers import Outcome
from search.space import Space, of_parts, shown, values
from search.study.goals import Goals
from search.study.reading import Recorded
from search.study.storage import Trial
from trainer.hyperparameters import Bool, Choice, Domain, Drawn, Float, Int
from trainer.utils.checks import python_scalar
from trainer.utils.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

_PLAIN = (type(None), bool, int, float, str)  # what Optuna's choices may be


def write_csv(table: pd.DataFrame, path: Any) -> Path:
    """Write a table of results to a CSV file, objects as text; an existing file is replaced.

    Args:
        table: as results_.
        path: of the file.

    Raises:
        TypeError: the path is not the name of a file.
        OSError: it cannot be written.
    """
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise TypeError(f"path={path!r}: must be the name of a file; write 'trials.csv'")
    plain = table.copy()
    for name in (n for n in plain if plain[n].dtype.kind == "O"):
        plain[name] = [v if isinstance(v, _PLAIN) else shown(v) for v in plain[name]]
    write_whole(path, plain.to_csv(index=False).encode())
    return Path(path)


# ---- to Optuna -----------------------------------------------------------------------------------


def to_optuna(
    trials: Sequence[Trial],
    space: Space,
    curves: Mapping[int, Mapping[int, float]],
    *,
    storage: Any,
    name: str | None,
    goals: Goals,
) -> Any:
    """Add trials that have ended to a new study of Optuna.

    Args:
        trials: of ours.
        space: that they lie in.
        curves: the objective by epoch, by trial.
        storage: of Optuna, or its address; None: in memory.
        name: of the study; None: Optuna draws one.
        goals: the objectives.

    Returns:
        The optuna.Study.

    Raises:
        TypeError, ValueError: no storage or its address, or it has a study of this name.
    """
    import optuna

    if storage is not None:
        _check_storage("storage", storage)
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=["maximize" if maximize else "minimize" for maximize in goals.maximize],
        )
    except optuna.exceptions.DuplicatedStudyError as error:
        raise ValueError(
            f"name={name!r}: the storage has a study of this name already; write another one"
        ) from error
    with warnings.catch_warnings():  # Optuna calls it experimental since 3.2
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(goals.names))
    states = {"completed": "COMPLETE", "failed": "FAIL", "pruned": "PRUNED"}
    distributions = {n: _distribution(domain) for n, domain in space.domains.items()}
    made = []
    for trial in trials:
        if trial.state not in states:
            continue
        state = optuna.trial.TrialState[states[trial.state]]
        frozen = optuna.trial.create_trial(
            state=state,
            values=Outcome(trial.score, **trial.outcome).objectives
            if trial.state == "completed"
            else None,
            params={n: _for_optuna(space.domains[n], v) for n, v in trial.params.items()},
            distributions={n: distributions[n] for n in trial.params},
            # Optuna has none in a study of several objectives
            intermediate_values={} if goals.several else dict(curves.get(trial.id, {})),
            user_attrs={
                "trial": trial.id,
                "seed": trial.seed,
                "metrics": trial.metrics,
                **({} if trial.feasible else {"violations": trial.outcome["violations"]}),
                **({"error": trial.error} if trial.error else {}),
            },
        )
        for field, seconds in (
            ("datetime_start", trial.started),
            ("datetime_complete", trial.ended),
        ):
            if seconds is not None:
                setattr(frozen, field, datetime.datetime.fromtimestamp(seconds))
        made.append(frozen)
    study.add_trials(made)
    return study


def _check_storage(name: str, value: Any) -> None:
    """Refuse what is neither a storage of Optuna nor like the address of one."""
    import optuna

    if isinstance(value, str) and "://" not in value:
        file = value if value.endswith((".db", ".sqlite", ".sqlite3")) else "optuna.db"
        raise ValueError(
            f"{name}={value!r}: must be the address of a storage of Optuna; write "
            f"{name}='sqlite:///{file}'"
        )
    if not isinstance(value, str | optuna.storages.BaseStorage):
        raise TypeError(
            f"{name}={value!r}: must be {'an optuna.Study, ' if name == 'study' else ''}a storage "
            f"of Optuna, or its address; write {name}='sqlite:///optuna.db'"
        )


def _distribution(domain: Domain) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found = values(domain)
    if isinstance(domain, Int) and not (domain.log and domain.step is not None):
        assert found is not None
        last = int(found[-1])
        return IntDistribution(int(domain.low), last, log=domain.log, step=int(domain.step or 1))
    if isinstance(domain, Float) and domain.step is None:
        return FloatDistribution(domain.low, domain.high, log=domain.log)
    if isinstance(domain, Drawn):
        entry = Space({"a": domain}).described()["domains"][0]
        if domain.discrete:
            return IntDistribution(int(entry["low"]), int(entry["high"]))
        return FloatDistribution(entry["low"], entry["high"])
    assert found is not None
    return CategoricalDistribution([_for_optuna(domain, value) for value in found])


def _for_optuna(domain: Domain, value: Any) -> Any:
    if isinstance(domain, Float):
        return float(value)
    plain = python_scalar(value)
    if isinstance(plain, _PLAIN):
        return plain
    listed = values(domain) or ()
    texts = [shown(v) for v in listed]
    place = next(i for i, v in enumerate(listed) if v is value or v == value)
    return texts[place] if texts.count(texts[place]) == 1 else f"{place}: {texts[place]}"


# ---- to TensorBoard ------------------------------------------------------------------------------


def write_tensorboard(
    trials: Sequence[Trial],
    space: Space,
    epochs: pd.DataFrame,
    path: Any,
    *,
    goals: Goals,
) -> Path:
    """Write trials as logs of TensorBoard: a run for each, and the table of its HPARAMS page.

    Args:
        trials: of ours; those that wait are left out.
        space: that they lie in.
        epochs: the logs by trial and epoch, as epochs_.
        path: of a folder, which is made, or empty.
        goals: the objectives, of which the first is the score.

    Raises:
        ImportError: the package tensorboard is not installed.
        TypeError: the path is not the name of a folder.
        ValueError: the folder has files, which TensorBoard would show as part of the study.
        OSError: it cannot be written.
    """
    try:
        from tensorboard.plugins.hparams import api_pb2, metadata
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    except ImportError as error:
        raise ImportError(
            "export_tensorboard: the package tensorboard is not installed; install it with "
            "`pip install tensorboard`"
        ) from error
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise TypeError(f"path={path!r}: must be the name of a folder; write 'logs'")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(
            f"path={str(path)!r}: is not empty, and TensorBoard would show what is there as part "
            "of the study; write the name of a new folder"
        )
    shown_trials = [trial for trial in trials if trial.state != "waiting"]
    columns, infos = _columns(shown_trials, space)
    score = f"score/{goals.names[0]}"
    own = {goals.names[0], *space.domains}  # of which there are columns already
    logged = dict.fromkeys(n for t in shown_trials for n in t.metrics if n not in own)
    better = {True: " (higher is better)", False: " (lower is better)"}
    told = {n: better[m] for n, m in zip(goals.names, goals.maximize, strict=True)}
    metrics = [(score, f"{goals.names[0]}{told[goals.names[0]]}")]
    metrics += [(name, f"{name}{told.get(name, '')}") for name in logged]
    experiment = api_pb2.Experiment(
        hparam_infos=infos,
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=text)
            for tag, text in metrics
        ],
    )
    begun = min((t.started for t in shown_trials if t.started is not None), default=0.0)
    content = HParamsPluginData(experiment=experiment)
    whole = _event(begun, hparams=(metadata.EXPERIMENT_TAG, content))
    _write_events(folder, [whole])
    logs = [name for name in epochs if name not in ("trial", "fold", "execution", "epoch")]
    means = epochs.groupby(["trial", "epoch"])[logs].mean() if len(epochs) else None
    known = set() if means is None else set(means.index.get_level_values("trial"))
    width = len(str(max((t.id for t in shown_trials), default=0)))
    for trial in shown_trials:
        number = f"{trial.id:0{width}}"
        events = [_began(trial, number, columns[trial.id], begun)]
        if means is not None and trial.id in known:
            for epoch, row in means.loc[trial.id].iterrows():
                values = {f"epoch_{name}": float(value) for name, value in row.items()}
                events.append(_event(trial.started or begun, int(epoch), values))
        scores = {n: v for n, v in trial.metrics.items() if n not in own}
        if trial.score is not None:
            scores[score] = trial.score
        ended = trial.ended or trial.started or begun
        events += [_event(ended, 0, scores), *_ended(trial, ended)]
        _write_events(folder / f"trial_{number}", events)
    return folder


def _columns(trials: Sequence[Trial], space: Space) -> tuple[dict[int, dict[str, Any]], list[Any]]:
    """Return the plain values of each trial, and the columns of TensorBoard's table.

    A column of TensorBoard holds numbers, truths or texts: one with several kinds holds texts.
    """
    from tensorboard.plugins.hparams import api_pb2

    found: dict[int, dict[str, Any]] = {trial.id: {} for trial in trials}
    infos = []
    for name in space.domains:
        plain = {
            t.id: value.item() if isinstance(value, np.generic) else value
            for t in trials
            if name in t.params
            for value in (t.params[name],)
        }
        kinds = {bool if isinstance(v, bool) else type(v) for v in plain.values()}
        info = api_pb2.HParamInfo(name=name)
        if kinds and kinds <= {int, float}:
            info.type = api_pb2.DATA_TYPE_FLOAT64
            info.domain_interval.min_value = min(plain.values())
            info.domain_interval.max_value = max(plain.values())
        elif kinds == {bool}:
            info.type = api_pb2.DATA_TYPE_BOOL
            info.domain_discrete.extend(sorted(set(plain.values())))
        else:
            plain = {i: v if isinstance(v, str) else shown(v) for i, v in plain.items()}
            info.type = api_pb2.DATA_TYPE_STRING
            info.domain_discrete.extend(sorted(set(plain.values())))
        infos.append(info)
        for i, value in plain.items():
            found[i][name] = value
    return found, infos


def _began(trial: Trial, number: str, params: Mapping[str, Any], begun: float) -> Any:
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    when = trial.started or begun
    start = SessionStartInfo(group_name=f"trial {number}", start_time_secs=when)
    for name, value in params.items():
        kind = "number" if type(value) in (int, float) else type(value).__name__
        field = {"number": "number_value", "bool": "bool_value", "str": "string_value"}[kind]
        setattr(start.hparams[name], field, value)
    content = HParamsPluginData(session_start_info=start)
    return _event(when, hparams=(metadata.SESSION_START_INFO_TAG, content))


def _ended(trial: Trial, when: float) -> list[Any]:
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    if trial.state not in ("completed", "pruned", "failed"):
        return []
    status = api_pb2.STATUS_FAILURE if trial.state == "failed" else api_pb2.STATUS_SUCCESS
    end = SessionEndInfo(status=status, end_time_secs=when)
    content = HParamsPluginData(session_end_info=end)
    return [_event(when, hparams=(metadata.SESSION_END_INFO_TAG, content))]


def _event(
    when: float,
    step: int = 0,
    scalars: Mapping[str, float] = MappingProxyType({}),
    hparams: tuple[str, Any] | None = None,
) -> Any:
    from tensorboard.compat.proto import event_pb2
    from tensorboard.plugins.hparams import metadata

    event = event_pb2.Event(wall_time=when, step=step)
    for tag, value in scalars.items():
        if math.isfinite(value):
            event.summary.value.add(tag=tag, simple_value=value)
    if hparams is not None:
        tag, content = hparams
        event.summary.value.add(
            tag=tag,
            metadata=metadata.create_summary_metadata(content),
            tensor=metadata.NULL_TENSOR,
        )
    return event


def _write_events(folder: Path, events: Sequence[Any]) -> None:
    from tensorboard.compat.proto import event_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(exist_ok=True)
    first = event_pb2.Event(wall_time=events[0].wall_time, file_version="brain.Event:2")
    content = io.BytesIO()
    writer = RecordWriter(content)
    for event in (first, *events):
        writer.write(event.SerializeToString())
    write_whole(folder / "events.out.tfevents.0.study", content.getvalue())


# ---- from Optuna ---------------------------------------------------------------------------------


def from_optuna(study: Any, name: str | None, objective: int) -> Recorded:
    """Return a study of Optuna as ours.

    Args:
        study: an optuna.Study, or a storage or its address.
        name: of the study in the storage, if it has several.
        objective: which of several objectives is the score.

    Raises:
        TypeError: not a study, and not a storage.
        ValueError: no such study or objective, or no trial.
    """
    import optuna
    import pandas as pd

    if not isinstance(study, optuna.Study):
        _check_storage("study", study)
        names = optuna.get_all_study_names(study)
        if name is None and len(names) == 1:
            name = names[0]
        if name not in names:
            raise ValueError(
                f"name={name!r}: the storage has the studies {', '.join(map(repr, names))}; write "
                "the name of one of them"
            )
        study = optuna.load_study(study_name=name, storage=study)
    if not 0 <= objective < len(study.directions):
        raise ValueError(
            f"objective={objective!r}: the study has {len(study.directions)} objectives; write a "
            f"number from 0 to {len(study.directions) - 1}"
        )
    found = study.get_trials(deepcopy=False)
    if not found:
        raise ValueError(f"study={study.study_name!r}: has no trials")
    names = study.metric_names or ["value"] * len(study.directions)
    maximize = study.directions[objective].name == "MAXIMIZE"
    space = _space_of(found)
    trials = [_trial(i, trial, space, objective) for i, trial in enumerate(found)]
    steps = [
        {"trial": t.id, "fold": 0, "execution": 0, "epoch": step, names[objective]: value}
        for t, trial in zip(trials, found, strict=True)
        for step, value in trial.intermediate_values.items()
    ]
    return Recorded(
        Path(),
        {
            "description": {
                "objective": [names[objective], "max" if maximize else "min", None],
                "search": {"class": "optuna", "tuner": type(study.sampler).__name__},
            }
        },
        space,
        trials,
        frames={
            "folds": pd.DataFrame(
                {
                    "trial": [t.id for t in trials],
                    "fold": 0,
                    "execution": 0,
                    "score": [t.score for t in trials],
                    "fit_seconds": [(t.ended or np.nan) - (t.started or np.nan) for t in trials],
                    "score_seconds": 0.0,
                }
            ),
            "epochs": pd.DataFrame(
                steps, columns=["trial", "fold", "execution", "epoch", names[objective]]
            ),
        },
    )


def _space_of(trials: Sequence[Any]) -> Space:
    """Return one space for each set of parameters that trials have together."""
    known: dict[str, list[Any]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if distribution not in known.setdefault(name, []):
                known[name].append(distribution)
    domains = {name: _domain(found) for name, found in known.items()}
    sets = dict.fromkeys(tuple(sorted(trial.distributions)) for trial in trials)
    parts = [Space({name: domains[name] for name in names}) for names in sets if names]
    if not parts:
        raise ValueError("study: none of its trials has a parameter")
    return parts[0] if len(parts) == 1 else of_parts(tuple(parts))


def _domain(found: Sequence[Any]) -> Domain:
    if hasattr(found[0], "choices"):
        listed: list[Any] = []
        for value in itertools.chain.from_iterable(d.choices for d in found):
            if not any(type(value) is type(v) and value == v for v in listed):
                listed.append(value)
        return Bool() if listed in ([True, False], [False, True]) else Choice(*listed)
    low, high = min(d.low for d in found), max(d.high for d in found)
    log = all(d.log for d in found)
    steps = {d.step for d in found}
    step = steps.pop() if len(steps) == 1 and len({d.low for d in found}) == 1 else None
    if type(found[0]).__name__ == "IntDistribution":
        return Int(low, high, step=None if log or step == 1 else step, log=log)
    return Float(low, high, step=step, log=log)


def _trial(number: int, trial: Any, space: Space, objective: int) -> Trial:
    states = {"COMPLETE": "completed", "FAIL": "failed", "PRUNED": "pruned", "RUNNING": "running"}
    state = states.get(trial.state.name, "waiting")
    score = trial.values[objective] if trial.values and state == "completed" else None
    params = {
        name: float(v) if isinstance(space.domains[name], Float) else v
        for name, v in trial.params.items()
    }
    return Trial(
        number,
        str(trial.number),
        params,
        seed=0,
        state=state,
        score=score,
        attempts=1,
        started=trial.datetime_start.timestamp() if trial.datetime_start else None,
        ended=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
        error=trial.user_attrs.get("error") or trial.system_attrs.get("fail_reason"),
    )
