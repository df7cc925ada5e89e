"""Spaces: what is drawn lies in the domain, reaches all of it, and in its shares."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search.space import Space, from_unit, listed, to_unit, values
from trainer import Bool, Choice, Classifier, Float, Int
from trainer.hyperparameters import Domain

ints = st.integers(-50, 50).flatmap(
    lambda low: st.integers(0, 60).flatmap(
        lambda width: st.one_of(
            st.builds(Int, st.just(low), st.just(low + width), step=st.none() | st.integers(1, 9)),
            st.just(Int(abs(low) + 1, abs(low) + 1 + width, log=True)),
        )
    )
)
floats = st.floats(0.001, 50).flatmap(
    lambda low: st.floats(0, 100).flatmap(
        lambda width: st.one_of(
            st.just(Float(low, low + width)),
            st.just(Float(low, low + width, log=True)),
            st.builds(Float, st.just(low), st.just(low + width), step=st.floats(0.5, 20)),
        )
    )
)
choices = st.lists(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    min_size=1,
    max_size=6,
    unique_by=lambda v: (type(v), v),
).map(lambda found: Choice(*found))
domains: st.SearchStrategy[Domain] = st.one_of(ints, floats, choices, st.just(Bool()))


@given(domains, st.floats(0, 1))
def test_every_place_of_the_unit_interval_is_a_value_of_the_domain(
    domain: Domain, u: float
) -> None:
    assert domain.contains(from_unit(domain, u))


@given(domains)
def test_every_value_of_a_finite_domain_comes_back(domain: Domain) -> None:
    for value in values(domain) or ():
        found = from_unit(domain, to_unit(domain, value))
        assert type(found) is type(value)
        assert found == value


@given(floats, st.floats(0, 1))
def test_a_number_comes_back(domain: Float, u: float) -> None:
    value = from_unit(domain, u)
    assert math.isclose(from_unit(domain, to_unit(domain, value)), value, rel_tol=1e-9) or (
        domain.low == domain.high
    )


@given(domains, st.integers(2, 12))
def test_a_grid_has_the_ends_and_stays_within_its_size(domain: Domain, levels: int) -> None:
    found = listed(domain, levels)
    assert all(domain.contains(value) for value in found)
    assert len(found) == len({(type(v), v) for v in found})
    if isinstance(domain, (Int, Float)) and domain.step is None:
        assert len(found) <= levels
        assert found[0] == domain.low
        assert found[-1] == domain.high
    else:
        assert found == list(values(domain) or ())


@pytest.mark.parametrize(
    ("domain", "shares"),
    [
        (Int(1, 4), [0.25] * 4),
        (Int(1, 4, log=True), [math.log((k + 1) / k) / math.log(5) for k in range(1, 5)]),
        (Int(2, 11, step=4), [1 / 3] * 3),
        (Float(0, 1, step=0.25), [0.2] * 5),
        (Choice("a", None, True, 1), [0.25] * 4),
        (Bool(), [0.5] * 2),
    ],
    ids=repr,
)
def test_a_finite_domain_is_drawn_in_its_shares(domain: Domain, shares: list[float]) -> None:
    generator = np.random.default_rng(0)
    drawn = [Space({"v": domain}).draw(generator)["v"] for _ in range(4_000)]
    counts = [sum(type(v) is type(d) and v == d for d in drawn) for v in values(domain) or ()]
    assert sum(counts) == 4_000
    assert stats.chisquare(counts, np.array(shares) * 4_000).pvalue > 0.001


@pytest.mark.parametrize("log", [False, True])
def test_numbers_are_drawn_uniformly_or_by_ratio(log: bool) -> None:
    domain, generator = Float(0.01, 10.0, log=log), np.random.default_rng(0)
    drawn = [from_unit(domain, generator.random()) for _ in range(2_000)]
    law = stats.loguniform(0.01, 10.0) if log else stats.uniform(0.01, 9.99)
    assert stats.kstest(drawn, law.cdf).pvalue > 0.001


# ---- collecting ----------------------------------------------------------------------------------


class Net(Classifier):
    units: Annotated[int, Int(8, 64, log=True)] = 16
    optimizer: Annotated[Any, Choice("sgd", "adam")] = "adam"
    momentum: Annotated[float, Float(0.0, 0.9, when={"optimizer": "sgd"})] = 0.0
    nesterov: Annotated[bool, Bool(when={"momentum": 0.9, "optimizer": "sgd"})] = False


class Plain(Classifier):
    """Has no domains."""


def test_annotated_fields_are_the_space() -> None:
    assert set(Space.of(Net()).domains) == {"units", "optimizer", "momentum", "nesterov"}


def test_the_parts_of_a_pipeline_are_in_the_space_with_their_conditions() -> None:
    space = Space.of(make_pipeline(StandardScaler(), Net()))
    assert space.domains["net__momentum"].when == {"net__optimizer": ("sgd",)}


def test_names_narrow_the_space_and_a_dict_replaces_it() -> None:
    assert list(Space.of(Net(), ["units"]).domains) == ["units"]
    space = Space.of(Net(), {"learning_rate": stats.loguniform(1e-4, 1e-1), "units": [8, 9]})
    assert space.domains["learning_rate"] == Float(1e-4, 1e-1, log=True)
    assert space.domains["units"] == Choice(8, 9)
    assert Space.of(Net(), {"units": stats.randint(3, 9)}).domains["units"] == Int(3, 8)


def test_a_condition_outside_the_space_is_settled_by_the_estimator() -> None:
    assert list(Space.of(Net(), ["momentum", "units"]).domains) == ["units"]
    space = Space.of(Net(optimizer="sgd"), ["momentum"])
    assert space.domains["momentum"].when is None


def test_a_parameter_comes_after_those_that_its_condition_names() -> None:
    space = Space.of(Net(), ["momentum", "optimizer"])
    assert list(space.domains) == ["optimizer", "momentum"]


def test_inactive_parameters_have_no_value() -> None:
    space = Space.of(Net())
    generator = np.random.default_rng(0)
    for _ in range(50):
        point = space.draw(generator)
        assert ("momentum" in point) == (point["optimizer"] == "sgd")
        assert space.check(point) == point


@settings(max_examples=30)
@given(st.integers(1, 5))
def test_a_grid_has_every_combination_once(levels: int) -> None:
    space = Space.of(Net(), ["units", "optimizer", "momentum"])
    points = list(space.grid(levels + 1))
    keys = [tuple(sorted(point.items())) for point in points]
    assert len(set(keys)) == len(keys)
    units = len(listed(space.domains["units"], levels + 1))
    momenta = len(listed(space.domains["momentum"], levels + 1))
    assert len(points) == units * (1 + momenta)


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "an unknown name": ({"unit": [1]}, ValueError, "did you mean 'units'"),
    "an unknown name in a list": (["unit"], ValueError, "did you mean 'units'"),
    "a number for a name": ({5: Float(0.1, 1)}, TypeError, r"space=\{5: ...\}: must be the name"),
    "an empty space": ({}, ValueError, "space is empty"),
    "an empty list": ({"units": []}, ValueError, "an empty list"),
    "no domain": ({"units": 3}, TypeError, "must be Int, Float, Choice, Bool, a list"),
    "a word": ("units", TypeError, "must be a dict of domains, or a list of names"),
    "a distribution without parameters": (
        {"units": stats.beta},
        TypeError,
        "without its parameters",
    ),
    "a condition that never holds": (
        {"optimizer": ["sgd"], "momentum": Float(0, 1, when={"optimizer": "adam"})},
        ValueError,
        "can never hold",
    ),
    "a condition on nothing": (
        {"momentum": Float(0, 1, when={"optimiser": "sgd"})},
        ValueError,
        "did you mean 'optimizer'",
    ),
    "a circle": (
        {
            "units": Int(1, 2, when={"epochs": 1}),
            "epochs": Int(1, 2, when={"units": 1}),
        },
        ValueError,
        "is a circle",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_space_is_named(name: str) -> None:
    space, error, message = BAD[name]
    with pytest.raises(error, match=message):
        Space.of(Net(), space)


def test_an_estimator_without_domains_is_told_how_to_have_some() -> None:
    with pytest.raises(ValueError, match="has no annotated domains; annotate a field"):
        Space.of(Plain())


@pytest.mark.parametrize(
    ("estimator", "says"),
    [
        (5, r"estimator=5: must be an estimator with get_params; write Classifier\(\)"),
        (Net, r"estimator=Net: .* is a class; write Net\(\)"),
    ],
)
def test_what_is_no_estimator_is_refused(estimator: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        Space.of(estimator, {"units": [1]})


@pytest.mark.parametrize("levels", [-1, 0, "a", 2.5])
@pytest.mark.parametrize("space", [{"units": [1]}, [{"units": [1]}, {"units": [2]}]])
def test_a_grid_of_no_levels_is_refused_at_once(levels: Any, space: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"levels={levels!r}: must be"):
        Space.of(Net(), space).grid(levels)


def test_a_point_outside_is_named() -> None:
    space = Space.of(Net())
    with pytest.raises(ValueError, match=r"units=65: must lie in Int"):
        space.check({"units": 65, "optimizer": "adam"})
    with pytest.raises(ValueError, match="momentum: the point .* has no value for it"):
        space.check({"units": 8, "optimizer": "sgd"})
    with pytest.raises(ValueError, match="did you mean 'units'"):
        space.check({"unit": 8})
