"""One search, run by us and run by keras-tuner.

Responsible for both sides: ours, by ask and tell, and keras-tuner's own `Tuner.search`, in a
temporary directory. Both search the same domains, and theirs gets the seed that ours passes to the
oracle. Not for comparing them (`search_quality`).
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.functions import Problem
    from search.proposers import Proposer
    from search.space import Point, Space

PAIRED = ("random", "grid", "bayesian", "hyperband")  # available in keras-tuner's own driver, too
OWN = ("random, scikit-learn's", "halving, scikit-learn's")
LEVELS = 4  # grid values of a number without steps
INITIAL = 20  # random trials before the Gaussian process is used

Tried = list[tuple["Point", int, float]]  # point, epochs and score of each trial


@dataclass
class Run:
    """One search.

    Attributes:
        problem: its name.
        method: how trials were proposed.
        seed: of the search.
        ours: whether our driver ran it, or keras-tuner's.
        trials: in order.
        seconds: duration.
    """

    problem: str
    method: str
    seed: int
    ours: bool
    trials: Tried
    seconds: float

    @property
    def best(self) -> float:
        """The lowest score of a full trial."""
        from benchmarks.functions import EPOCHS

        return min(score for _, epochs, score in self.trials if epochs == EPOCHS)

    @property
    def outside(self) -> int:
        """The number of trials with points outside the space."""
        from benchmarks.functions import PROBLEMS

        count = 0
        for point, _, _ in self.trials:
            try:
                PROBLEMS[self.problem].space.check(point)
            except ValueError:
                count += 1
        return count


def searched(problem: Problem, method: str, seed: int) -> tuple[Space, Point]:
    """Return the space of a method, and the first point of a grid, which depends on the seed."""
    import numpy as np

    from search.space import Space, listed
    from trainer import Choice, Float, Int
    from trainer.hyperparameters import Domain

    if method != "grid":
        return problem.space, {}
    domains: dict[str, Domain] = {}
    for name, domain in problem.space.domains.items():
        if isinstance(domain, (Int, Float)):
            domains[name] = Choice(*listed(domain, LEVELS), when=domain.when)
        else:
            domains[name] = domain
    space = Space(domains)
    return space, space.draw(np.random.default_rng(seed))


def ours(problem: Problem, method: str, seed: int, trials: int) -> Tried:
    """Run our search: ask, score, tell."""
    from benchmarks.functions import EPOCHS
    from search.proposers import Finished, Outcome, sklearn
    from search.proposers.keras_tuner import KerasTuner

    space, first = searched(problem, method, seed)
    proposer: Proposer
    if method == "random, scikit-learn's":
        proposer = sklearn.random(space, trials, seed)
    elif method == "halving, scikit-learn's":
        # with three times the candidates, halving still costs no more epochs in total
        points = sklearn.draw(space, 3 * trials, seed)
        proposer = sklearn.Halving(points, epochs=EPOCHS, maximize=False)
    else:
        proposer = KerasTuner(
            space,
            method,
            max_trials=None if method == "hyperband" else trials,
            maximize=False,
            seed=seed,
            epochs=EPOCHS,
            defaults=first,
            options={"num_initial_points": INITIAL} if method == "bayesian" else None,
        )
    found: Tried = []
    while True:
        try:
            proposal = proposer.ask()
        except Finished:
            return found
        epochs = EPOCHS if proposal.epochs is None else proposal.epochs
        score = problem.score(proposal.point, epochs)
        found.append((proposal.point, epochs, score))
        proposer.tell(proposal.key, Outcome(score))


def theirs(problem: Problem, method: str, seed: int, trials: int) -> Tried:
    """Run keras-tuner's own search, with the tuner that its users would take."""
    import keras_tuner

    from benchmarks.functions import EPOCHS
    from search.proposers.keras_tuner import oracle_seed

    space, first = searched(problem, method, seed)
    kind, options = {
        "random": (keras_tuner.RandomSearch, {"max_trials": trials}),
        "grid": (keras_tuner.GridSearch, {"max_trials": trials}),
        "bayesian": (
            keras_tuner.BayesianOptimization,
            {"max_trials": trials, "num_initial_points": INITIAL},
        ),
        "hyperband": (keras_tuner.Hyperband, {"max_epochs": EPOCHS}),
    }[method]
    found: Tried = []

    class Driven(kind):  # type: ignore[misc, valid-type]
        def run_trial(self, trial: Any, verbose: int) -> dict[str, float]:
            values = trial.hyperparameters.values
            epochs = values.get("tuner/epochs", EPOCHS)
            point = {name: values[name] for name in space.domains if name in values}
            score = problem.score(point, epochs)
            found.append((point, epochs, score))
            return {"score": score}

    with tempfile.TemporaryDirectory() as folder:
        Driven(
            objective=keras_tuner.Objective("score", "min"),
            hyperparameters=native(space, first),
            seed=oracle_seed(seed),
            tune_new_entries=False,
            allow_new_entries=False,
            directory=folder,
            **options,
        ).search(verbose=0)
    return found


def native(space: Space, first: Point) -> Any:
    """Return the space as a user of keras-tuner would write it."""
    import keras_tuner

    from trainer import Choice, Float, Int

    parameters = keras_tuner.HyperParameters()
    for name, domain in space.domains.items():
        kept = {"default": first[name]} if name in first else {}
        with ExitStack() as scopes:
            for parent, wanted in (domain.when or {}).items():
                values = list(wanted) if isinstance(wanted, tuple) else [wanted]
                scopes.enter_context(parameters.conditional_scope(parent, values))
            if isinstance(domain, Choice):
                parameters.Choice(name, list(domain.values), **kept)
            else:
                assert isinstance(domain, (Int, Float))
                make = parameters.Int if isinstance(domain, Int) else parameters.Float
                sampling = "log" if domain.log else "linear"
                make(name, domain.low, domain.high, sampling=sampling, **kept)
    return parameters


def run(problem: str, method: str, seed: int, side: str, trials: int) -> Run:
    """Run one search, in a process of a pool."""
    from benchmarks.functions import PROBLEMS

    began = time.perf_counter()
    driver = ours if side == "ours" else theirs
    found = driver(PROBLEMS[problem], method, seed, trials)
    return Run(problem, method, seed, side == "ours", found, time.perf_counter() - began)
