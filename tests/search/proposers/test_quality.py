"""The problems that searches are measured on, and that ours proposes what keras-tuner's does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.functions import EPOCHS, PROBLEMS
from benchmarks.search_quality import alike, compare, holm
from benchmarks.search_sides import OWN, PAIRED, Run, ours, theirs
from search.space import Point

FUNCTIONS = [name for name in PROBLEMS if PROBLEMS[name].optimum is not None]
DATA = [name for name in PROBLEMS if PROBLEMS[name].optimum is None]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_its_published_optimum(name: str) -> None:
    problem = PROBLEMS[name]
    assert problem.optimum is not None
    for point in problem.minimisers:
        assert problem.space.check(point) == point
        assert problem.score(point, EPOCHS) == pytest.approx(problem.optimum, abs=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_point_is_below_the_optimum(name: str) -> None:
    problem = PROBLEMS[name]
    assert problem.optimum is not None
    generator = np.random.default_rng(0)
    drawn = [problem.score(problem.space.draw(generator), EPOCHS) for _ in range(500)]
    assert min(drawn) > problem.optimum
    # nor near those known to be the least
    for point in problem.minimisers:
        for parameter, value in point.items():
            domain = problem.space.domains[parameter]
            for other in (value + 1e-2, value - 1e-2) if isinstance(value, float) else ():
                if domain.contains(other):
                    assert problem.score(point | {parameter: other}, EPOCHS) > problem.optimum


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [
        ("Branin", {"x0": 0.0, "x1": 0.0}, 55.602112642),
        ("Hartmann 3", {"x0": 0.5, "x1": 0.5, "x2": 0.5}, -0.628022),
        ("Hartmann 6", {f"x{i}": 0.5 for i in range(6)}, -0.505315),
        ("Ackley, 5 variables", {f"x{i}": 1.0 for i in range(5)}, 3.625384938),
        ("Levy, 4 variables", {f"x{i}": 5.0 for i in range(4)}, 4 + 30 * math.sin(1) ** 2),
        (
            "Func2C, mixed",
            {"first": "rosenbrock", "second": "beale c", "x0": 0.0, "x1": 0.0},
            1 / 300 + (1.5**2 + 2.25**2 + 2.625**2) / 50,
        ),
        ("Jenatton, conditional", {"x1": 1, "x3": 1, "x7": 0.5, "r9": 0.25}, 0.9),
    ],
)
def test_a_function_has_its_values_elsewhere(name: str, point: Point, value: float) -> None:
    assert PROBLEMS[name].score(point, EPOCHS) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_trial_of_fewer_epochs_has_another_score_and_no_other_the_next_time(name: str) -> None:
    problem = PROBLEMS[name]
    point = problem.space.draw(np.random.default_rng(1))
    scores = [problem.score(point, epochs) for epochs in (1, 3, EPOCHS)]
    assert len(set(scores)) == 3
    assert all(map(math.isfinite, scores))
    assert [problem.score(point, epochs) for epochs in (1, 3, EPOCHS)] == scores


@pytest.mark.parametrize("name", FUNCTIONS)
def test_learning_curves_fall_and_cross(name: str) -> None:
    problem = PROBLEMS[name]
    generator = np.random.default_rng(2)
    points = [problem.space.draw(generator) for _ in range(100)]
    early, late = (np.array([problem.score(p, e) for p in points]) for e in (1, EPOCHS))
    assert (early > late).all()
    assert (np.argsort(early) != np.argsort(late)).any()


@pytest.mark.parametrize("name", DATA)
def test_a_good_trial_on_real_data_is_better_than_guessing(name: str) -> None:
    problem = PROBLEMS[name]
    generator = np.random.default_rng(0)
    best = min(problem.score(problem.space.draw(generator), EPOCHS) for _ in range(5))
    assert best < 0.1 if name.startswith("digits") else best < math.log(2) / 2


@pytest.mark.parametrize("method", ["random", "grid", "hyperband"])
@pytest.mark.parametrize("name", ["Func2C, mixed", "Jenatton, conditional"])
def test_ours_tries_the_points_that_keras_tuners_own_search_tries(name: str, method: str) -> None:
    problem = PROBLEMS[name]
    a = Run(name, method, 3, True, ours(problem, method, 3, 12), 0.0)
    b = Run(name, method, 3, False, theirs(problem, method, 3, 12), 0.0)
    assert alike(a, b)
    assert a.best == b.best
    other = Run(name, method, 4, True, ours(problem, method, 4, 12), 0.0)
    assert not alike(a, other)


def _runs(worse: str) -> list[Run]:
    drawn = np.random.default_rng(0).random(20)
    return [
        Run(problem, method, seed, mine, [({}, 1, -100.0), ({}, EPOCHS, score)], 0.0)
        for problem in PROBLEMS
        for method in (*PAIRED, *OWN)
        for seed in range(20)
        for mine in (True, False)
        if mine or method in PAIRED
        for score in [drawn[seed] + (mine and problem == worse and method == "random")]
    ]


def test_a_method_that_is_worse_on_one_problem_is_found_there_alone() -> None:
    lines = compare(_runs("Branin"))
    assert len(lines) == len(PROBLEMS) * 6
    assert [(x["method"], x["problem"]) for x in lines if x["worse"]] == [("random", "Branin")]


def test_the_score_of_a_trial_that_ended_early_does_not_count() -> None:
    assert min(run.best for run in _runs("")) >= 0


def test_p_values_are_corrected_for_their_number() -> None:
    # the example of Holm's procedure worked by hand: 3 x 0.01, 2 x 0.02, and 0.04 at least that
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
