"""Optuna's samplers as proposers.

Responsible for expressing a space in Optuna, for asking a sampler, and for making exactly the same
proposals after a resume. Not for CMA-ES by name (`proposers.cma`): Optuna's keeps its state as a
pickle. No pickle is read from a study, and no file of Optuna's is written.

A sampler proposes from an Optuna study in memory, which is kept between asks. How the same
proposals follow after a resume depends on the sampler:

- Those that keep nothing between two asks (REBUILT) are recreated for each ask, with a seed
  derived from the study's seed and the number of the ask. The Optuna study is rebuilt from the
  trials. What such a sampler writes into the attributes of a trial (NSGA-II: its generation) is
  saved with the trial, and what it writes into those of the Optuna study (quasi-random points: how
  many were drawn) in the snapshot.
- Nothing is known about any other sampler. The same object is asked for all trials; on resume, a
  new copy of it is asked for all of them again, and told how they ended, in the same order.

In Optuna each value is a number: for an Int or Float the value itself, for a Drawn its share
of the distribution (the CDF), and for all other domains, and those with steps, the index of a
value.
"""

from __future__ import annotations

import contextlib
import copy
import math
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from search.proposers import Finished, Outcome, PastTrial, Proposal
from search.proposers.untried import Untried
from search.space import Point, Space, from_unit, same, to_unit, values
from trainer.hyperparameters import Bool, Choice, Domain, Drawn, Float, Int

if TYPE_CHECKING:
    import optuna

NAMES = ("tpe", "gp", "qmc", "nsga2")
STUDY = 0  # the ID of the only study of a storage in memory; a trial's ID is its number
REBUILT = (
    "TPESampler",
    "GPSampler",
    "QMCSampler",
    "NSGAIISampler",
    "NSGAIIISampler",
    "RandomSampler",
)


class OptunaSampler:
    """One of Optuna's samplers, or a sampler of the user's own, driven by ask and tell.

    Args:
        space: of the search.
        sampler: a name of NAMES, or an optuna.samplers.BaseSampler, which is copied.
        max_trials: maximum number of trials, or None.
        maximize: for each objective, whether a higher value is better.
        seed: all random numbers of the sampler follow from it.
        constraints: their number; a trial of others that says nothing of them meets them.

    Attributes:
        slow: True if asking takes long: fitting a Gaussian process does, a custom sampler may.
        learns: True: trials of others become trials of the Optuna study.

    Raises:
        ValueError: the sampler has constraints_func, or a custom sampler did not repeat its
            proposals when a study was resumed.
        ImportError: "gp" without torch.
    """

    learns = True

    def __init__(
        self,
        space: Space,
        sampler: Any,
        *,
        max_trials: int | None,
        maximize: Sequence[bool],
        seed: int,
        constraints: int = 0,
    ) -> None:
        self._constraints = constraints
        self._space = space
        self._codes = {
            name: _Code(domain)
            for name, domain in space.domains.items()
            # Optuna's samplers do not expect domains of a single value
            if (found := values(domain)) is None or len(found) > 1
        }
        self._conditional = any(domain.when for domain in space.domains.values())
        self._max_trials = max_trials
        self._maximize = tuple(maximize)
        self._seed = seed
        self._named = sampler if isinstance(sampler, str) else None
        self._pristine = None if self._named else copy.deepcopy(sampler)
        if getattr(sampler, "_constraints_func", None) is not None:
            raise ValueError(
                f"tuner={type(sampler).__name__}(constraints_func=...): the function would be "
                "called with Optuna's trials; write constraints={'seconds': (None, 60)}, for "
                "example, in the search"
            )
        self._rebuilt = self._named is not None or _is_optunas(sampler, REBUILT)
        # NSGA-II crosses the values of parameters that are not active, too, and for a Gaussian
        # process each trial must have a value for each parameter
        gp = self._named == "gp" or _is_optunas(sampler, ("GPSampler",))
        self._fills = gp
        self._draws_all = self._named in ("qmc", "nsga2")
        self.slow = gp or not self._rebuilt
        if gp:
            _need_torch()
        self._untried = Untried(space)
        self._reset()

    def _reset(self) -> None:
        import optuna

        from search.proposers.thinned import ThinnedStorage

        thinned = self._named == "tpe" and len(self._maximize) == 1 and not self._constraints
        make = optuna.storages.InMemoryStorage
        self._storage = ThinnedStorage(self._maximize[0]) if thinned else make()
        self._stopped = False
        with _quiet():
            self._study = optuna.create_study(
                storage=self._storage,
                directions=["maximize" if m else "minimize" for m in self._maximize],
                sampler=self._sampler(0),
                # the default one imports more, and none of its methods is called
                pruner=optuna.pruners.NopPruner(),
            )
        # samplers call it when they have no more points; outside of optimize it would raise
        self._study.stop = self._stop
        self._asked = 0
        self._numbers: dict[str, int] = {}  # of the Optuna trial, by our key
        self._untried.clear()

    def _stop(self) -> None:
        self._stopped = True

    # ---- the protocol ------------------------------------------------------------------------

    def ask(self) -> Proposal:
        """Return the sampler's next point.

        A point of a small finite space that was tried is replaced by its nearest neighbour that was
        not, and the search ends when none is left.
        """
        limit = math.inf if self._max_trials is None else self._max_trials
        if self._asked >= limit or self._stopped or self._untried.finished:
            raise Finished
        key = str(self._asked)
        trial = self._drawn()
        point, memo = self._point(trial.params), self._memo(trial)
        other = self._untried.instead_of(point, self._ask_seed(1))
        if other is not None:
            # what failed has no influence on later proposals
            self._tell(trial.number, Outcome(None))
            point, memo = other, {"replaced": True}
            self._add(point, None, {})
            self._numbers[key] = trial.number + 1
        else:
            self._numbers[key] = trial.number
        self._untried.take(point)
        self._asked += 1
        return Proposal(key, point, memo=memo or None)

    def tell(self, key: str, outcome: Outcome) -> None:
        """Report the values of a trial, or that it has none and failed."""
        self._tell(self._numbers[key], outcome)

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """Add the trial to the Optuna study."""
        self._untried.take(point)
        self._add(point, outcome, {})

    def snapshot(self) -> Any:
        """Return how many trials were asked for, and the attributes of the Optuna study."""
        return {"asked": self._asked, "attributes": self._attributes()}

    def restore(self, snapshot: Any) -> None:
        """Restore a snapshot; `replay` must follow."""
        self._reset()
        self._asked = snapshot["asked"]
        for name, value in snapshot["attributes"].items():
            self._storage.set_study_system_attr(STUDY, name, value)

    def replay(self, trials: Sequence[PastTrial]) -> None:
        """Rebuild the Optuna study from the trials.

        Raises:
            ValueError: a custom sampler proposes other points than before.
        """
        if not self._rebuilt:
            self._replay_asks(trials)
            return
        # the study holds them in the order in which it got to know them
        for trial in sorted(trials, key=_known_since):
            self._untried.take(trial.point)
            memo = trial.memo or {}
            if "replaced" in memo:
                self._add({}, Outcome(None), {})
            number = self._add(trial.point, trial.outcome, memo)
            if not trial.learnt:
                self._numbers[trial.key] = number

    def _replay_asks(self, trials: Sequence[PastTrial]) -> None:
        self._reset()
        own = [t for t in trials if not t.learnt]
        events: list[tuple[int, bool, PastTrial]] = [(t.asked, True, t) for t in own]
        events += [(t.told, False, t) for t in trials if t.told is not None]
        for _, asks, trial in sorted(events, key=lambda event: event[:2]):
            if trial.learnt:
                self.learn(trial.key, trial.point, trial.outcome or Outcome(None))
            elif not asks:
                self.tell(trial.key, trial.outcome or Outcome(None))
            elif (proposal := self.ask()).point != trial.point:
                raise ValueError(
                    f"{type(self._pristine).__name__} proposed {proposal.point!r} where it had "
                    f"proposed {trial.point!r}: its proposals must follow from its arguments, the "
                    "trials and its random numbers"
                )

    # ---- Optuna ------------------------------------------------------------------------------

    def _drawn(self) -> optuna.trial.FrozenTrial:
        """Ask the sampler for a trial of the Optuna study."""
        if self._rebuilt:
            self._study.sampler = self._sampler(self._asked)
        with _quiet(), self._alone():
            trial = self._study.ask()
            point: Point = {}
            for name, domain in self._space.domains.items():
                code, active = self._codes.get(name), self._space.is_active(name, point)
                value = from_unit(domain, 0.5)  # of a domain with a single value
                if code is not None and (active or self._draws_all):
                    value = code.decode(code.suggest(trial, name))
                elif code is not None and self._fills:
                    self._fill(trial.number, name)
                if active:
                    point[name] = value
        found = self._storage.get_trial(trial.number)
        if self._rebuilt:
            # the drawn parameters as text, for other processes, with those that are not active; the
            # trial would count as having them until it ends, or the study is resumed
            for name in [n for n, v in found.system_attrs.items() if isinstance(v, str)]:
                self._storage.set_trial_system_attr(trial.number, name, "")
        return found

    def _fill(self, number: int, name: str) -> None:
        distribution = self._codes[name].distribution()
        internal = distribution.to_internal_repr(self._codes[name].middle())
        self._storage.set_trial_param(number, name, internal, distribution)

    def _add(self, point: Point, outcome: Outcome | None, memo: dict[str, Any]) -> int:
        """Add a trial to the Optuna study, running without an outcome; return its number."""
        import optuna

        state, found, constraints = self._ended(outcome)
        params = {n: self._codes[n].encode(v) for n, v in point.items() if n in self._codes}
        params |= memo.get("drawn", {})
        if self._fills or self._draws_all:
            params |= {n: c.middle() for n, c in self._codes.items() if n not in params}
        ordered = {name: params[name] for name in self._codes if name in params}
        with _quiet():
            return self._storage.create_new_trial(
                STUDY,
                optuna.trial.create_trial(
                    state=state,
                    values=found,
                    params=ordered,
                    distributions={name: self._codes[name].distribution() for name in ordered},
                    system_attrs=dict(memo.get("attributes", {})),  # Optuna keeps and changes it
                    constraints=constraints or None,
                ),
            )

    def _tell(self, number: int, outcome: Outcome) -> None:
        import optuna

        state, found, constraints = self._ended(outcome)
        with _quiet():
            if constraints:
                trial = optuna.Trial(self._study, number)
                for name, value in constraints.items():
                    trial.set_constraint(name, value)
            self._study.tell(number, found, state)

    def _ended(
        self, outcome: Outcome | None
    ) -> tuple[optuna.trial.TrialState, list[float] | None, dict[str, float]]:
        """Return state, values and constraints of an Optuna trial."""
        from optuna.trial import TrialState

        if outcome is None:
            return TrialState.RUNNING, None, {}
        found = [math.nan if v is None else float(v) for v in outcome.objectives]
        if len(found) != len(self._maximize) or not all(map(math.isfinite, found)):
            return TrialState.FAIL, None, {}
        violations = (*outcome.violations, *[0.0] * self._constraints)[: self._constraints]
        constraints = {str(i): float(v) for i, v in enumerate(violations)}
        return TrialState.COMPLETE, found, constraints

    def _point(self, params: dict[str, Any]) -> Point:
        point: Point = {}
        for name, domain in self._space.domains.items():
            if self._space.is_active(name, point):
                code = self._codes.get(name)
                point[name] = from_unit(domain, 0.5) if code is None else code.decode(params[name])
        return point

    def _memo(self, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
        """Return what must be saved with a trial: what was drawn for others, and numbers."""
        found: dict[str, Any] = {}
        numbers = {n: v for n, v in trial.system_attrs.items() if type(v) is int}
        if numbers:
            found["attributes"] = numbers
        # computed from the point, the share of a distribution would differ by rounding
        drawn = {n: v for n, v in trial.params.items() if self._codes[n].by_share}
        if self._draws_all and self._conditional:
            active = self._point(trial.params)
            drawn |= {n: v for n, v in trial.params.items() if n not in active}
        if drawn:
            found["drawn"] = drawn
        return found

    def _attributes(self) -> dict[str, Any]:
        """Return the attributes of the Optuna study, of generations only the last two."""
        if not self._rebuilt:
            return {}
        found = self._storage.get_study_system_attrs(STUDY)
        parents = [name for name in found if ":parent:" in name]
        older = sorted(parents, key=lambda name: int(name.rpartition(":")[2]))[:-2]
        return {name: value for name, value in found.items() if name not in older}

    def _ask_seed(self, *parts: int) -> int:
        words = np.random.SeedSequence([self._seed, self._asked, *parts]).generate_state(1)
        return int(words[0])

    def _sampler(self, asked: int) -> Any:
        from optuna import samplers

        if self._pristine is not None:
            made = copy.deepcopy(self._pristine)
            _seed_all(made, [self._seed, asked] if self._rebuilt else [self._seed])
            return made
        seed = int(np.random.SeedSequence([self._seed, asked]).generate_state(1)[0])
        several = len(self._maximize) > 1
        with _quiet():
            if self._named == "tpe":
                # as Optuna's own default, but with conditions as groups of parameters
                group = self._conditional and not several
                return samplers.TPESampler(seed=seed, multivariate=not several, group=group)
            if self._named == "gp":
                return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
            if self._named == "nsga2":
                return samplers.NSGAIISampler(seed=seed)
            # the sequence is one and the same for all asks
            return samplers.QMCSampler(
                seed=self._seed, scramble=True, warn_independent_sampling=False
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Use one thread where there are matrices: sums are then rounded alike everywhere."""
        if not self._fills:
            yield
            return
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with threadpool_limits(1, user_api="blas"):
                yield
        finally:
            torch.set_num_threads(before)


class _Code:
    """A domain in Optuna; `by_share` if its values are shares of a distribution there."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._listed: Sequence[Any] | None = None
        self.by_share = isinstance(domain, Drawn)
        if isinstance(domain, (Bool, Choice)) or getattr(domain, "step", None) is not None:
            self._listed = values(domain)
        self._category = isinstance(domain, (Bool, Choice))
        self._made: Any = None

    def distribution(self) -> Any:
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        if self._made is not None:
            return self._made
        domain = self._domain
        if self._category:
            self._made = CategoricalDistribution(list(range(len(self._listed or ()))))
        elif self._listed is not None:
            self._made = IntDistribution(0, len(self._listed) - 1)
        elif self.by_share:
            self._made = FloatDistribution(0.0, 1.0)
        elif isinstance(domain, Int):
            self._made = IntDistribution(int(domain.low), int(domain.high), log=domain.log)
        else:
            assert isinstance(domain, Float)
            self._made = FloatDistribution(float(domain.low), float(domain.high), log=domain.log)
        return self._made

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        made = self.distribution()
        if self._category:
            return trial.suggest_categorical(name, made.choices)
        if self._listed is not None or isinstance(self._domain, Int):
            return trial.suggest_int(name, made.low, made.high, log=made.log)
        return trial.suggest_float(name, made.low, made.high, log=made.log)

    def decode(self, value: Any) -> Any:
        if self.by_share:
            return from_unit(self._domain, float(value))
        return value if self._listed is None else self._listed[int(value)]

    def encode(self, value: Any) -> Any:
        if self.by_share:
            return to_unit(self._domain, value)
        if self._listed is None:
            return int(value) if isinstance(self._domain, Int) else float(value)
        if self._category:
            return next(i for i, v in enumerate(self._listed) if v is value or same(v, value))
        # a value on a grid of steps is only as exact as the user wrote it
        return min(range(len(self._listed)), key=lambda i: abs((self._listed or ())[i] - value))

    def middle(self) -> Any:
        return self.encode(from_unit(self._domain, 0.5))


def is_sampler(value: Any) -> bool:
    """Whether an object is a sampler of Optuna's kind; does not import Optuna."""
    return any(
        kind.__name__ == "BaseSampler" and kind.__module__.startswith("optuna.")
        for kind in type(value).__mro__
    )


def _is_optunas(sampler: Any, names: Sequence[str]) -> bool:
    """Whether a sampler is one of these classes of Optuna's, and not of a class derived from it."""
    kind = type(sampler)
    return kind.__module__.startswith("optuna.") and kind.__name__ in names


def _known_since(trial: PastTrial) -> int:
    return (trial.told or 0) if trial.learnt else trial.asked


def _need_torch() -> None:
    try:
        import torch  # noqa: F401 (Optuna would fail with the first proposal)
    except ImportError as error:
        raise ImportError(
            "tuner='gp': Optuna's Gaussian process needs PyTorch, which is not installed; run "
            "pip install exact-trainer[gp], or write tuner='tpe'"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's notes to the user to itself; they are about arguments that are ours."""
    from optuna import exceptions, logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.ExperimentalWarning)
            yield
    finally:
        logging.set_verbosity(before)


def _seed_all(sampler: Any, seed: list[int]) -> None:
    """Seed every random generator that a sampler holds, wherever it holds it.

    Optuna's samplers can be seeded when they are made, and reseed_rng seeds them at random.
    """
    from optuna.study import Study

    count = 0
    seen: set[int] = set()

    def next_seed() -> int:
        nonlocal count
        count += 1
        return int(np.random.SeedSequence([*seed, count]).generate_state(1)[0])

    def visit(value: Any) -> None:
        if id(value) in seen or isinstance(value, (type, Study)):
            return
        seen.add(id(value))
        if isinstance(value, (np.random.RandomState, random.Random)):
            value.seed(next_seed())
        elif isinstance(value, np.random.Generator):
            bits = value.bit_generator
            bits.state = type(bits)(next_seed()).state
        elif isinstance(value, dict):
            for inner in value.values():
                visit(inner)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                visit(inner)
        elif isinstance(getattr(value, "rng", None), np.random.RandomState):
            visit(value.rng)  # Optuna's are made when they are first used
        elif hasattr(value, "__dict__"):
            visit(vars(value))

    visit(sampler)
