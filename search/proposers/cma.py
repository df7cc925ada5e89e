"""CMA-ES, with the library cmaes.

Responsible for translating points and outcomes, and for following exactly after a resume. The
method is the covariance matrix adaptation of Hansen and Ostermeier 2001 as Hansen 2016 describes
it, restarted with a doubled population when it has converged (Auger and Hansen 2005).

Every outcome counts, in the order in which they arrive, whoever proposed the point and however
long ago: the distribution is updated whenever a population of them is complete. It therefore
follows from the outcomes alone, and none of it needs to be saved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from search.proposers import Finished, Outcome, PastTrial, Proposal
from search.proposers.untried import Untried
from search.space import Point, Space, from_unit, to_unit, values
from trainer.hyperparameters import Drawn, Float, Int


class CmaEs:
    """Sample numbers from a normal distribution that adapts to the best outcomes.

    Categories are drawn at random, as Optuna's CMA-ES does. Each number is scaled to 0..1 by its
    own distribution, and the search starts with a deviation of 1/6 around the middle.

    Args:
        space: of the search, with at least one number.
        max_trials: maximum number of trials, or None.
        maximize: whether a higher score is better.
        seed: all random numbers follow from it.

    Raises:
        ValueError: the space has no numbers.
    """

    slow = False
    learns = True

    def __init__(self, space: Space, *, max_trials: int | None, maximize: bool, seed: int) -> None:
        self._space = space
        self._numbers = [
            name
            for name, domain in space.domains.items()
            if isinstance(domain, (Int, Float, Drawn)) and len(values(domain) or (0, 1)) > 1
        ]
        if not self._numbers:
            raise ValueError(
                f"tuner='cma-es': adapts a distribution of numbers, and {', '.join(space.domains)} "
                "are lists of values; write Float or Int, or tuner='tpe'"
            )
        self._max_trials = max_trials
        self._sign = -1.0 if maximize else 1.0
        self._seed = seed
        self._untried = Untried(space)
        self._reset()

    def _reset(self) -> None:
        self._untried.clear()
        self._points: dict[str, Point] = {}  # of running trials
        self._told: list[tuple[np.ndarray, tuple[float, float]]] = []  # since the last update
        self._restarts = 0
        self._asked = 0
        self._start(np.full(len(self._numbers), 0.5), None)

    def _start(self, mean: np.ndarray, population: int | None) -> None:
        import cmaes

        n = len(self._numbers)
        self._optimizer = cmaes.CMA(
            mean=mean,
            sigma=1 / 6,
            bounds=np.array([[0.0, 1.0]] * n),
            n_max_resampling=10 * n,
            seed=0,  # seeded for each ask
            population_size=population,
        )

    def ask(self) -> Proposal:
        """Return a point drawn from the present distribution."""
        if self._untried.finished:
            raise Finished
        if self._max_trials is not None and self._asked >= self._max_trials:
            raise Finished
        words = np.random.SeedSequence([self._seed, self._asked]).generate_state(3)
        self._optimizer.reseed_rng(int(words[0]))
        with threadpool_limits(1, user_api="blas"):
            drawn = dict(zip(self._numbers, self._optimizer.ask(), strict=True))
        generator = np.random.default_rng(int(words[1]))
        whole = {
            name: from_unit(domain, float(drawn.get(name, u)))
            for (name, domain), u in zip(
                self._space.domains.items(), generator.random(len(self._space.domains)), strict=True
            )
        }
        point = {name: whole[name] for name in self._space.active(whole)}
        point = self._untried.instead_of(point, int(words[2])) or point
        self._untried.take(point)
        key = str(self._asked)
        self._asked += 1
        self._points[key] = point
        return Proposal(key, point)

    def tell(self, key: str, outcome: Outcome) -> None:
        """Report the outcome of a trial; a failed one does not count."""
        self._count(self._points.pop(key), outcome)

    def learn(self, key: str, point: Point, outcome: Outcome) -> None:
        """Count the trial like the proposer's own."""
        self._untried.take(point)
        self._count(point, outcome)

    def _count(self, point: Point, outcome: Outcome) -> None:
        if outcome.score is None or not math.isfinite(outcome.score):
            return
        mean = self._optimizer.mean  # in numbers that were not active it stays where it is
        domains = self._space.domains
        at = [
            to_unit(domains[name], point[name]) if name in point else float(mean[i])
            for i, name in enumerate(self._numbers)
        ]
        violated = sum(max(v, 0.0) for v in outcome.violations)
        self._told.append((np.array(at), (violated, self._sign * outcome.score)))
        if len(self._told) < self._optimizer.population_size:
            return
        # only their order counts; whoever violates a constraint comes after all others
        ordered = sorted(self._told, key=lambda told: told[1])
        self._told = []
        with threadpool_limits(1, user_api="blas"):
            self._optimizer.tell([(x, float(rank)) for rank, (x, _) in enumerate(ordered)])
            if self._optimizer.should_stop():
                self._restarts += 1
                generator = np.random.default_rng([self._seed, self._restarts])
                population = 2 * self._optimizer.population_size
                self._start(generator.random(len(self._numbers)), population)

    def snapshot(self) -> Any:
        """Return how many trials were asked for; all else follows from the outcomes."""
        return {"asked": self._asked}

    def restore(self, snapshot: Any) -> None:
        """Restore a snapshot; `replay` must follow."""
        self._reset()
        self._asked = snapshot["asked"]

    def replay(self, trials: Sequence[PastTrial]) -> None:
        """Count the trials again, in the order in which they ended."""
        for trial in sorted(trials, key=lambda t: math.inf if t.told is None else t.told):
            self._untried.take(trial.point)
            if trial.outcome is None:
                self._points[trial.key] = trial.point
            else:
                self._count(trial.point, trial.outcome)
