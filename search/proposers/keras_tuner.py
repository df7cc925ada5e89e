"""keras-tuner's oracles as proposers: random, grid, bayesian, hyperband, or one's own.

Responsible for putting a space to an oracle exactly, for driving the oracle by ask and tell, and
for its state as JSON. Not for running trials. keras-tuner's own files are never written: they do
not survive a crash between two of them.

How a domain is put: what keras-tuner has as it is (whole numbers with steps, numbers) stays; all
else is put as the index of a value, or as the place in 0..1 of a logarithmic whole number, and
decoded here. keras-tuner would turn booleans into numbers, refuse None, miss the last step of a
number, and leave out the maximum of a logarithmic grid.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from search.proposers import Finished, Outcome, Proposal, Wait
from search.space import LEVELS, Point, Space, from_unit, listed, same, to_unit, values
from trainer.checks import did_you_mean
from trainer.hyperparameters import Choice, Domain, Float, Int

TUNERS = ("random", "grid", "bayesian", "hyperband")
OBJECTIVE = "score"
_WITHOUT_END = 10**9


class KerasTuner:
    """An oracle, asked and told.

    Args:
        space: what is searched.
        tuner: a name of TUNERS, or a function that makes a keras_tuner.Oracle of an objective and
            HyperParameters.
        max_trials: the most trials; hyperband follows its own plan, which ends earlier or is cut.
        maximize: whether a higher score is better.
        seed: of the oracle's random numbers.
        epochs: those of a full trial, for hyperband.
        defaults: the estimator's own values; a grid begins with them.
        options: further arguments of the oracle, such as factor for hyperband.
    """

    def __init__(
        self,
        space: Space,
        tuner: str | Callable[[Any, Any], Any],
        *,
        max_trials: int | None,
        maximize: bool,
        seed: int,
        epochs: int | None = None,
        defaults: Point | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        import keras_tuner

        self._space = space
        self._max_trials = max_trials
        self._codes = {
            name: _Code(domain, grid=tuner == "grid") for name, domain in space.domains.items()
        }
        parameters = self._parameters(defaults or {})
        objective = keras_tuner.Objective(OBJECTIVE, "max" if maximize else "min")
        if callable(tuner):
            self._oracle = tuner(objective, parameters)
        else:
            self._oracle = _made(
                tuner, objective, parameters, max_trials, seed, epochs, dict(options or {})
            )
        self._oracle.verbose = 0
        self._oracle.max_consecutive_failed_trials = _WITHOUT_END
        self._oracle.save = lambda *ignored: None
        self._oracle._save_trial = lambda *ignored: None
        self._fitted: list[Any] | None = None
        self._remember_fits()
        self._asked = 0

    def ask(self) -> Proposal:
        """The oracle's next trial."""
        if self._max_trials is not None and self._asked >= self._max_trials:
            raise Finished
        # an oracle gives a tuner one trial at a time: each trial has a tuner of its own
        trial = self._oracle.create_trial(f"worker-{self._asked}")
        if trial.status == "IDLE":
            raise Wait
        if trial.status == "STOPPED":
            raise Finished
        self._asked += 1
        found = dict(trial.hyperparameters.values)
        own = {name: found[name] for name in found if name.startswith("tuner/")}
        whole = {n: code.decode(found[n]) for n, code in self._codes.items() if n in found}
        parent = own.get("tuner/trial_id")
        return Proposal(
            trial.trial_id,
            {name: whole[name] for name in self._space.active(whole)},
            epochs=own.get("tuner/epochs"),
            parent=parent,
            rung=own.get("tuner/round"),
        )

    def tell(self, key: str, outcome: Outcome) -> None:
        """Report a score, or that there is none: then the trial has failed."""
        trial = self._oracle.trials[key]
        if outcome.score is not None and math.isfinite(outcome.score):
            self._oracle.update_trial(key, {OBJECTIVE: float(outcome.score)})
            trial.status = "COMPLETED"
        else:
            trial.status = "FAILED"
        self._oracle.end_trial(trial)

    def snapshot(self) -> Any:
        """The oracle's state, its trials, and what its own state leaves out."""
        oracle = self._oracle
        state = {k: v for k, v in oracle.get_state().items() if k != "display"}
        state["run_times"], state["id_to_hash"] = (
            dict(state["run_times"]),
            dict(state["id_to_hash"]),
        )
        found: dict[str, Any] = {
            "asked": self._asked,
            "oracle": state,
            "trials": [trial.get_state() for trial in oracle.trials.values()],
            "fitted": self._fitted,
        }
        generator = getattr(oracle, "_random_state", None)
        if generator is not None:
            name, keys, *rest = generator.get_state()
            found["generator"] = [name, keys.tolist(), *rest]
        if hasattr(oracle, "_ordered_ids"):
            ids = oracle._ordered_ids
            found["ordered"] = [
                list(ids._memory),
                [[k, v] for k, v in ids._next_index.items()],
                ids._last_index,
            ]
            found["next"] = list(oracle._populate_next)
        return found

    def restore(self, snapshot: Any) -> None:
        """Put the oracle into that state."""
        from keras_tuner.engine.trial import Trial

        oracle = self._oracle
        self._asked = snapshot["asked"]
        trials = [Trial.from_state(state) for state in snapshot["trials"]]
        oracle.trials = {trial.trial_id: trial for trial in trials}
        oracle.set_state(snapshot["oracle"] | {"display": oracle._display.get_state()})
        self._remember_fits()  # its set_state makes a new process without data
        if snapshot["fitted"] is not None:
            x, y = snapshot["fitted"]
            oracle.gpr.fit(np.array(x), np.array(y))
        if "generator" in snapshot:
            name, keys, *rest = snapshot["generator"]
            oracle._random_state.set_state((name, np.array(keys, np.uint32), *rest))
        if "ordered" in snapshot:
            ids = oracle._ordered_ids
            memory, following, ids._last_index = snapshot["ordered"]
            ids._memory = list(memory)
            ids._data_to_index = {data: i for i, data in enumerate(memory)}
            ids._next_index.clear()
            ids._next_index.update(dict(following))
            oracle._populate_next = list(snapshot["next"])

    def _parameters(self, defaults: Point) -> Any:
        import keras_tuner

        parameters = keras_tuner.HyperParameters()
        for name, domain in self._space.domains.items():
            with contextlib.ExitStack() as scopes:
                for parent, wanted in (domain.when or {}).items():
                    accepted = self._codes[parent].encoded(wanted)
                    # where keras-tuner cannot hold the condition it sees the parameter as active
                    # always; what is proposed for it then is left out by Space.active
                    if accepted is not None:
                        scopes.enter_context(parameters.conditional_scope(parent, accepted))
                self._codes[name].register(parameters, name, defaults.get(name))
        return parameters

    def _remember_fits(self) -> None:
        """Keep what the Gaussian process was last fitted to: it is asked before the next fit."""
        process = getattr(self._oracle, "gpr", None)
        if process is None:
            return
        fit = process.fit

        def remembered(x: Any, y: Any) -> Any:
            self._fitted = [np.asarray(x).tolist(), np.asarray(y).tolist()]
            return fit(x, y)

        process.fit = remembered


class _Code:
    """How a domain is put to keras-tuner, and how its values are read."""

    def __init__(self, domain: Domain, *, grid: bool) -> None:
        self._domain = domain
        self._listed: Any = None
        self._kind = "index"
        if grid:
            self._listed = listed(domain, LEVELS)
        elif isinstance(domain, Int) and domain.log:
            self._kind = "unit"
        elif isinstance(domain, Int):
            self._kind = "int"
        elif isinstance(domain, Float) and domain.step is None and domain.low < domain.high:
            self._kind = "float"
        else:
            self._listed = list(values(domain) or ())

    def register(self, parameters: Any, name: str, default: Any) -> None:
        domain = self._domain
        kept: dict[str, Any] = {}
        inside = default is not None and domain.contains(default)
        if self._kind == "index":
            places = [i for i, v in enumerate(self._listed) if same(v, default)]
            ordered = not isinstance(domain, Choice)
            parameters.Choice(
                name, list(range(len(self._listed))), ordered=ordered, default=(places or [0])[0]
            )
        elif self._kind == "unit":
            at = to_unit(domain, default) if inside else 0.5
            parameters.Float(name, 0.0, 1.0, default=at)
        elif self._kind == "int":
            assert isinstance(domain, Int)
            reached = values(domain)
            assert reached is not None
            kept = {"default": int(default)} if inside else {}
            parameters.Int(name, int(domain.low), int(reached[-1]), step=domain.step or 1, **kept)
        else:
            assert isinstance(domain, Float)
            kept = {"default": float(default)} if inside else {}
            sampling = "log" if domain.log else "linear"
            parameters.Float(name, domain.low, domain.high, sampling=sampling, **kept)

    def decode(self, value: Any) -> Any:
        if self._kind == "index":
            return self._listed[value]
        if self._kind == "unit":
            return from_unit(self._domain, value)
        if self._kind == "int":
            return int(value)
        assert isinstance(self._domain, Float)
        return min(max(float(value), self._domain.low), self._domain.high)

    def encoded(self, wanted: Any) -> list[Any] | None:
        """Values of a condition as keras-tuner has them, or None if it cannot."""
        options = wanted if isinstance(wanted, tuple) else (wanted,)
        if self._kind == "index":
            return [i for i, v in enumerate(self._listed) if any(same(v, o) for o in options)]
        return [int(o) for o in options] if self._kind == "int" else None


def _made(
    tuner: str,
    objective: Any,
    parameters: Any,
    max_trials: int | None,
    seed: int,
    epochs: int | None,
    options: dict[str, Any],
) -> Any:
    from keras_tuner import oracles

    given = {
        "objective": objective,
        "hyperparameters": parameters,
        "seed": seed + 1,  # keras-tuner takes 0 for no seed
        "allow_new_entries": False,
        "tune_new_entries": False,
    }
    if tuner == "hyperband":
        options = {"max_epochs": epochs} | options
        return oracles.HyperbandOracle(**given, **options)
    kinds = {
        "random": oracles.RandomSearchOracle,
        "grid": oracles.GridSearchOracle,
        "bayesian": oracles.BayesianOptimizationOracle,
    }
    if tuner not in kinds:
        raise ValueError(f"tuner={tuner!r}: there is no such tuner; {did_you_mean(tuner, TUNERS)}")
    return kinds[tuner](**given, max_trials=max_trials, **options)
