"""What objective=, scoring= and refit= mean together, and the scores of a fitted estimator."""

from __future__ import annotations

from typing import Any

import keras_tuner
import numpy as np
import pytest
from light_estimators import Bowl, Nearest, Tiny
from sklearn.base import BaseEstimator
from sklearn.metrics import make_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search.study.scoring import SCORE, Measure, chosen, measure, trainer_in

X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 0, 0, 1, 1, 1])


class Scoreless(BaseEstimator):
    def fit(self, x: Any, y: Any = None) -> Scoreless:
        return self


def _measure(estimator: Any = None, objective: Any = None, scoring: Any = None, **more: Any) -> Any:
    given = {"refit": True, "by_log": True} | more
    return measure(estimator or Nearest(), objective, scoring, **given)


def _both(estimator: Any, x: Any, y: Any) -> dict[str, float]:
    return {"a": 0.25, "b": np.float32(0.5)}


@pytest.mark.parametrize(
    ("estimator", "objective", "by_log", "wanted"),
    [
        (Tiny(), None, True, Measure("val_loss", False, log=True)),
        (make_pipeline(StandardScaler(), Tiny()), None, True, Measure("val_loss", False, log=True)),
        (Tiny(), None, False, Measure(SCORE, True)),
        (Tiny(), SCORE, True, Measure(SCORE, True)),
        (Nearest(), None, True, Measure(SCORE, True)),
        (Tiny(), "val_accuracy", True, Measure("val_accuracy", True, log=True)),
        (Tiny(), ("mine", "min"), True, Measure("mine", False, log=True)),
        (Tiny(), ["mine", "max"], True, Measure("mine", True, log=True)),
        (Tiny(), keras_tuner.Objective("mine", "min"), True, Measure("mine", False, log=True)),
    ],
)
def test_an_objective_is_a_log_of_a_trainer_or_else_the_score(
    estimator: Any, objective: Any, by_log: bool, wanted: Measure
) -> None:
    assert _measure(estimator, objective, by_log=by_log) == wanted


@pytest.mark.parametrize(
    ("objective", "refit", "wanted"),
    [(None, "f1", "f1"), ("f1", True, "f1"), ("f1", "f1", "f1"), (None, len, "accuracy")],
)
def test_of_several_scores_the_named_one_counts_or_the_first_for_a_rule(
    objective: Any, refit: Any, wanted: str
) -> None:
    found = _measure(None, objective, ["accuracy", "f1"], refit=refit)
    assert (found.name, found.key, found.several, found.maximize) == (wanted, wanted, True, True)
    assert set(found.scorer(Nearest())) == {"accuracy", "f1"}


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"objective": "val_loss"}, ValueError, "objective='val_loss': is a log .*Nearest has non"),
        (
            {"estimator": Tiny(), "objective": "mine"},
            ValueError,
            r"write objective=\('mine', 'max'",
        ),
        (
            {"estimator": Tiny(), "objective": "val_los"},
            ValueError,
            r"unknown whether .*; did you mean 'val_loss'",
        ),
        (
            {"estimator": Tiny(), "objective": ("a", "up")},
            TypeError,
            r"objective=\('a', 'up'\): mu",
        ),
        ({"estimator": Scoreless()}, TypeError, "scoring=None: Scoreless has no method score; wri"),
        ({"refit": "f1"}, ValueError, r"refit='f1': names one of several scores; write scoring="),
        ({"scoring": "acuracy"}, ValueError, "no score 'acuracy'; did you mean 'accuracy'"),
        ({"scoring": {"a": "acuracy"}, "refit": "a"}, ValueError, "there is no score 'acuracy'"),
        ({"scoring": []}, TypeError, r"scoring=\[\]: must be the name of a score"),
        ({"scoring": 3}, TypeError, "scoring=3: must be the name of a score"),
        ({"scoring": ["f1", "accuracy"]}, ValueError, "refit=True: .*write refit='f1' to choose"),
        (
            {"scoring": ["f1"], "refit": False},
            ValueError,
            "refit=False: .*write objective='f1' to choose",
        ),
        (
            {"scoring": ["f1"], "objective": "r2"},
            ValueError,
            "objective='r2': scoring returns 'f1'; write objective='f1' to",
        ),
        (
            {"scoring": ["f1"], "objective": "r2", "refit": "f1"},
            ValueError,
            "objective='r2', refit='f1': two scores",
        ),
        ({"scoring": "f1", "objective": "r2"}, ValueError, "objective='r2', scoring='f1': two sco"),
        ({"scoring": "f1", "refit": "r2"}, ValueError, "refit='r2': scoring='f1' is a single sco"),
        (
            {"objective": keras_tuner.Objective(SCORE, "min")},
            ValueError,
            r"better the higher they are; write Objective\('score', 'max'\)",
        ),
    ],
)
def test_what_contradicts_itself_or_does_not_exist_is_refused(
    given: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        _measure(**given)


def test_the_scores_of_an_estimator_are_numbers_by_name() -> None:
    fitted = Nearest().fit(X, Y)
    assert _measure().scores(fitted, X, Y) == {SCORE: 1.0}
    assert _measure(scoring="f1").scores(fitted, X, Y) == {SCORE: 1.0}
    found = _measure(scoring=["f1", "accuracy"], refit="f1").scores(fitted, X, Y)
    assert found == {"f1": 1.0, "accuracy": 1.0}
    found = _measure(scoring=_both, refit="b").scores(fitted, X, Y)
    assert found == {"a": 0.25, "b": 0.5} and type(found["b"]) is float


@pytest.mark.parametrize(
    ("scoring", "refit", "error", "says"),
    [
        (_both, True, ValueError, "scoring=_both: several scores, a, b; write refit='a' to choose"),
        (_both, "bb", ValueError, "refit='bb': scoring has no such score; did you mean 'b'"),
        (
            lambda *_: 1.0,
            "a",
            ValueError,
            "refit='a': scoring returns a single score; write refit=",
        ),
        (lambda *_: "good", True, TypeError, "scoring: returned 'good'; it must return a number"),
        (lambda *_: {"a": None}, "a", TypeError, "scoring: returned None; it must return a number"),
    ],
)
def test_what_a_callable_returns_is_checked_when_it_is_called(
    scoring: Any, refit: Any, error: type[Exception], says: str
) -> None:
    found = _measure(scoring=scoring, refit=refit)
    with pytest.raises(error, match=says):
        found.scores(Nearest().fit(X, Y), X, Y)


def test_a_scorer_gets_its_arguments() -> None:
    def weighed(y: Any, found: Any, sample_weight: Any = None) -> float:
        return float(sample_weight.sum())

    found = _measure(scoring=make_scorer(weighed))
    assert found.scores(Nearest().fit(X, Y), X, Y, {"sample_weight": np.ones(6)}) == {SCORE: 6.0}


def test_a_log_has_no_scorer_and_a_dict_of_scores_has_one_each() -> None:
    assert _measure(Tiny()).scorer(Tiny()) is None
    found = _measure(scoring={"mine": "f1"}, refit="mine").scorer(Nearest())
    assert found["mine"](Nearest().fit(X, Y), X, Y) == 1.0
    assert callable(_measure(scoring="f1").scorer(Nearest()))


def test_the_trainer_is_the_estimator_or_the_last_step_of_a_pipeline() -> None:
    tiny = Tiny()
    assert trainer_in(tiny) == ("", tiny)
    assert trainer_in(make_pipeline(StandardScaler(), tiny)) == ("tiny__", tiny)
    for other in (Bowl(), make_pipeline(StandardScaler()), make_pipeline(tiny, Bowl())):
        assert trainer_in(other) == ("", None)
        assert chosen(other, X, Y) is None


def test_the_architecture_of_a_trainer_in_a_pipeline_is_the_one_for_arrays() -> None:
    found = chosen(make_pipeline(StandardScaler(), Tiny()), X, Y)
    assert found is not None and found.values.epochs == Tiny.epochs
    assert found == chosen(Tiny(), X.astype(np.float32), Y)
