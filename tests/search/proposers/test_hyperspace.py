"""Our domains in keras-tuner: as the same kind where that is exact, and read back exactly."""

from __future__ import annotations

from typing import Any

import keras_tuner
import pytest

from search.proposers import hyperspace
from search.space import Space, from_unit, same, values
from trainer import Bool, Choice, Float, Int
from trainer.hyperparameters import Domain

DOMAINS: dict[str, tuple[Domain, str]] = {
    "whole numbers": (Int(2, 11), "Int"),
    "whole numbers with a step": (Int(2, 12, step=3), "Int"),
    "whole numbers with a factor": (Int(2, 100, log=True, step=3), "Int"),
    "numbers": (Float(0.1, 0.7), "Float"),
    "logarithmic numbers": (Float(1e-5, 1e-1, log=True), "Float"),
    "numbers with a step": (Float(0.0, 1.0, step=0.3), "Choice"),
    "truth": (Bool(), "Boolean"),
    "texts": (Choice("a", "b"), "Choice"),
    "mixed values": (Choice(1, "1", None, True, 1.5), "Choice"),
    "lists": (Choice((1, 2), (3,)), "Choice"),
}


@pytest.fixture
def hp() -> Any:
    return keras_tuner.HyperParameters()


@pytest.mark.parametrize("name", DOMAINS)
def test_each_value_is_expressed_and_read_back_exactly(hp: Any, name: str) -> None:
    domain, kind = DOMAINS[name]
    listed = values(domain)
    own = listed if listed is not None else [from_unit(domain, u) for u in (0, 0.25, 0.5, 1)]
    for i, value in enumerate(own):
        hyperspace.register(hp, f"a{i}", domain, value)
        found = hyperspace.decoded(domain, hp.get(f"a{i}"))
        assert same(found, value) and type(found) is type(value)
    assert {type(each).__name__ for each in hp.space} == {kind}


def test_functions_that_read_alike_are_different_choices(hp: Any) -> None:
    class Same:
        def __repr__(self) -> str:
            return "same"

    first, second = Same(), Same()
    domain = Choice(first, second)
    hyperspace.register(hp, "a", domain, second)
    assert hyperspace.decoded(domain, hp.get("a")) is second


def test_a_default_outside_of_the_domain_is_left_to_keras_tuner(hp: Any) -> None:
    hyperspace.register(hp, "a", Int(2, 11), 50)
    hyperspace.register(hp, "b", Choice("x", "y"), None)
    assert (hp.get("a"), hp.get("b")) == (2, "x")


def test_a_value_that_rounding_has_pushed_out_is_the_end_that_it_was_pushed_from() -> None:
    domain = Float(1e-4, 1e-1, log=True)
    for end in (domain.low, domain.high):
        for factor in (1 - 1e-14, 1 + 1e-14):
            assert hyperspace.decoded(domain, end * factor) == end
    assert hyperspace.decoded(Int(1, 8, log=True), 9) == 8
    assert hyperspace.decoded(Int(1, 8), 7.0) == 7


def test_a_choice_that_the_domain_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(ValueError, match=r"^'c': must be one of \['a', 'b'\]$"):
        hyperspace.decoded(Choice("a", "b"), "c")


def test_conditions_name_the_parents_of_parents_too() -> None:
    space = Space(
        {
            "kind": Choice("mlp", None, 3),
            "layers": Int(1, 3, when={"kind": ("mlp", None)}),
            "last": Float(0.0, 1.0, when={"layers": (2, 3)}),
        }
    )
    kinds = ["'mlp'", "None"]  # mixed values are texts in keras-tuner
    assert hyperspace.conditions(space, "kind") == {}
    assert hyperspace.conditions(space, "layers") == {"kind": kinds}
    assert hyperspace.conditions(space, "last") == {"kind": kinds, "layers": [2, 3]}


def test_conditions_that_exclude_each_other_never_hold() -> None:
    space = Space(
        {
            "kind": Choice("a", "b"),
            "of_a": Int(1, 3, when={"kind": "a"}),
            "of_both": Int(1, 3, when={"of_a": (1, 2, 3), "kind": "b"}),
        }
    )
    assert hyperspace.conditions(space, "of_both") is None
