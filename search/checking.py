"""Checks of a search's arguments, before anything starts.

Responsible for one clear error per fault: the argument, its value, and what to write instead. Not
for the space (`space`) or the score (`scoring`), which check their own arguments.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import numbers
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, Protocol

from search.executors import Ray, ray_settings
from search.proposers.pruning import PRUNERS
from search.space import Point, Space, check_estimator, taken_apart, values
from search.study.callbacks import SearchCallback
from search.study.data import rows
from search.study.resource import EPOCHS, FACTOR, ROWS, STEPS, amount_of
from search.study.scoring import Measure, trainer_in
from search.study.storage import Trial
from trainer import sklearn_callbacks
from trainer.base import Trainer
from trainer.data import preparation
from trainer.data.streams import is_stream
from trainer.hyperparameters import Domain, Float, Int
from trainer.utils import processor
from trainer.utils.checks import (
    boolean,
    did_you_mean,
    field_values,
    finite,
    integer,
    one_of,
    positive,
)

MOST_SEED = 2**32 - 1  # of NumPy's and scikit-learn's generators
EXECUTORS = ("processes", "serial", "ray")


P = ParamSpec("P")


class Arguments(Protocol):
    """The arguments of a search, as attributes: see TunerSearch and SklearnSearch."""

    estimator: Any
    cv: Any
    pruner: str | None
    factor: float | None
    min_resources: float | None
    resource: str | None
    executions_per_trial: int
    workers: int | None
    executor: Any
    directory: Any
    resume: Any
    seed: int | None
    refit: Any
    trial_timeout: float | None
    trial_memory: int | None
    trial_retries: int
    max_seconds: float | None
    max_epochs: int | None
    callbacks: Sequence[SearchCallback]
    verbose: Any
    keep_models: int
    warm_start_from: Any
    return_train_score: bool
    target_score: float | None
    patience_trials: int | None


def names_of_arguments(init: Callable[P, None]) -> Callable[P, None]:
    """Let the constructor of a search say which argument one that it does not have may mean."""
    known = list(inspect.signature(init).parameters)[1:]

    @functools.wraps(init)
    def checked(*args: P.args, **given: P.kwargs) -> None:
        for name in given:
            if name not in known:
                raise TypeError(
                    f"{type(args[0]).__name__}({name}=...): there is no such argument; "
                    f"{did_you_mean(name, known)}"
                )
        init(*args, **given)

    return checked


def arguments(search: Arguments) -> None:
    """Check the arguments that need no data.

    Raises:
        TypeError, ValueError: naming the argument, its value and what to write instead.
    """
    estimator = search.estimator
    check_estimator(estimator)
    if not hasattr(estimator, "fit"):
        raise TypeError(f"estimator={estimator!r}: has no method fit; write Classifier()")
    _check_execution(search)
    if search.directory is not None and (
        not isinstance(search.directory, (str, os.PathLike)) or not str(search.directory)
    ):
        raise TypeError(
            f"directory={search.directory!r}: must be the name of a folder; write 'studies/first'"
        )
    one_of("resume", search.resume, ("auto", True, False, "force"))
    if search.resume is True and search.directory is None:
        raise ValueError("resume=True: there is no directory; write directory='studies/first'")
    if search.seed is not None:
        seed = integer("seed", search.seed, low=0, example=0)
        if seed > MOST_SEED:
            raise ValueError(f"seed={seed}: must be from 0 to {MOST_SEED}; write seed=0")
    if not isinstance(search.refit, (bool, str)) and not callable(search.refit):
        raise TypeError(
            f"refit={search.refit!r}: must be True, False, the name of a score, or a function from "
            "cv_results_ to the index of the best"
        )
    boolean("return_train_score", search.return_train_score)
    if search.target_score is not None:
        finite("target_score", search.target_score, example=0.9)
    if search.patience_trials is not None:
        integer("patience_trials", search.patience_trials, low=1, example=20)
    if search.max_seconds is not None:
        positive("max_seconds", search.max_seconds)
    integer("executions_per_trial", search.executions_per_trial, low=1, example=2)
    integer("keep_models", search.keep_models, low=0, example=3)
    if search.keep_models and search.directory is None:
        raise ValueError(
            f"keep_models={search.keep_models}: there is no directory to keep them in; write "
            "directory='studies/first'"
        )
    _check_trainer(search)
    _callbacks(search.callbacks)
    one_of("verbose", search.verbose, ("auto", 0, 1, 2, True, False))


def _check_execution(search: Arguments) -> None:
    if not callable(search.executor) and not isinstance(search.executor, Ray):
        one_of("executor", search.executor, EXECUTORS)
    if ray_settings(search.executor) is not None and sklearn_callbacks.has_callbacks(search):
        raise TypeError(
            "set_callbacks: callbacks of scikit-learn see only trials in processes of this "
            "machine; write executor='processes'"
        )
    workers(search.workers)
    if search.trial_timeout is not None:
        positive("trial_timeout", search.trial_timeout)
    if search.trial_memory is not None:
        integer("trial_memory", search.trial_memory, low=1, example=4 * 2**30)
    integer("trial_retries", search.trial_retries, low=0, example=1)
    if search.executor == "serial":
        for name, value in (
            ("trial_timeout", search.trial_timeout),
            ("trial_memory", search.trial_memory),
            ("workers", None if search.workers == 1 else search.workers),
        ):
            if value is not None:
                raise ValueError(
                    f"{name}={value!r}: executor='serial' runs one trial after another in this "
                    f"process, without limits; leave out {name}, or write executor='processes'"
                )


def _check_trainer(search: Arguments) -> None:
    prefix, trainer = trainer_in(search.estimator)
    if search.max_epochs is not None:
        integer("max_epochs", search.max_epochs, low=1, example=1_000)
        if trainer is None:
            raise ValueError(
                f"max_epochs={search.max_epochs}: {type(search.estimator).__name__} has no epochs; "
                "write max_seconds or fewer trials"
            )
    if search.executions_per_trial > 1:
        params = search.estimator.get_params(deep=True)
        fixed = {
            name: value
            for name, value in params.items()
            if name.split("__")[-1] == "random_state" and isinstance(value, numbers.Integral)
        }
        for name, value in fixed.items():
            raise ValueError(
                f"executions_per_trial={search.executions_per_trial}: with {name}={value} all "
                f"executions of a trial would be equal; leave out {name}, and write seed={value} "
                "for the search"
            )
    if search.cv is not None and isinstance(search.cv, int):
        integer("cv", search.cv, low=2, example=5)


def workers(value: int | None, trials: int | None = None) -> int:
    """Return the number of processes: the given one, or one per core but at most one per trial."""
    if value is not None:
        return integer("workers", value, low=1, example=4)
    usable = processor.usable()
    return min(usable, trials or usable)


def _callbacks(callbacks: Any) -> None:
    if isinstance(callbacks, (str, Mapping)) or not isinstance(callbacks, Sequence):
        raise TypeError(
            f"callbacks={callbacks!r}: must be a list of search.SearchCallback objects; write "
            "callbacks=[]"
        )
    for callback in callbacks:
        if not isinstance(callback, SearchCallback):
            raise TypeError(
                f"callbacks=[{callback!r}]: is not a search.SearchCallback; callbacks of a "
                "training belong to the estimator: Classifier(callbacks=[...])"
            )


def data(
    search: Arguments,
    measure: Measure,
    x: Any,
    y: Any,
    validation_data: Any,
    groups: Any,
    weight: Any,
) -> None:
    """Check the arguments of fit.

    Raises:
        TypeError, ValueError: as Trainer.fit does, or if the arguments contradict the search.
    """
    if search.cv is not None and validation_data is not None:
        raise ValueError(
            f"cv={search.cv!r}, validation_data: two ways to score a trial; write cv=None to "
            "score on validation_data, or leave that out"
        )
    if groups is not None and search.cv is None:
        raise ValueError("groups: only used by a splitter; write cv=GroupKFold(5), for example")
    if is_stream(x) or is_stream(validation_data):
        _check_streams(search, measure, x, validation_data)
    if groups is not None:
        _check_lengths(x, "", groups=groups)
    if x is None:
        raise TypeError("x=None: pass the rows to fit on")
    if validation_data is None and rows(x) < 2:
        raise ValueError(
            f"x has {rows(x)} sample{'s' * (rows(x) != 1)}: too few to fit on some and score on "
            "others; pass more rows"
        )
    trainer = trainer_in(search.estimator)[1]
    if trainer is None or trainer is not search.estimator:
        _check_lengths(x, "", y=y, sample_weight=weight)
        if validation_data is not None:
            _check_validation(validation_data)
        return
    owner = type(trainer).__name__ if trainer.configure_task().needs_y else None
    size = trainer.resolve(x, y).values.batch_size
    preparation.collect(x, y, weight, batch_size=size, needs_y=owner)
    preparation.collect_validation(validation_data, batch_size=size, needs_y=owner)


def _check_streams(search: Arguments, measure: Measure, x: Any, validation_data: Any) -> None:
    name, value = ("x", x) if is_stream(x) else ("validation_data", validation_data)
    what = f"{name}={type(value).__name__}"
    if isinstance(value, Iterator):
        raise TypeError(
            f"{what}: a Python iterator can be read only once, and a search reads it for each "
            "trial; pass a keras.utils.PyDataset, or tf.data.Dataset.from_generator(function, ...)"
        )
    if not isinstance(search.estimator, Trainer):
        raise TypeError(
            f"{what}: only a Trainer can be fitted on a stream, and the estimator is "
            f"{type(search.estimator).__name__}; pass arrays"
        )
    if is_stream(x) and validation_data is None:
        cv = "" if search.cv is None else f", with cv=None instead of cv={search.cv!r}"
        raise ValueError(
            f"{what}: a stream cannot be split; pass validation_data, for example x.take(k), and "
            f"search on x.skip(k){cv}"
        )
    if search.executor != "serial":
        raise ValueError(
            f"{what}: a stream cannot be sent to other processes; pass arrays, which workers "
            "share memory-mapped, or write executor='serial'"
        )
    if is_stream(validation_data) and not measure.log:
        raise ValueError(
            f"validation_data={type(validation_data).__name__}: a stream, which scores of "
            "scikit-learn cannot take; write objective='val_loss', or pass arrays"
        )


def _check_validation(value: Any) -> None:
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise TypeError(
            f"validation_data={type(value).__name__}: must be (x, y) or (x, y, sample_weight); "
            "write validation_data=(x_valid, y_valid)"
        )
    x, y, *weight = value
    _check_lengths(x, "validation_data: ", y=y, sample_weight=weight[0] if weight else None)


def _check_lengths(x: Any, prefix: str, **others: Any) -> None:
    for name, value in others.items():
        if value is None:
            continue
        try:
            found = rows(value)
        except TypeError:
            raise TypeError(
                f"{prefix}{name}={value!r}: must hold one value for each row of x"
            ) from None
        if found != rows(x):
            raise ValueError(
                f"{prefix}x has {rows(x)} rows, but {name} has {found}: inconsistent numbers "
                f"of samples; pass one value of {name} for each row of x"
            )


def threshold(search: Arguments, space: Space, validation_data: Any, share: float) -> None:
    """Check that the refit has rows to tune a threshold on, if the space has names of metrics.

    Args:
        search: the search, with checked arguments.
        space: the space of the search.
        validation_data: as passed to fit.
        share: the share of the rows that the estimator holds out by itself.

    Raises:
        ValueError: it has none.
    """
    prefix, trainer = trainer_in(search.estimator)
    if trainer is None or share or validation_data is not None:
        return
    domains = {
        name: domain for part in space.parts or (space,) for name, domain in part.domains.items()
    }
    values = getattr(domains.get(f"{prefix}decision_threshold"), "values", ())
    metric = next((value for value in values if isinstance(value, str)), None)
    if metric is not None and search.refit and f"{prefix}validation_split" not in domains:
        raise ValueError(
            f"decision_threshold={metric!r}: the threshold is tuned on validation rows, and a "
            "refit has none; write validation_split=0.2 in the estimator, or pass validation_data"
        )


def epochs(search: Arguments, space: Space, fits: int, own: int | None, *, rungs: bool) -> None:
    """Check that one trial fits in max_epochs, if all trials take the same number of epochs.

    Args:
        search: the search, with checked arguments.
        space: the space of the search.
        fits: number of fits per trial.
        own: the number of epochs that a fit of the estimator takes; None if it has none.
        rungs: whether the search method itself decides how many epochs a trial takes.

    Raises:
        ValueError: it does not fit.
    """
    prefix, trainer = trainer_in(search.estimator)
    if search.max_epochs is None or rungs or f"{prefix}epochs" in space.domains:
        return
    assert trainer is not None and own is not None  # checked by _check_trainer
    needed = fits * own
    if needed > search.max_epochs:
        raise ValueError(
            f"max_epochs={search.max_epochs}: a trial takes {needed} epochs, {own} in "
            f"each of {fits} fits; write max_epochs={20 * needed} for 20 trials, for example"
        )


def pruning(search: Arguments, space: Space, own_rungs: str, *, streamed: bool) -> None:
    """Check the arguments of pruning.

    Args:
        search: the search, with checked arguments.
        space: the space of the search.
        own_rungs: the argument by which its method chooses rungs itself; empty if it does not.
        streamed: whether x is a stream.

    Raises:
        TypeError, ValueError: naming the argument, its value and what to write instead.
    """
    given = {
        name: getattr(search, name)
        for name in ("pruner", "factor", "min_resources", "resource")
        if getattr(search, name) is not None
    }
    if not given:
        return
    name, value = next(iter(given.items()))
    if own_rungs:
        instead = f"{own_rungs.partition('=')[0]}='random'"
        raise ValueError(
            f"{name}={value!r}: {own_rungs} has rungs of its own; leave out {name}, or write "
            f"{instead} with a pruner"
        )
    if search.pruner is None:
        raise ValueError(
            f"{name}={value!r}: says how trials are pruned, but there is no pruner; write "
            "pruner='asha' too"
        )
    one_of("pruner", search.pruner, PRUNERS)
    factor = search.factor
    if factor is not None and not (_is_number(factor) and 1 < factor < math.inf):
        raise ValueError(f"factor={factor!r}: must be a number above 1; write factor={FACTOR}")
    _check_resource(search, space, streamed)
    _check_min_resources(search)


def _check_resource(search: Arguments, space: Space, streamed: bool) -> None:
    kind = type(search.estimator).__name__
    prefix, trainer = trainer_in(search.estimator)
    name = search.resource
    if name is not None and not isinstance(name, str):
        raise TypeError(f"resource={name!r}: must be a name; write resource='epochs'")
    params = search.estimator.get_params(deep=True)
    if trainer is not None:
        if name not in (None, EPOCHS, STEPS):
            raise ValueError(
                f"resource={name!r}: the resources of a {type(trainer).__name__} are 'epochs' and "
                "'steps'; write one of them"
            )
        if name == STEPS and search.max_epochs is not None:
            raise ValueError(
                f"max_epochs={search.max_epochs}: with resource='steps' trials are counted in "
                "steps; write max_seconds, or resource='epochs'"
            )
        chosen = f"{prefix}epochs"
        if name == STEPS and any(
            f"{prefix}batch_size" in p.domains for p in space.parts or [space]
        ):
            raise ValueError(
                f"resource='steps': epochs have different numbers of steps, because "
                f"{prefix + 'batch_size'!r} is in the space; leave it out, or write "
                "resource='epochs'"
            )
        if name == STEPS and streamed:
            raise ValueError(
                "resource='steps': how many steps an epoch of a stream has is not known; write "
                "resource='epochs'"
            )
    else:
        integers = [n for n in params if amount_of(params, n) is not None and "random" not in n]
        named = next((n for n in integers if n.split("__")[-1] == "n_estimators"), None)
        if name is None or name in (EPOCHS, STEPS):
            instead = "resource='n_samples'" + (f" or resource={named!r}" if named else "")
            raise ValueError(
                f"{'pruner' if name is None else 'resource'}="
                f"{search.pruner if name is None else name!r}: {kind} has no epochs to divide "
                f"into rungs; write {instead}"
            )
        if name != ROWS and name not in params:
            raise ValueError(
                f"resource={name!r}: {kind} has no such parameter; "
                f"{did_you_mean(name, [ROWS, *integers])}"
            )
        if name != ROWS and amount_of(params, name) is None:
            raise ValueError(
                f"resource={name!r}: its value in the {kind} is {params[name]!r}, and must be an "
                f"integer, which the last rung has; write {kind}({name}=100), for example"
            )
        chosen = name
    parts = space.parts or (space,)
    if any(chosen in part.domains for part in parts):
        raise ValueError(
            f"pruner={search.pruner!r}: chooses {chosen!r} itself; leave it out of the space, and "
            f"give the estimator the value for the last rung"
        )


def _check_min_resources(search: Arguments) -> None:
    least = search.min_resources
    if least is None:
        return
    share = search.resource == ROWS and isinstance(least, float) and 0 < least < 1
    if not share and (amount_of({"": least}, "") is None or least < 1):
        also = ", or a share of the rows such as 0.1" if search.resource == ROWS else ""
        raise ValueError(
            f"min_resources={least!r}: must be an integer from 1 on{also}; write min_resources=1"
        )


def no_rungs(search: Arguments, name: str, full: int, factor: float) -> str:
    """Return the message for a resource that leaves no rung below the last one."""
    least = search.min_resources
    said = f"pruner={search.pruner!r}" if least is None else f"min_resources={least!r}"
    kind = type(trainer_in(search.estimator)[1] or search.estimator).__name__
    more = (
        "more rows" if name == ROWS else f"{kind}({name if name != STEPS else EPOCHS}=...) of more"
    )
    smaller = "" if least is None else f"min_resources={max(1, int(full / factor**2))}, or "
    return (
        f"{said}: with {full} {name.replace('_', ' ') if name == ROWS else name} and factor="
        f"{factor:g} there is no rung below the last one; write {smaller}{more}"
    )


def fields(search: Arguments, space: Space) -> None:
    """Check that a Trainer accepts the values that a space has for the fields of every Trainer.

    Tried are the ends of each domain, and each of its choices.

    Raises:
        TypeError, ValueError: naming the parameter and the value.
    """
    prefix, trainer = trainer_in(search.estimator)
    if trainer is None:
        return
    defaults = {field.name: field.default for field in dataclasses.fields(Trainer)}
    for part in space.parts or (space,):
        for name, domain in part.domains.items():
            field = name.removeprefix(prefix)
            if prefix + field != name or field not in defaults:
                continue
            for value in _ends(domain):
                try:
                    field_values(defaults | {field: value})
                except (TypeError, ValueError) as error:
                    raise type(error)(f"space={{{name!r}: {domain!r}}}: {error}") from error


def _ends(domain: Domain) -> Sequence[Any]:
    """Return all values of a choice, the first and the last of a range, and none of others."""
    found = values(domain)
    if isinstance(domain, Float) and found is None:
        return (float(domain.low), float(domain.high))
    if isinstance(domain, Int | Float):
        return (found[0], found[-1]) if found else ()
    return found or ()


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def enqueued(value: Any, space: Space, estimator: Any) -> list[Point]:
    """Return the points of enqueue=, completed with the estimator's own values.

    Raises:
        TypeError, ValueError: not a list of dicts, or a point outside the space.
    """
    if value is None:
        return []
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    if not listed or not all(isinstance(point, Mapping) for point in value):
        raise TypeError(
            f"enqueue={value!r}: must be a list of dicts from parameter to value; write "
            "enqueue=[{'learning_rate': 0.01}]"
        )
    own = taken_apart(estimator.get_params(deep=True), space)
    points = []
    for i, point in enumerate(value):
        given = taken_apart(point, space)
        whole = given | {
            name: own[name]
            for name, domain in space.domains.items()
            if name in own and name not in given and domain.contains(own[name])
        }
        try:
            points.append(space.check(whole))
        except ValueError as error:
            raise ValueError(f"enqueue[{i}]: {error}") from error
    return points


def chosen_index(refit: Any, cv_results: Mapping[str, Any]) -> int:
    """Return the index that refit, a function, chooses from cv_results_.

    Raises:
        TypeError, IndexError: it returns something else.
        ValueError: the trial failed.
    """
    found = refit(cv_results)
    name = getattr(refit, "__name__", repr(refit))
    trials = len(cv_results["params"])
    if isinstance(found, bool) or not hasattr(found, "__index__"):
        raise TypeError(
            f"refit={name}: returned {found!r}; it must return the index of a trial in cv_results_"
        )
    if not 0 <= int(found) < trials:
        raise IndexError(
            f"refit={name}: returned {found!r}; it must return an index from 0 to {trials - 1}"
        )
    scores = [v[int(found)] for n, v in cv_results.items() if n.startswith("mean_test_")]
    if all(score != score for score in scores):
        raise ValueError(f"refit={name}: returned {found!r}, the index of a trial that failed")
    return int(found)


def score_names(scoring: Any, trials: Sequence[Trial]) -> list[str]:
    """The names of several scores, in the order of `scoring`."""
    if not callable(scoring):
        return list(scoring)
    names = dict.fromkeys(name for trial in trials for name in trial.metrics)
    return [name.removeprefix("test_") for name in names if name.startswith("test_")]
