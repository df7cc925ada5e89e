"""keras-tuner's oracles as proposers: random, grid, bayesian, hyperband, or a custom one.

Responsible for expressing a space exactly in an oracle, for driving the oracle by ask and tell, and
for its state as JSON. Not for running trials. keras-tuner's own files are never written: they do
not survive a crash between two of them.

Domains that keras-tuner represents exactly (Int and Float) are passed on unchanged; everything
else, and all of a grid, is passed as the index of a value and decoded here. keras-tuner would turn
booleans into numbers, reject None, miss the last step of a number, and leave out the maximum of a
logarithmic grid.

A snapshot of one of keras-tuner's own oracles does not grow with the study: its trials are
replayed. Only that of a custom oracle, which may do anything with its trials, contains them all.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from search.proposers import Finished, Outcome, PastTrial, Proposal, Wait, gaussian
from search.space import LEVELS, Point, Space, from_unit, listed, same, to_unit, values
from trainer.hyperparameters import Bool, Choice, Domain, Drawn, Float, Int
from trainer.network.allowed import safe_mode
from trainer.utils.checks import did_you_mean

TUNERS = ("random", "grid", "bayesian", "hyperband")
OBJECTIVE = "score"
_NO_LIMIT = 10**9
# parts of an oracle's state that follow from its trials
_OF_TRIALS = ("start_order", "end_order", "run_times", "tried_so_far", "id_to_hash")
MOST_LISTED = 10_000  # points of a finite space that are listed to find those not tried yet


class KerasTuner:
    """An oracle, driven by ask and tell.

    Args:
        space: of the search.
        tuner: a name of TUNERS, or a function that makes a keras_tuner.Oracle from an objective and
            HyperParameters.
        max_trials: maximum number of trials; hyperband has its own plan, which may end earlier.
        maximize: whether a higher score is better.
        seed: of the oracle's random numbers.
        epochs: of a full trial, for hyperband.
        defaults: the estimator's own values; a grid starts with them.
        options: further arguments of the oracle, such as factor for hyperband.

    Attributes:
        slow: True if asking takes long: a Gaussian process takes seconds, a custom oracle may.
        learns: False for hyperband, whose rounds compare trials with equal epochs.
        independent: True for random search.
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
        from keras_tuner import oracles

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
            self._oracle = _make_oracle(
                tuner, objective, parameters, max_trials, seed, epochs, dict(options or {})
            )
        held = {parameter.name for parameter in self._oracle.hyperparameters.space}
        for name in self._codes:
            if name not in held:
                raise ValueError(
                    f"tuner={tuner!r}: its oracle does not search {name!r}; pass the parameters "
                    "on, `lambda objective, parameters: Oracle(objective=objective, "
                    "hyperparameters=parameters, max_trials=20)`"
                )
        self._oracle.verbose = 0
        self._oracle.max_consecutive_failed_trials = _NO_LIMIT
        self._oracle.save = lambda *ignored: None
        self._oracle._save_trial = lambda *ignored: None
        self._own = callable(tuner)
        if not self._own:
            # it goes through all trials at each end, and there is no limit
            self._oracle._check_consecutive_failures = lambda: None
            self._share_space()
        self.slow = self._own or tuner == "bayesian"
        # its n-th point follows from its seed, n, and the points before
        self.independent = tuner == "random"
        self.learns = not isinstance(self._oracle, oracles.HyperbandOracle)
        self._grid = isinstance(self._oracle, oracles.GridSearchOracle)
        self._fitted: Any = None
        self._keys: dict[str, str] = {}  # of the points of trials, by trial: see _tried
        self._remember_fits()
        self._finite = tuner in ("random", "bayesian") and space.size <= MOST_LISTED
        if self._finite:
            self._draw_once_each()
        self._asked = 0
        self._told: dict[str, float] = {}
        self._texts: dict[str, str] = {}
        self._known: dict[str, float | None] = {}  # scores of learnt trials by hash
        self._snapshot: Any = None  # restored, and waiting for its trials

    def ask(self) -> Proposal:
        """Return the oracle's next trial."""
        if self._max_trials is not None and self._asked >= self._max_trials:
            raise Finished
        trial = self._created()
        while (point := self._oracle._id_to_hash[trial.trial_id]) in self._known:
            self.tell(trial.trial_id, Outcome(self._known[point]))
            trial = self._created()
        self._asked += 1
        if self._finite:
            self._keys[trial.trial_id] = self._key(trial.hyperparameters.values)
        found = dict(trial.hyperparameters.values)
        own = {name: found[name] for name in found if name.startswith("tuner/")}
        parent = own.get("tuner/trial_id")
        return Proposal(
            trial.trial_id,
            self._point(found),
            epochs=own.get("tuner/epochs"),
            parent=parent,
            rung=own.get("tuner/round"),
            memo=self._memo(found),
        )

    def _memo(self, values: dict[str, Any]) -> Any:
        """Return the oracle's values of a trial, if they do not follow from its point."""
        if self._own:
            return None
        implied = self._encoded(self._point(values))
        return None if implied is not None and _alike(implied, values) else values

    def _created(self) -> Any:
        with _one_thread() if self.slow else contextlib.nullcontext():
            # an oracle allows a tuner one trial at a time, so each trial gets its own tuner
            trial = self._oracle.create_trial(f"worker-{self._asked}")
        if trial.status == "IDLE":
            raise Wait
        if trial.status == "STOPPED":
            raise Finished
        return trial

    def tell(self, key: str, outcome: Outcome) -> None:
        """Report a score, or that the trial has none and failed."""
        trial = self._oracle.trials[key]
        if outcome.score is not None and math.isfinite(outcome.score):
            self._told[key] = float(outcome.score)
            self._oracle.update_trial(key, {OBJECTIVE: self._told[key]})
            trial.status = "COMPLETED"
        else:
            trial.status = "FAILED"
        self._oracle.end_trial(trial)
        self._forget(key)

    def _forget(self, key: str) -> None:
        """Drop what random search does not need of a trial that has ended: all but its hash."""
        if self.independent:
            if self._finite and key not in self._keys:
                self._keys[key] = self._key(self._oracle.trials[key].hyperparameters.values)
            self._oracle.trials[key] = None
            self._told.pop(key, None)

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """Add the trial to the oracle's, if the oracle can represent the point: a grid may not.

        A Gaussian process is fitted to it, random search does not draw it again, and a grid skips
        it.
        """
        if not self.learns:
            return
        values = self._encoded(point)
        if values is None:
            return
        parameters = self._oracle.hyperparameters.copy()
        parameters.values = values
        if self._grid:
            # added to a grid's trials, it would become the starting point of the grid's walk
            self._known[self._oracle._compute_values_hash(parameters.values)] = outcome.score
            return
        self._oracle.trials[key] = _trial(key, parameters, "RUNNING")
        self._oracle.start_order.append(key)
        self.tell(key, outcome)

    def snapshot(self) -> Any:
        """Return the oracle's state without what `replay` adds, and what its state leaves out."""
        oracle = self._oracle
        state = {k: v for k, v in oracle.get_state().items() if k != "display"}
        found: dict[str, Any] = {
            "asked": self._asked,
            "oracle": state,
            "known": self._known,
            "fitted": self._fitted,
        }
        generator = getattr(oracle, "_random_state", None)
        if generator is not None:
            name, keys, *rest = generator.get_state()
            found["generator"] = [name, keys.tolist(), *rest]
        if hasattr(oracle, "_ordered_ids"):
            found["next"] = list(oracle._populate_next)
        # the trials of a grid include those that it skipped because they were known
        if self._own or self._known:
            found["trials"] = [self._text(key, trial) for key, trial in oracle.trials.items()]
            if hasattr(oracle, "_ordered_ids"):
                ids = oracle._ordered_ids
                following = [[k, v] for k, v in ids._next_index.items()]
                found["ordered"] = [list(ids._memory), following, ids._last_index]
        else:
            found["oracle"] = {k: v for k, v in state.items() if k not in _OF_TRIALS}
        return found

    def restore(self, snapshot: Any) -> None:
        """Restore a snapshot; without trials in it, `replay` does the rest."""
        self._asked = snapshot["asked"]
        self._known = dict(snapshot["known"])
        self._oracle.trials, self._told, self._texts, self._keys = {}, {}, {}, {}
        self._snapshot = snapshot
        parameters = self._restored_parameters(snapshot)
        if "trials" not in snapshot:
            return
        for text in snapshot["trials"]:
            key, parameters.values, status, told, score = json.loads(text)
            self._add(key, parameters.copy(), status, told, score)
        self._restore_oracle(snapshot, snapshot["oracle"])
        self._forget_ended()
        if "ordered" in snapshot:
            memory, following, last = snapshot["ordered"]
            self._restore_order(memory, dict(following), last)

    def replay(self, trials: Sequence[PastTrial]) -> None:
        """Add the trials of the study, unless the snapshot held them."""
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is None or "trials" in snapshot:
            return
        parameters = self._restored_parameters(snapshot)
        ended: list[tuple[int, str]] = []
        # where an oracle has its trials in the order in which it heard of them
        for trial in sorted(trials, key=lambda t: t.told or 0 if t.learnt else t.asked):
            values = trial.memo or self._encoded(trial.point)
            if values is None:
                continue  # learnt, and not on the grid
            parameters.values = values
            score = None if trial.outcome is None else trial.outcome.score
            told = score if score is not None and math.isfinite(score) else None
            status = "RUNNING" if trial.told is None else "FAILED" if told is None else "COMPLETED"
            self._add(trial.key, parameters.copy(), status, told, told)
            if trial.told is not None:
                ended.append((trial.told, trial.key))
        added = self._oracle.trials
        hashes = {k: self._oracle._compute_values_hash(t.hyperparameters.values)
                  for k, t in added.items()}  # fmt: skip
        end_order = [key for _, key in sorted(ended)]
        of_trials = {
            "start_order": list(added),
            "end_order": end_order,
            "run_times": dict.fromkeys(end_order, 1),
            "tried_so_far": list(hashes.values()),
            "id_to_hash": hashes,
        }
        self._restore_oracle(snapshot, snapshot["oracle"] | of_trials)
        self._forget_ended()
        if self._grid:
            self._restore_order(list(added), *self._chained(list(added)))

    def _forget_ended(self) -> None:
        for key in list(self._oracle.end_order):
            self._forget(key)

    def _restored_parameters(self, snapshot: Any) -> Any:
        from keras_tuner import HyperParameters

        config = copy.deepcopy(snapshot["oracle"]["hyperparameters"])  # from_config changes it
        kinds = ("Boolean", "Choice", "Fixed", "Float", "Int")
        for entry in config["space"]:  # Keras would look up any other class
            if entry["class_name"] not in kinds:
                raise ValueError(f"{entry['class_name']!r} in its space is not a hyperparameter")
        with safe_mode():
            parameters = HyperParameters.from_config(config)
        if not self._own:
            parameters.__class__ = _shared()
        return parameters

    def _add(
        self, key: str, parameters: Any, status: str, told: float | None, score: float | None
    ) -> None:
        """Add a trial to the oracle's, as it left it."""
        trial = _trial(key, parameters, status)
        if told is not None:
            self._told[key] = told
            trial.metrics.register(OBJECTIVE, direction=self._oracle.objective.direction)
            trial.metrics.update(OBJECTIVE, told)
        trial.score = score
        self._oracle.trials[key] = trial

    def _restore_oracle(self, snapshot: Any, state: Any) -> None:
        """Set the oracle's state, whose trials are there, and what its state leaves out."""
        oracle = self._oracle
        oracle.set_state(state | {"display": oracle._display.get_state()})
        if not self._own:
            self._share_space()
        self._remember_fits()  # set_state makes a new Gaussian process without data
        self._fitted = snapshot["fitted"]
        if self._fitted is not None:
            x, y = self._fitted_rows(self._fitted)
            with _one_thread():
                self._fit(x, y)
        if "generator" in snapshot:
            name, keys, *rest = snapshot["generator"]
            oracle._random_state.set_state((name, np.array(keys, np.uint32), *rest))
        if "next" in snapshot:
            oracle._populate_next = list(snapshot["next"])

    def _fitted_rows(self, fitted: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return what the Gaussian process was last fitted to."""
        if isinstance(fitted, list):  # of an earlier version, or of a custom oracle
            return np.array(fitted[0]), np.array(fitted[1])
        oracle, guessed = self._oracle, fitted["guessed"]
        sign = -1.0 if oracle.objective.direction == "max" else 1.0
        there = {*oracle.end_order[: fitted["ended"]], *guessed}
        trials = {key: copy.copy(t) for key, t in oracle.trials.items() if key in there}
        for key, score in guessed.items():
            trials[key].status, trials[key].score = "COMPLETED", sign * score
        kept = oracle.trials, oracle.ongoing_trials
        oracle.trials, oracle.ongoing_trials = trials, {}
        try:
            x, y = oracle._vectorize_trials()
        finally:
            oracle.trials, oracle.ongoing_trials = kept
        return (np.nan_to_num(x, posinf=0, neginf=0), np.nan_to_num(y, posinf=0, neginf=0))

    def _restore_order(
        self, memory: list[str], following: dict[Any, Any], last: int | None
    ) -> None:
        ids = self._oracle._ordered_ids
        ids._memory, ids._last_index = list(memory), last
        ids._data_to_index = {data: i for i, data in enumerate(memory)}
        ids._next_index.clear()
        ids._next_index.update(following)

    def _chained(self, memory: list[str]) -> tuple[dict[Any, Any], int | None]:
        """Return the links of a grid's list, which is in the order of the grid, and its end."""
        trials = self._oracle.trials

        def order(a: int, b: int) -> int:
            values = (trials[memory[i]].hyperparameters.values for i in (a, b))
            return int(self._oracle._compare(*values))

        chain = sorted(range(len(memory)), key=functools.cmp_to_key(order))
        if not chain:
            return {}, None
        return dict(zip([None, *chain], [*chain, None], strict=True)), chain[-1]

    def _text(self, key: str, trial: Any) -> str:
        """Return a trial as JSON; trials that have ended are serialized only once."""
        if key in self._texts:
            return self._texts[key]
        values = trial.hyperparameters.values
        text = json.dumps([key, values, trial.status, self._told.get(key), trial.score])
        # a custom oracle may change a trial that has ended
        if trial.status in ("COMPLETED", "FAILED") and not self._own:
            self._texts[key] = text
        return text

    def _parameters(self, defaults: Point) -> Any:
        import keras_tuner
        from keras_tuner.src.engine.conditions import Parent

        parameters = keras_tuner.HyperParameters()
        for name, domain in self._space.domains.items():
            alone = keras_tuner.HyperParameters()
            self._codes[name].register(alone, name, defaults.get(name))
            (parameter,) = alone.space
            # its conditional_scope knows no parameter with two parents
            conditions = (self._conditions(domain) or {}).items()
            parameter.conditions = [Parent(parent, accepted) for parent, accepted in conditions]
            parameters.merge([parameter])
        return parameters

    def _conditions(self, domain: Domain) -> dict[str, list[Any]] | None:
        """Return the values that a parameter's parents must have, and theirs, as oracle values.

        keras-tuner would wait forever for a condition that rests on another one it does not know.

        Returns:
            None if they can never hold together. Conditions that keras-tuner cannot express are
            missing: the parameter is then active for it, and Space.active leaves it out.
        """
        found: dict[str, list[Any]] = {}
        for parent, wanted in (domain.when or {}).items():
            above = self._conditions(self._space.domains[parent])
            if above is None:
                return None
            own = self._codes[parent].encoded(wanted)
            for name, options in (above if own is None else above | {parent: own}).items():
                found[name] = [v for v in options if v in found.get(name, options)]
                if not found[name]:
                    return None
        return found

    def _draw_once_each(self) -> None:
        """Propose no point of a finite space twice, and all of them before the end.

        A Gaussian process may propose a point that was tried, and keras-tuner takes a finite space
        for used up after a few collisions.
        """
        populate = self._oracle.populate_space

        def populated(trial_id: str) -> dict[str, Any]:
            found: dict[str, Any] = populate(trial_id)
            if found["status"] == "RUNNING" and self._key(found["values"]) not in self._tried():
                return found
            if found["status"] == "IDLE":
                return found
            tried = self._tried()
            every = map(self._encoded, self._space.grid(math.inf))
            left = [v for v in every if v is not None and self._key(v) not in tried]
            if not left:
                return {"status": "STOPPED", "values": None}
            return {"status": "RUNNING", "values": left[self._most_promising(left)]}

        self._oracle.populate_space = populated

    def _most_promising(self, listed: list[dict[str, Any]]) -> int:
        """Return which of the oracle's values its Gaussian process would try; any without one."""
        oracle = self._oracle
        if not hasattr(getattr(oracle, "gpr", None), "X_train_"):
            generator = np.random.default_rng([oracle._seed_state, len(oracle.trials)])
            return int(generator.integers(len(listed)))
        space = oracle.hyperparameters.space
        at = [[hp.value_to_prob(v.get(hp.name, hp.default)) for hp in space] for v in listed]
        mean, deviation = oracle.gpr.predict(np.array(at), return_std=True)
        return int(np.argmin(mean - oracle.beta * deviation))

    def _tried(self) -> set[str]:
        trials = self._oracle.trials
        for key in trials.keys() - self._keys.keys():
            self._keys[key] = self._key(trials[key].hyperparameters.values)
        return set(self._keys.values())

    def _key(self, values: dict[str, Any]) -> str:
        """Return what identifies a point: the oracle's values of its active parameters."""
        return repr([(name, values[name]) for name in self._point(values)])

    def _point(self, values: dict[str, Any]) -> Point:
        whole = {n: code.decode(values[n]) for n, code in self._codes.items() if n in values}
        return {name: whole[name] for name in self._space.active(whole)}

    def _encoded(self, point: Point) -> dict[str, Any] | None:
        """Return a point as the oracle's values; None if the oracle cannot represent it."""
        parameters = self._oracle.hyperparameters.copy()
        parameters.values = {}
        for parameter in parameters.space:
            if parameters.is_active(parameter):
                value = parameter.default  # for a parameter that is active for the oracle only
                if parameter.name in point:
                    value = self._codes[parameter.name].encode(point[parameter.name])
                if value is None:
                    return None
                parameters.values[parameter.name] = value
        found: dict[str, Any] = parameters.values
        return found

    def _remember_fits(self) -> None:
        """Record what the Gaussian process was last fitted to; it is used until the next fit."""
        process = getattr(self._oracle, "gpr", None)
        if process is None:
            return
        fit = process.fit

        def fitted(x: Any, y: Any) -> Any:
            made = fit(x, y)
            if not self._own:
                process.predict = lambda at, return_std: gaussian.predict(process, at)
            return made

        def remembered(x: Any, y: Any) -> Any:
            if self._own:
                self._fitted = [np.asarray(x).tolist(), np.asarray(y).tolist()]
            else:
                self._fitted = self._rows_of_fit(np.asarray(y))
            return fitted(x, y)

        self._fit = fitted
        process.fit = remembered

    def _rows_of_fit(self, y: np.ndarray) -> dict[str, Any]:
        """Return how many trials had ended at a fit, and the guessed scores of running ones."""
        trials = self._oracle.trials.items()
        rows = [key for key, trial in trials if trial.status in ("RUNNING", "COMPLETED")]
        running = {trial.trial_id for trial in self._oracle.ongoing_trials.values()}
        guessed = {k: float(v) for k, v in zip(rows, y, strict=True) if k in running}
        return {"ended": len(self._oracle.end_order), "guessed": guessed}

    def _share_space(self) -> None:
        """Let copies of the oracle's parameters share its space, which does not change."""
        self._oracle.hyperparameters.__class__ = _shared()


@functools.cache
def _shared() -> type:
    from keras_tuner import HyperParameters

    class Shared(HyperParameters):
        """HyperParameters whose copies are made in microseconds: only values are their own."""

        def copy(self) -> Any:
            made = copy.copy(self)
            made.values = dict(self.values)
            return made

    return Shared


def _alike(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two dicts are equal with the types of their values: keras-tuner hashes their text."""
    return a == b and all(type(a[name]) is type(b[name]) for name in a)


class _Code:
    """The encoding of a domain in keras-tuner."""

    def __init__(self, domain: Domain, *, grid: bool) -> None:
        self._domain = domain
        self._listed: Any = None
        self._kind = "index"
        if grid:
            self._listed = listed(domain, LEVELS)
        elif isinstance(domain, Int) and not (domain.log and domain.step is not None):
            self._kind = "int"
        elif isinstance(domain, Drawn):
            self._kind = "quantile"
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
        elif self._kind == "int":
            assert isinstance(domain, Int)
            reached = values(domain)
            assert reached is not None
            kept = {"default": int(default)} if inside else {}
            # a step of 1 keeps keras-tuner within the domain; with log=True it would be a ratio
            kept |= {"sampling": "log"} if domain.log else {"step": int(domain.step or 1)}
            parameters.Int(name, int(domain.low), int(reached[-1]), **kept)
        elif self._kind == "quantile":
            kept = {"default": to_unit(domain, default)} if inside else {}
            parameters.Float(name, 0.0, 1.0, **kept)
        else:
            assert isinstance(domain, Float)
            kept = {"default": float(default)} if inside else {}
            sampling = "log" if domain.log else "linear"
            parameters.Float(name, domain.low, domain.high, sampling=sampling, **kept)

    def decode(self, value: Any) -> Any:
        if self._kind == "index":
            return self._listed[value]
        if self._kind == "quantile":
            return from_unit(self._domain, float(value))
        assert isinstance(self._domain, (Int, Float))
        if self._kind == "int":
            # a Gaussian process that proposes the end of a logarithmic range gets one above it
            return min(int(value), int(self._domain.high))
        return min(max(float(value), self._domain.low), self._domain.high)

    def encode(self, value: Any) -> Any:
        """Return what `decode` turns into the value; None if a grid leaves the value out."""
        if self._kind == "index":
            # a value on a step grid is only as exact as the user wrote it
            near = functools.partial(math.isclose, rel_tol=1e-9, abs_tol=1e-12)
            alike = same if isinstance(self._domain, (Choice, Bool)) else near
            return next((i for i, v in enumerate(self._listed) if alike(v, value)), None)
        if self._kind == "quantile":
            return to_unit(self._domain, value)
        return int(value) if self._kind == "int" else float(value)

    def encoded(self, wanted: Any) -> list[Any] | None:
        """Return the values of a condition as keras-tuner represents them, or None if it cannot."""
        options = wanted if isinstance(wanted, tuple) else (wanted,)
        if self._kind == "index":
            return [i for i, v in enumerate(self._listed) if any(same(v, o) for o in options)]
        if self._kind == "int" and not getattr(self._domain, "log", False):
            return [int(o) for o in options]
        return None


def _one_thread() -> threadpool_limits:
    """Limit BLAS to one thread: the cores belong to the workers, and small products only wait.

    It also makes proposals independent of the number of cores: sums are rounded alike.
    """
    return threadpool_limits(1, user_api="blas")


def _trial(key: str, parameters: Any, status: str) -> Any:
    from keras_tuner.engine.trial import Trial

    return Trial(parameters, key, status)


def oracle_seed(seed: int) -> int:
    """Return the seed of an oracle, derived from the study's.

    keras-tuner draws its n-th point with its seed plus n, so that searches with consecutive seeds
    would try the same points; and it takes 0 for no seed.
    """
    return 1 + int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)


def _make_oracle(
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
        "seed": oracle_seed(seed),
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
