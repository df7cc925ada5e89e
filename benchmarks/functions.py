"""Problems for searches: test functions with published optima, and two real data sets.

Responsible for the problems and their spaces. Not for searching them (`search_quality`).

All are minimised. Searches that vary a trial's number of epochs need scores that depend on it. For
the data sets an epoch is a pass over the data. A function gets a learning curve,

    f(x) + spread * (1 - epochs / EPOCHS) * mean(u),

where `u` is x scaled to 0..1 (0.5 for inactive coordinates), and `spread` is the standard deviation
of f over the space: points with large coordinates converge later, the curves cross, and after
EPOCHS the score is f(x).
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.space import Point, Space, to_unit
from trainer import Choice, Float, Int

EPOCHS = 9  # of a full trial


@dataclass(frozen=True)
class Problem:
    """A problem to minimise.

    Attributes:
        name: as shown in the table.
        source: where it was published.
        space: of the search.
        score: of a point after a number of epochs, 1 to EPOCHS.
        optimum: the minimum, or None if it is unknown.
        minimisers: points where the minimum is attained.
    """

    name: str
    source: str
    space: Space
    score: Callable[[Point, int], float]
    optimum: float | None = None
    minimisers: tuple[Point, ...] = ()


def branin(point: Point) -> float:
    """Compute Branin's function of two variables."""
    x, y = point["x0"], point["x1"]
    b, c, t = 5.1 / (4 * math.pi**2), 5 / math.pi, 1 / (8 * math.pi)
    return float((y - b * x**2 + c * x - 6) ** 2 + 10 * (1 - t) * math.cos(x) + 10)


_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_STEEPNESS_3 = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
_CENTRES_3 = 1e-4 * np.array(
    [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]
)
_STEEPNESS_6 = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_CENTRES_6 = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(point: Point) -> float:
    """Compute Hartmann's function of three or six variables."""
    x = _vector(point)
    steepness, centres = (_STEEPNESS_3, _CENTRES_3) if len(x) == 3 else (_STEEPNESS_6, _CENTRES_6)
    return -float(_WEIGHTS @ np.exp(-np.sum(steepness * (x - centres) ** 2, axis=1)))


def ackley(point: Point) -> float:
    """Compute Ackley's function of any number of variables."""
    x = _vector(point)
    valley = -20 * math.exp(-0.2 * math.sqrt(np.mean(x**2)))
    return float(valley - math.exp(np.mean(np.cos(2 * math.pi * x))) + 20 + math.e)


def levy(point: Point) -> float:
    """Compute Levy's function of any number of variables."""
    w = 1 + (_vector(point) - 1) / 4
    inner = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return float(math.sin(math.pi * w[0]) ** 2 + np.sum(inner) + last)


def func2c(point: Point) -> float:
    """Compute the sum of two of three functions, selected by two categorical parameters."""
    x, y = 2 * point["x0"], 2 * point["x1"]
    parts = {
        "rosenbrock": (100 * (y - x**2) ** 2 + (x - 1) ** 2) / 300,
        "camel": ((4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2) / 10,
        "beale": sum((c - x + x * y**k) ** 2 for k, c in enumerate((1.5, 2.25, 2.625), 1)) / 50,
    }
    # the last three values of the second parameter are equivalent
    return float(parts[point["first"]] + parts[point["second"].split()[0]])


def jenatton(point: Point) -> float:
    """Compute a tree of conditions: four or five of nine parameters matter at a time."""
    if point["x1"] == 0:
        if point["x2"] == 0:
            return float(point["x4"] ** 2 + 0.1 + point["r8"])
        return float(point["x5"] ** 2 + 0.2 + point["r8"])
    if point["x3"] == 0:
        return float(point["x6"] ** 2 + 0.3 + point["r9"])
    return float(point["x7"] ** 2 + 0.4 + point["r9"])


def digits(point: Point, epochs: int) -> float:
    """Return a linear classifier's error rate on 540 digits, trained on 1,257 others."""
    from sklearn.linear_model import SGDClassifier

    x, y, x_held, y_held = _data("digits")
    model = SGDClassifier(**point, random_state=0)
    for _ in range(epochs):
        model.partial_fit(x, y, classes=np.unique(y))
    return float(1 - model.score(x_held, y_held))


def cancer(point: Point, epochs: int) -> float:
    """Return a perceptron's cross-entropy in nats on 171 tumours, trained on 398 others."""
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    x, y, x_held, y_held = _data("breast_cancer")
    given = dict(point)
    model = MLPClassifier((given.pop("units"),), **given, random_state=0)
    for _ in range(epochs):
        model.partial_fit(x, y, classes=np.unique(y))
    return float(log_loss(y_held, model.predict_proba(x_held)))


@functools.cache
def _data(name: str) -> tuple[Any, ...]:
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x, x_held, y, y_held = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    scaler = StandardScaler().fit(x)
    return scaler.transform(x), y, scaler.transform(x_held), y_held


def _vector(point: Point) -> np.ndarray:
    return np.array([point[f"x{i}"] for i in range(len(point))])


def _box(*bounds: tuple[float, float]) -> Space:
    return Space({f"x{i}": Float(low, high) for i, (low, high) in enumerate(bounds)})


def _at(*values: float) -> Point:
    return {f"x{i}": value for i, value in enumerate(values)}


def _curve(function: Callable[[Point], float], space: Space) -> Callable[[Point, int], float]:
    @functools.cache
    def spread() -> float:
        generator = np.random.default_rng(0)
        return float(np.std([function(space.draw(generator)) for _ in range(1_000)]))

    def score(point: Point, epochs: int) -> float:
        value = function(point)
        if epochs == EPOCHS:
            return value
        places = [
            to_unit(domain, point[name]) if name in point else 0.5
            for name, domain in space.domains.items()
        ]
        return value + spread() * (1 - epochs / EPOCHS) * float(np.mean(places))

    return score


def _function(
    name: str,
    source: str,
    function: Callable[[Point], float],
    space: Space,
    optimum: float,
    *minimisers: Point,
) -> Problem:
    return Problem(name, source, space, _curve(function, space), optimum, minimisers)


def _diverging_is_fine(score: Callable[[Point, int], float]) -> Callable[[Point, int], float]:
    """Silence warnings about overflow and few epochs, normal in a search over learning rates."""

    @functools.wraps(score)
    def quiet(point: Point, epochs: int) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return score(point, epochs)

    return quiet


PROBLEMS = {
    problem.name: problem
    for problem in (
        _function(
            "Branin",
            "Branin 1972; Dixon and Szegö 1978",
            branin,
            _box((-5, 10), (0, 15)),
            0.39788735772973816,
            _at(-math.pi, 12.275),
            _at(math.pi, 2.275),
            _at(3 * math.pi, 2.475),
        ),
        _function(
            "Hartmann 3",
            "Hartman 1973; Dixon and Szegö 1978",
            hartmann,
            _box(*[(0, 1)] * 3),
            -3.86278,
            _at(0.114614, 0.555649, 0.852547),
        ),
        _function(
            "Hartmann 6",
            "Hartman 1973; Dixon and Szegö 1978",
            hartmann,
            _box(*[(0, 1)] * 6),
            -3.32237,
            _at(0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573),
        ),
        _function(
            "Ackley, 5 variables",
            "Ackley 1987",
            ackley,
            _box(*[(-32.768, 32.768)] * 5),
            0.0,
            _at(*[0.0] * 5),
        ),
        _function(
            "Levy, 4 variables",
            "Levy and Montalvo 1985; Laguna and Martí 2005",
            levy,
            _box(*[(-10, 10)] * 4),
            0.0,
            _at(*[1.0] * 4),
        ),
        _function(
            "Func2C, mixed",
            "Ru, Alvi, Nguyen, Osborne and Roberts 2020",
            func2c,
            Space(
                {
                    "first": Choice("rosenbrock", "camel", "beale"),
                    "second": Choice("rosenbrock", "camel", "beale a", "beale b", "beale c"),
                    "x0": Float(-1, 1),
                    "x1": Float(-1, 1),
                }
            ),
            -0.2063257,  # twice the camel's -1.0316285, over 10
            {"first": "camel", "second": "camel", "x0": 0.0449210, "x1": -0.3563282},
        ),
        _function(
            "Jenatton, conditional",
            "Jenatton, Archambeau, González and Seeger 2017",
            jenatton,
            Space(
                {
                    "x1": Choice(0, 1),
                    "x2": Choice(0, 1, when={"x1": 0}),
                    "x3": Choice(0, 1, when={"x1": 1}),
                    "x4": Float(-1, 1, when={"x1": 0, "x2": 0}),
                    "x5": Float(-1, 1, when={"x1": 0, "x2": 1}),
                    "x6": Float(-1, 1, when={"x1": 1, "x3": 0}),
                    "x7": Float(-1, 1, when={"x1": 1, "x3": 1}),
                    "r8": Float(0, 1, when={"x1": 0}),
                    "r9": Float(0, 1, when={"x1": 1}),
                }
            ),
            0.1,
            {"x1": 0, "x2": 0, "x4": 0.0, "r8": 0.0},
        ),
        Problem(
            "digits, SGDClassifier",
            "Alpaydin and Kaynak 1998, as in scikit-learn",
            Space(
                {
                    "loss": Choice("hinge", "log_loss", "modified_huber"),
                    "penalty": Choice("l2", "l1", "elasticnet"),
                    "l1_ratio": Float(0, 1, when={"penalty": "elasticnet"}),
                    "alpha": Float(1e-6, 1e-1, log=True),
                    "learning_rate": Choice("optimal", "constant", "invscaling"),
                    "eta0": Float(
                        1e-4, 1, log=True, when={"learning_rate": ("constant", "invscaling")}
                    ),
                }
            ),
            _diverging_is_fine(digits),
        ),
        Problem(
            "breast cancer, MLPClassifier",
            "Wolberg, Mangasarian, Street and Street 1995, as in scikit-learn",
            Space(
                {
                    "units": Int(4, 64, log=True),
                    "activation": Choice("relu", "tanh", "logistic"),
                    "alpha": Float(1e-6, 1, log=True),
                    "learning_rate_init": Float(1e-4, 1e-1, log=True),
                    "solver": Choice("adam", "sgd"),
                    "momentum": Float(0, 0.99, when={"solver": "sgd"}),
                }
            ),
            _diverging_is_fine(cancer),
        ),
    )
}
