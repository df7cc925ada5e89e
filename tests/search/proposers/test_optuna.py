"""Optuna's samplers, and CMA-ES, as proposers: what they propose, and what follows a resume."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from search.proposers import Finished, Outcome, PastTrial, Proposal, resume
from search.proposers.cma import CmaEs
from search.proposers.optuna import OptunaSampler, is_sampler
from search.space import Space
from trainer.hyperparameters import Bool, Choice, Drawn, Float, Int

MIXED = Space(
    {
        "rate": Float(1e-4, 1.0, log=True),
        "units": Int(1, 256, log=True),
        "share": Float(0, 1, step=0.25),
        "kind": Choice("a", "b", None),
        "deep": Bool(),
        "layers": Int(1, 4, when={"deep": True}),
        "drawn": Drawn(stats.norm(0, 1)),
    }
)
NAMES = ["tpe", "qmc", "nsga2", "cma-es"]


def make(name: Any, space: Space = MIXED, *, trials: int | None = None, seed: int = 3) -> Any:
    if name == "cma-es":
        return CmaEs(space, max_trials=trials, maximize=False, seed=seed)
    return OptunaSampler(space, name, max_trials=trials, maximize=[False], seed=seed)


def loss(point: dict[str, Any]) -> float | None:
    """What each trial of MIXED scores; every seventh kind of point fails."""
    if point["units"] % 7 == 3:
        return None
    return float(
        abs(math.log10(point["rate"]) + 2)
        + abs(math.log2(point["units"]) - 5) / 4
        + (point["kind"] != "b")
        + 0.1 * point.get("layers", 3)
        + point["share"]
        + abs(point["drawn"]) / 5
    )


class Run:
    """A study of a proposer with several workers, which can be resumed from JSON at any event."""

    def __init__(self, name: Any, workers: int, *, broken: bool) -> None:
        self._name, self._workers, self._broken = name, workers, broken
        self._proposer = make(name)
        self._past: dict[str, PastTrial] = {}
        self._events = 0
        self.points: list[dict[str, Any]] = []

    def _resume(self) -> None:
        if self._broken:
            kept = json.loads(json.dumps(self._proposer.snapshot()))
            self._proposer = make(self._name)
            resume(self._proposer, kept, list(self._past.values()))

    def run(self, trials: int) -> list[dict[str, Any]]:
        running: list[Proposal] = []
        while len(self.points) < trials or running:
            while len(running) < self._workers and len(self.points) < trials:
                asked = self._proposer.ask()
                memo = json.loads(json.dumps(asked.memo))
                self._past[asked.key] = PastTrial(
                    asked.key, asked.point, None, self._events, None, memo=memo
                )
                self._events += 1
                self.points.append(asked.point)
                running.append(asked)
                self._resume()
            ended = running.pop(len(self.points) % len(running))
            outcome = Outcome(loss(ended.point))
            self._proposer.tell(ended.key, outcome)
            past = self._past[ended.key]
            self._past[ended.key] = PastTrial(
                past.key, past.point, outcome, past.asked, self._events, memo=past.memo
            )
            self._events += 1
            self._resume()
        return self.points


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_study_resumed_at_every_event_has_the_same_points(name: str, workers: int) -> None:
    trials = 60 if name == "nsga2" else 30  # a generation of NSGA-II has 50 trials
    assert Run(name, workers, broken=True).run(trials) == Run(name, workers, broken=False).run(
        trials
    )


@pytest.mark.parametrize(
    "sampler",
    [optuna.samplers.TPESampler(n_startup_trials=4), optuna.samplers.RandomSampler()],
)
def test_a_sampler_of_ones_own_follows_the_seed_and_is_not_changed(sampler: Any) -> None:
    assert is_sampler(sampler) and not is_sampler("tpe")
    before = sampler._rng.rng.get_state()[1].tolist()
    assert Run(sampler, 2, broken=True).run(12) == Run(sampler, 2, broken=False).run(12)
    assert sampler._rng.rng.get_state()[1].tolist() == before


def test_a_sampler_that_nobody_knows_is_asked_again_for_all_trials() -> None:
    class Climber(optuna.samplers.BaseSampler):
        """Steps from the last value by a random number; keeps a state of its own."""

        def __init__(self) -> None:
            self.generator = np.random.default_rng(0)
            self.at = 0.5

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(
            self, study: Any, trial: Any, param_name: str, param_distribution: Any
        ) -> float:
            self.at = float(np.clip(self.at + self.generator.normal(0, 0.1), 0, 1))
            return self.at

    space = Space({"a": Float(0, 1)})
    first = OptunaSampler(space, Climber(), max_trials=None, maximize=[True], seed=1)
    past = []
    for i in range(5):
        asked = first.ask()
        first.tell(asked.key, Outcome(asked.point["a"]))
        past.append(PastTrial(asked.key, asked.point, Outcome(asked.point["a"]), 2 * i, 2 * i + 1))
    second = OptunaSampler(space, Climber(), max_trials=None, maximize=[True], seed=1)
    resume(second, json.loads(json.dumps(first.snapshot())), past)
    assert [second.ask().point for _ in range(3)] == [first.ask().point for _ in range(3)]


@pytest.mark.parametrize("name", NAMES)
def test_points_lie_in_the_space_and_have_active_parameters_only(name: str) -> None:
    for point in Run(name, 2, broken=False).run(20):
        assert MIXED.check(point) == point
        assert ("layers" in point) == point["deep"]


@pytest.mark.parametrize("name", NAMES)
def test_a_finite_space_is_tried_once_and_then_the_search_ends(name: str) -> None:
    space = Space({"a": Int(1, 3), "b": Choice("x", "y")})
    proposer = make(name, space)
    found = []
    with pytest.raises(Finished):
        for _ in range(7):
            asked = proposer.ask()
            found.append(tuple(asked.point.items()))
            proposer.tell(asked.key, Outcome(float(asked.point["a"])))
    assert len(found) == len(set(found)) == 6


@pytest.mark.parametrize("name", ["tpe", "cma-es"])
def test_after_fifty_trials_proposals_are_near_the_best(name: str) -> None:
    space = Space({"a": Float(0, 1), "b": Float(1e-4, 1, log=True)})

    def bowl(point: dict[str, Any]) -> float:
        return float((point["a"] - 0.3) ** 2 + (math.log10(point["b"]) + 3) ** 2 / 16)

    proposer = make(name, space)
    found = []
    for _ in range(60):
        asked = proposer.ask()
        found.append(bowl(asked.point))
        proposer.tell(asked.key, Outcome(found[-1]))
    assert np.median(found[50:]) < np.median(found[:10]) / 4


@pytest.mark.parametrize("name", ["tpe", "cma-es"])
def test_trials_of_others_are_learnt(name: str) -> None:
    space = Space({"a": Float(0, 1)})
    taught, alone = make(name, space), make(name, space)
    for i in range(40):
        a = i / 39
        taught.learn(f"earlier-{i}", {"a": a}, Outcome((a - 0.9) ** 2))
    near = np.mean([abs(taught.ask().point["a"] - 0.9) for _ in range(8)])
    assert near < np.mean([abs(alone.ask().point["a"] - 0.9) for _ in range(8)])


def test_cma_es_needs_a_number() -> None:
    with pytest.raises(ValueError, match="tuner='cma-es'.*write Float or Int, or tuner='tpe'"):
        make("cma-es", Space({"a": Choice(1, 2)}))


def test_a_sampler_with_constraints_of_optunas_trials_is_refused() -> None:
    with pytest.warns(FutureWarning):
        sampler = optuna.samplers.TPESampler(constraints_func=lambda trial: (0.0,))
    with pytest.raises(ValueError, match="TPESampler\\(constraints_func="):
        make(sampler)


def test_no_pickle_is_in_what_is_saved() -> None:
    proposer = make("nsga2")
    for _ in range(55):
        asked = proposer.ask()
        json.dumps(asked.memo)  # plain values only
        proposer.tell(asked.key, Outcome(loss(asked.point)))
    assert set(proposer.snapshot()) == {"asked", "attributes"}
    assert len(json.dumps(proposer.snapshot())) < 5000


@pytest.mark.parametrize("name", NAMES)
def test_what_is_saved_stays_small_as_trials_grow(name: str) -> None:
    proposer = make(name)
    sizes = {}
    for i in range(1, 161):
        asked = proposer.ask()
        proposer.tell(asked.key, Outcome(loss(asked.point)))
        assert len(json.dumps(asked.memo)) < 500
        if i in (80, 160):
            sizes[i] = len(json.dumps(proposer.snapshot()))
    assert sizes[160] < sizes[80] + 1000 and sizes[160] < 5000


def test_tpe_keeps_simultaneous_points_apart() -> None:
    proposer = make("tpe", Space({"a": Float(0, 1)}))
    for i in range(40):
        a = i / 39
        proposer.learn(f"earlier-{i}", {"a": a}, Outcome((a - 0.5) ** 2))
    running = sorted(proposer.ask().point["a"] for _ in range(16))
    assert min(np.diff(running)) > 0
    assert np.ptp(running) > 0.3  # without a liar they all lie near 0.5, within less than 0.1


def test_gp_without_torch_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"tuner='gp'.*pip install exact-trainer\[gp\].*'tpe'"):
        make("gp", Space({"a": Float(0, 1)}))


def test_a_sampler_that_does_not_repeat_its_points_is_refused_on_resume() -> None:
    class Other(optuna.samplers.BaseSampler):
        """Proposes from a count that all of its copies share."""

        count = 0

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(
            self, study: Any, trial: Any, param_name: str, param_distribution: Any
        ) -> float:
            Other.count += 1
            return 1 / Other.count

    space = Space({"a": Float(0, 1)})
    first = OptunaSampler(space, Other(), max_trials=None, maximize=[True], seed=1)
    asked = first.ask()
    first.tell(asked.key, Outcome(1.0))
    second = OptunaSampler(space, Other(), max_trials=None, maximize=[True], seed=1)
    past = [PastTrial(asked.key, asked.point, Outcome(1.0), 0, 1)]
    with pytest.raises(ValueError, match="Other proposed .* where it had proposed .*must follow"):
        resume(second, first.snapshot(), past)


def test_the_verbosity_of_optuna_stays_the_users() -> None:
    before = optuna.logging.get_verbosity()
    try:
        for level in (optuna.logging.DEBUG, optuna.logging.CRITICAL):
            optuna.logging.set_verbosity(level)
            proposer = make("tpe")
            asked = proposer.ask()
            proposer.tell(asked.key, Outcome(1.0))
            assert optuna.logging.get_verbosity() == level
    finally:
        optuna.logging.set_verbosity(before)


def test_importing_search_imports_neither_optuna_nor_torch() -> None:
    code = "import sys, search; print({'optuna', 'cmaes', 'torch'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
