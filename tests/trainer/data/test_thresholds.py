"""The threshold that is found is the best there is, for every metric that it can be tuned for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import f1_score, get_scorer

from trainer.data import thresholds

RNG = np.random.default_rng(0)
TRUE = RNG.random(60) < 0.2
GIVEN = np.clip(RNG.random(60) * 0.6 + TRUE * 0.2, 0, 1).round(2)  # with ties
WEIGHT = RNG.random(60)


class Cut(ClassifierMixin, BaseEstimator):
    """Predicts rows of one column of probabilities by a threshold."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.classes_ = np.array([False, True])

    def fit(self, x: Any, y: Any) -> Cut:
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0] > self.at


@pytest.mark.filterwarnings("ignore:.*ill-defined", "ignore:.*pos_label")
@pytest.mark.parametrize("metric", thresholds.METRICS)
def test_no_other_threshold_has_a_higher_score(metric: str) -> None:
    scorer = get_scorer(metric)
    (found,) = thresholds.tune(metric, TRUE[:, None], GIVEN[:, None], WEIGHT)

    def score(at: float) -> float:
        return float(scorer(Cut(at), GIVEN[:, None], TRUE, sample_weight=WEIGHT))

    assert 0 < found < 1
    assert score(found) >= max(score(at) for at in np.linspace(0, 1, 51)) - 1e-12


def test_it_lies_halfway_between_two_probabilities_and_closest_to_one_half_of_equal_ones() -> None:
    truth = np.array([[False], [True]])
    for given, expected in (((0.1, 0.3), 0.2), ((0.0, 1.0), 0.5), ((0.2, 0.9), 0.55)):
        assert thresholds.tune("f1", truth, np.array(given)[:, None], None) == (expected,)
    # recall is 1 for all thresholds below 0.7
    given = np.array([[0.1], [0.4], [0.7]])
    assert thresholds.tune("recall", given > 0.5, given, None) == pytest.approx((0.55,))


def test_neighbouring_floats_are_told_apart() -> None:
    low = np.float32(0.3)
    given = np.array([[low], [np.nextafter(low, np.float32(1))]])
    for dtype in (np.float32, np.float64):
        (found,) = thresholds.tune("f1", np.array([[False], [True]]), given.astype(dtype), None)
        assert (given.astype(np.float64)[:, 0] > found).tolist() == [False, True]
    doubles = np.array([[0.3], [np.nextafter(0.3, 1)]])
    (found,) = thresholds.tune("f1", np.array([[False], [True]]), doubles, None)
    assert (doubles[:, 0] > found).tolist() == [False, True]


def test_of_very_many_rows_the_best_region_is_searched_finely() -> None:
    truth = RNG.random(20_000) < 0.05
    given = 1 / (1 + np.exp(3 - 2 * truth - RNG.normal(size=20_000)))
    (found,) = thresholds.tune("f1", truth[:, None], given[:, None], None)
    every = max(f1_score(truth, given > at) for at in np.quantile(given, np.linspace(0.8, 1, 100)))
    assert f1_score(truth, given > found) >= every - 1e-3


def test_rows_without_weight_do_not_count() -> None:
    truth, given = np.array([[0], [1], [0]], bool), np.array([[0.2], [0.4], [0.9]])
    assert thresholds.tune("f1", truth, given, np.array([1, 1, 0])) == pytest.approx((0.3,))


@pytest.mark.parametrize("value", ["F1", "f11"])
def test_a_mistyped_metric_is_answered_with_the_one_meant(value: str) -> None:
    with pytest.raises(ValueError, match=rf"field='{value}': .*; did you mean 'f1'") as raised:
        thresholds.check("field", value)
    assert "accuracy" not in str(raised.value)
