"""The domains of hyperparameters: which are sound, and what they contain."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from trainer import Bool, Choice, Float, Int
from trainer.hyperparameters import Domain

CONTAINED: list[tuple[Any, Any]] = [
    (Int(1, 5), 1),
    (Int(1, 5), 5),
    (Int(1, 5), np.int32(3)),
    (Int(-4, 4, step=2), -2),
    (Int(1, 10, step=4), 9),
    (Int(7, 7), 7),
    (Float(0.0, 1.0), 0.0),
    (Float(0.0, 1.0), 1),
    (Float(0.0, 1.0), np.float32(0.5)),
    (Float(0.0, 1.0, step=0.1), 0.3),
    (Float(0.0, 1.0, step=0.1), 1.0),
    (Float(1e-4, 1e-1, log=True), 1e-4),
    (Choice("relu", "selu"), "selu"),
    (Choice(1, True, None, 1.0), True),
    (Choice(None, "standard"), None),
    (Choice((300, 100), (50,)), (300, 100)),
    (Bool(), False),
    (Bool(), np.True_),
    (Choice(8, 16), np.int64(8)),
    (Choice(np.int64(8), np.str_("b")), 8),
]

OUTSIDE: list[tuple[Any, Any]] = [
    (Int(1, 5), 0),
    (Int(1, 5), 6),
    (Int(1, 5), 2.0),
    (Int(0, 1), True),
    (Int(1, 5), "3"),
    (Int(1, 5), None),
    (Int(1, 10, step=4), 10),
    (Float(0.0, 1.0), 1.0001),
    (Float(0.0, 1.0), float("nan")),
    (Float(0.0, 1.0), True),
    (Float(0.0, 1.0), np.True_),
    (Float(0.0, 1.0), "0.5"),
    (Float(0.0, 1.0, step=0.1), 0.35),
    (Choice("relu", "selu"), "elu"),
    (Choice(1, 2), True),
    (Choice(0, 1), 1.0),
    (Bool(), 1),
    (Bool(), None),
]

UNSOUND: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "low above high": (lambda: Int(5, 1), ValueError, r"Int\(low=5, high=1\).*write Int\(1, 5\)"),
    "floats above": (lambda: Float(0.5, 0.1), ValueError, r"low is above high.*Float\(0.1, 0.5\)"),
    "log from 0": (lambda: Int(0, 9, log=True), ValueError, r"Int\(low=0, log=True\).*above 0"),
    "log below 0": (lambda: Float(-1.0, 1.0, log=True), ValueError, r"low=-1.0.*above 0"),
    "a factor of 1": (
        lambda: Int(1, 9, step=1, log=True),
        ValueError,
        r"step=1.*a factor.*above 1",
    ),
    "a step of 0": (lambda: Int(1, 9, step=0), ValueError, r"Int\(step=0\).*above 0"),
    "a step below 0": (lambda: Float(0.0, 1.0, step=-0.1), ValueError, r"step=-0.1.*above 0"),
    "an endless step": (lambda: Float(0.0, 1.0, step=float("inf")), ValueError, r"step=inf"),
    "text as step": (lambda: Int(1, 9, step="2"), TypeError, r"Int\(step='2'\).*number"),
    "half a step": (lambda: Int(1, 9, step=0.5), TypeError, r"step=0.5.*write Float"),
    "half a bound": (lambda: Int(1.5, 9), TypeError, r"low=1.5.*whole number.*write Float"),
    "text as bound": (lambda: Float("0", 1.0), TypeError, r"Float\(low='0'\).*number"),
    "a bool as bound": (lambda: Int(False, 1), TypeError, r"Int\(low=False\).*number"),
    "an infinite bound": (lambda: Float(0.0, float("inf")), ValueError, r"high=inf.*finite"),
    "NaN as bound": (lambda: Float(float("nan"), 1.0), ValueError, r"low=nan.*finite"),
    "NumPy's bool as bound": (lambda: Int(np.False_, 1), TypeError, r"low=False.*number"),
    "text for a logarithm": (
        lambda: Float(0.1, 1.0, log="no"),
        TypeError,
        r"Float\(log='no'\): must be True or False",
    ),
    "a number for a logarithm": (lambda: Int(1, 3, log=1), TypeError, r"Int\(log=1\): must be"),
    "a choice twice, once of NumPy": (lambda: Choice(1, np.int64(1)), ValueError, "1 is repeated"),
    "no choice": (lambda: Choice(), ValueError, r"Choice\(\).*Choice\(\"relu\", \"selu\"\)"),
    "a choice twice": (lambda: Choice("a", "b", "a"), ValueError, "'a' is repeated"),
    "a list of choices": (
        lambda: Choice([1, 2]),
        ValueError,
        r"as separate arguments, Choice\(1, 2\)",
    ),
    "a word as condition": (lambda: Bool(when="sgd"), TypeError, r"when='sgd'.*\{\"optimizer\""),
}


@pytest.mark.parametrize(("domain", "value"), CONTAINED, ids=str)
def test_a_domain_contains(domain: Any, value: Any) -> None:
    assert domain.contains(value) is True


@pytest.mark.parametrize(("domain", "value"), OUTSIDE, ids=str)
def test_a_domain_does_not_contain(domain: Any, value: Any) -> None:
    assert domain.contains(value) is False


@pytest.mark.parametrize(("make", "error", "words"), UNSOUND.values(), ids=UNSOUND.keys())
def test_an_unsound_domain_is_refused(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_true_and_one_are_different_choices() -> None:
    assert Choice(1, True, 1.0).values == (1, True, 1.0)


@pytest.mark.parametrize(
    "domain",
    [Int(1, 9, step=2), Float(1e-4, 1.0, log=True), Choice("a", None, when={"b": 1}), Bool()],
    ids=str,
)
def test_a_domain_equals_its_pickled_self_and_cannot_be_changed(domain: Any) -> None:
    assert pickle.loads(pickle.dumps(domain)) == domain
    with pytest.raises(AttributeError):
        domain.when = {}


def test_a_condition_is_kept_and_tells_domains_apart() -> None:
    momentum = Float(0.0, 0.99, when={"optimizer": "sgd"})
    assert momentum.when == {"optimizer": "sgd"}
    assert momentum != Float(0.0, 0.99)


@pytest.mark.parametrize(
    ("of_numpy", "of_python"),
    [
        (Int(np.int64(1), np.int32(9), step=np.int8(2)), Int(1, 9, step=2)),
        (Float(np.float32(0.5), np.float64(5), log=np.True_), Float(0.5, 5.0, log=True)),
        (Float(Fraction(1, 2), 1), Float(0.5, 1)),
        (Choice(np.int64(8), np.bool_(True), np.str_("b")), Choice(8, True, "b")),
        (
            Bool(when={"a": np.int64(1), "b": (np.str_("x"), 2)}),
            Bool(when={"a": 1, "b": ("x", 2)}),
        ),
    ],
    ids=repr,
)
def test_scalars_of_numpy_mean_those_of_python(of_numpy: Domain, of_python: Domain) -> None:
    assert of_numpy == of_python and repr(of_numpy) == repr(of_python)
