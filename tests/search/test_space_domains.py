"""Domains with a factor between their values, and those of any distribution of scipy.stats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest
from light_estimators import Bowl
from light_searches import R, X, sklearn_search, tuner_search
from scipy import stats

from search import Space, load_study
from search.distributions import distributions
from search.proposers import hyperspace
from search.space import from_unit, listed, to_unit, values
from trainer import Drawn, Float, Int


def test_a_step_on_a_logarithmic_scale_is_a_factor() -> None:
    domain = Int(1, 8, step=2, log=True)
    assert values(domain) == [1, 2, 4, 8] == listed(domain, 3)
    assert values(Int(3, 80, step=3, log=True)) == [3, 9, 27]
    assert values(Float(1e-3, 1.0, step=10, log=True)) == pytest.approx([1e-3, 1e-2, 0.1, 1.0])
    assert domain.contains(4) and not domain.contains(3) and not domain.contains(16)
    assert Float(1e-3, 1.0, step=10, log=True).contains(0.1)
    for value in (1, 2, 4, 8):
        assert from_unit(domain, to_unit(domain, value)) == value
    shares = np.bincount([from_unit(domain, u) for u in np.linspace(0.001, 0.999, 400)])
    assert shares[[1, 2, 4, 8]].tolist() == [100] * 4
    assert distributions(Bowl(), {"a": domain}) == {"a": [1, 2, 4, 8]}


def test_a_factor_is_that_of_keras_tuner() -> None:
    ours = keras_tuner.HyperParameters()
    hyperspace.register(ours, "a", Int(1, 8, step=2, log=True), 4)
    theirs = keras_tuner.HyperParameters()
    theirs.Int("a", 1, 8, step=2, sampling="log", default=4)
    assert ours.space[0].get_config() == theirs.space[0].get_config()
    reached = {hyperspace.decoded(Int(1, 8, step=2, log=True), v) for v in theirs.space[0].values}
    assert reached == {1, 2, 4, 8}


DISTRIBUTIONS = {
    "a": stats.norm(0.5, 0.1),
    "b": stats.beta(2, 5),
}


@pytest.mark.parametrize(
    "frozen",
    [
        stats.norm(3, 2),
        stats.beta(2, 5, loc=1),
        stats.expon(scale=0.1),
        stats.truncnorm(-1, 1),
        stats.poisson(4),
        stats.binom(9, 0.3),
        stats.rv_histogram(np.histogram([1.0, 2.0, 2.5, 9.0], bins=4)),
    ],
)
def test_values_have_the_distribution(frozen: Any) -> None:
    space = Space.of(Bowl(), {"a": frozen})
    generator = np.random.default_rng(0)
    drawn = [space.draw(generator)["a"] for _ in range(2_000)]
    domain = space.domains["a"]
    if isinstance(domain, Drawn) and domain.discrete:
        assert all(isinstance(v, int) for v in drawn)
        assert abs(np.mean(drawn) - frozen.mean()) < 0.2
    else:
        assert stats.kstest(drawn, frozen.cdf).pvalue > 0.01
    for value in drawn[:50]:
        assert domain.contains(value)
        assert from_unit(domain, to_unit(domain, value)) == pytest.approx(value)
    recorded = Space.recorded(space.described())
    assert all(recorded.domains["a"].contains(value) for value in drawn)
    assert len(list(space.grid())) > 3


@pytest.mark.parametrize(
    "make",
    [
        lambda space, path: sklearn_search(space=space, n_iter=6, directory=path),
        *(
            lambda space, path, tuner=tuner: tuner_search(
                space=space, tuner=tuner, cv=2, max_trials=8, directory=path
            )
            for tuner in ("random", "bayesian", "grid")
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:tuner='bayesian'")
def test_every_method_searches_a_distribution_and_a_factor(make: Any, tmp_path: Path) -> None:
    space = DISTRIBUTIONS | {"random_state": Int(1, 8, step=2, log=True)}
    search = make(space, tmp_path).fit(X, R)
    assert len(search.results_.drop(columns="seconds").drop_duplicates()) > 4
    assert set(search.results_.random_state) <= {1, 2, 4, 8}
    study = load_study(tmp_path)
    assert study.space.domains["a"].distribution.args == (0.5, 0.1)  # type: ignore[attr-defined]
    study.plot_slice()[0].figure.savefig(tmp_path / "slice.png")
    study.plot_parallel().figure.savefig(tmp_path / "parallel.png")


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: Int(1, 8, step=1, log=True), ValueError, "the step is a factor.*above 1"),
        (lambda: Float(1, 8, step=0.5, log=True), ValueError, "the step is a factor.*above 1"),
        (lambda: Drawn(stats.beta), TypeError, r"Drawn\(beta\): a distribution without its param"),
        (lambda: Drawn(5), TypeError, r"Drawn\(5\): must be a frozen distribution"),
        (
            lambda: Space.of(Bowl(), {"a": Int(3, 5, step=2, log=True)}),
            ValueError,
            "a factor of 2, already exceeds the end",
        ),
    ],
)
def test_a_domain_without_values_is_refused(make: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=f"(?s){says}"):
        make()
