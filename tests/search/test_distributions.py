"""A space as scikit-learn's searches take it: the same values, drawn from the same distribution."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import ParameterGrid, ParameterSampler

from search.distributions import Distribution, distributions, grid
from trainer import Bool, Choice, Float, Int

ESTIMATOR = SGDClassifier()


def test_a_grid_lists_the_values_of_each_domain() -> None:
    space = {
        "alpha": Float(1e-3, 1e-1, log=True),
        "penalty": Choice("l1", "l2"),
        "shuffle": Bool(),
    }
    found = grid(ESTIMATOR, space, levels=3)
    np.testing.assert_allclose(found["alpha"], [1e-3, 1e-2, 1e-1])
    assert found["penalty"] == ["l1", "l2"] and found["shuffle"] == [False, True]
    assert len(ParameterGrid(found)) == 12


def test_domains_of_equally_likely_values_are_lists_so_that_none_is_drawn_twice() -> None:
    found = distributions(ESTIMATOR, {"max_iter": Int(1, 4), "shuffle": Bool()})
    drawn = [tuple(p.values()) for p in ParameterSampler(found, 8, random_state=0)]
    assert len(set(drawn)) == 8


def test_other_domains_are_drawn_from_within_their_ends_and_by_seed() -> None:
    domain = Float(1e-4, 1e-1, log=True)
    (found,) = distributions(ESTIMATOR, {"alpha": domain}).values()
    assert isinstance(found, Distribution)
    values = [found.rvs(seed) for seed in range(200)]
    assert all(1e-4 <= v <= 1e-1 for v in values)
    assert 0.3 < np.mean(np.array(values) < 10**-2.5) < 0.7  # uniform in the logarithm
    assert found.rvs(7) == found.rvs(7)
    assert isinstance(Distribution(Int(1, 100, log=True)).rvs(0), int)


@pytest.mark.parametrize("translate", [grid, distributions])
def test_what_scikit_learn_cannot_say_is_refused(translate: Any) -> None:
    condition = {"penalty": Choice("l1", "l2"), "alpha": Float(0, 1, when={"penalty": "l1"})}
    message = "alpha: when={'penalty': ('l1',)} has no equivalent"
    with pytest.raises(ValueError, match=re.escape(message)):
        translate(ESTIMATOR, condition)
    with pytest.raises(TypeError, match="a list of spaces; pass each dict by itself"):
        translate(ESTIMATOR, [{"alpha": Float(0, 1)}, {"shuffle": Bool()}])
    with pytest.raises(TypeError, match=r"estimator=SGDClassifier: .* write SGDClassifier\(\)"):
        translate(type(ESTIMATOR), {"alpha": Float(0, 1)})
    with pytest.raises(ValueError, match="levels=1"):
        grid(ESTIMATOR, {"alpha": Float(0, 1)}, levels=1)
