"""The checks of arguments: what they let through, and the words in which they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Regressor
from trainer.utils import checks

NAMES = ["batch_size", "epochs", "learning_rate"]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("epoch", "did you mean 'epochs'?"),
        ("Epochs", "did you mean 'epochs'?"),
        ("batchsize", "did you mean 'batch_size'?"),
        ("LearningRate", "did you mean 'learning_rate'?"),
        ("zzz", "choose one of 'batch_size', 'epochs', 'learning_rate'"),
        (3, "choose one of 'batch_size', 'epochs', 'learning_rate'"),
    ],
)
def test_a_near_name_is_offered_and_otherwise_all(name: Any, answer: str) -> None:
    assert checks.did_you_mean(name, NAMES) == answer


def test_two_near_names_are_offered_the_nearest_first() -> None:
    assert checks.did_you_mean("adm", ["adam", "adamw", "sgd"]) == "did you mean 'adam' or 'adamw'?"


def test_where_there_are_no_names_none_are_offered() -> None:
    assert checks.did_you_mean("a", []) == "there are none to choose from"


def test_of_very_many_names_some_are_listed_and_the_others_counted() -> None:
    answer = checks.did_you_mean("zzz", [f"file_{i:04}" for i in range(1_000)])
    assert "'file_0039' (and 960 more)" in answer
    assert "file_0040" not in answer


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(255)])
def test_a_whole_number_is_given_back_as_int(value: Any) -> None:
    found = checks.integer("epochs", value, low=1)
    assert found == value
    assert type(found) is int


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.True_, np.float64(2.0), [1]])
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="epochs=.*whole number, such as epochs=10"):
        checks.integer("epochs", value, low=1)


def test_a_whole_number_below_the_least_is_refused_with_an_example() -> None:
    with pytest.raises(ValueError, match="rows=-1: must be 0 or more; write rows=32, for example"):
        checks.integer("rows", -1, low=0, example=32)


@pytest.mark.parametrize("value", [1, 0.01, np.float32(0.5), 1e-30])
def test_a_positive_number_is_given_back_as_float(value: Any) -> None:
    found = checks.positive("rate", value)
    assert found == pytest.approx(float(value))
    assert type(found) is float


@pytest.mark.parametrize("value", [0, -0.1, float("nan"), float("inf")])
def test_what_is_not_above_0_and_finite_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="rate=.*finite number above 0; write rate=0.01"):
        checks.positive("rate", value)


@pytest.mark.parametrize("value", ["0.1", None, True, [0.1]])
def test_what_is_no_number_is_not_positive(value: Any) -> None:
    with pytest.raises(TypeError, match="rate=.*must be a number above 0"):
        checks.positive("rate", value)


@pytest.mark.parametrize("value", [0, 0.2, 0.999, np.float64(0.5)])
def test_a_fraction_is_given_back_as_float(value: Any) -> None:
    assert checks.fraction("validation_split", value) == float(value)


@pytest.mark.parametrize("value", [1, 1.5, -0.1, float("nan")])
def test_what_is_no_fraction_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="validation_split=.*write validation_split=0.2"):
        checks.fraction("validation_split", value)


@pytest.mark.parametrize("value", ["0.2", None, False])
def test_what_is_no_number_is_no_fraction(value: Any) -> None:
    with pytest.raises(TypeError, match="validation_split=.*must be a number"):
        checks.fraction("validation_split", value)


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_a_boolean_of_python_or_numpy_is_given_back_as_bool(value: Any) -> None:
    assert checks.boolean("shuffle", value) is bool(value)


@pytest.mark.parametrize("value", [1, 0, "yes", None])
def test_what_is_no_boolean_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="shuffle=.*must be True or False"):
        checks.boolean("shuffle", value)


@pytest.mark.parametrize("value", [None, "minmax", np.str_("minmax"), True, np.True_, 2])
def test_one_of_the_options_is_given_back_as_pythons_own(value: Any) -> None:
    found = checks.one_of("jit", value, (None, "minmax", True, 2))
    assert found == value
    assert not isinstance(found, np.generic)


@pytest.mark.parametrize("value", [1, False, "two", 2.0])
def test_what_is_not_one_of_the_options_is_refused_with_all_of_them(value: Any) -> None:
    with pytest.raises(ValueError, match="jit=.*must be one of 'auto', True, 2$"):
        checks.one_of("jit", value, ("auto", True, 2))


def test_a_slip_in_an_option_is_answered_with_the_near_one() -> None:
    with pytest.raises(ValueError, match="'minmax'; did you mean 'standard'"):
        checks.one_of("normalize", "standart", (None, "standard", "minmax"))


class Constant(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of one's own, which is called with the step."""

    def __call__(self, step: Any) -> Any:
        return 0.1 + 0 * step


@pytest.mark.parametrize(
    "rate",
    [0.1, np.float32(0.1), 1, lambda: 0.1, lambda step=0: 0.1, Constant(), {"class_name": "A"}],
)
def test_a_learning_rate_is_a_number_a_schedule_or_a_function_without_arguments(rate: Any) -> None:
    checks.learning_rate(rate)


@pytest.mark.parametrize(
    ("rate", "says"),
    [
        (lambda step: 0.1, "learning_rate=<function .*: a function is called without arguments"),
        (int, "learning_rate=int: is a class; write an object of one, such as keras.optimizers"),
        (Constant, "learning_rate=Constant: is a class; write an object of one"),
        ({"a": 1}, "learning_rate={'a': 1}: a dict must be the config of a schedule, with a cla"),
        ("0.1", "learning_rate='0.1': must be a number above 0"),
    ],
)
def test_another_learning_rate_is_refused_before_anything_is_written(
    rate: Any, says: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=says):
        checks.learning_rate(rate)
    run = tmp_path / "run"
    with pytest.raises(TypeError, match=says):
        Regressor(learning_rate=rate, run_dir=run).fit(np.zeros((8, 1)), np.zeros(8))
    assert not run.exists()


def test_steps_in_python_are_not_compiled() -> None:
    with pytest.raises(ValueError, match="jit=True: steps in Python, as with run_eagerly=True"):
        Regressor(jit=True, run_eagerly=True).fit(np.zeros((8, 1)), np.zeros(8))


@pytest.mark.parametrize(
    ("noun", "written"), [("int", "an int"), ("Array", "an Array"), ("str", "a str"), ("", "a ")]
)
def test_a_noun_has_its_article(noun: str, written: str) -> None:
    assert checks.with_article(noun) == written
