"""The best configuration of a study as text that runs: Python, and YAML for `trainer fit`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import yaml

from search.pages.best import Best, described
from search.space import Space
from trainer import Bool, Choice, Float, Int


class Recorder:
    """Stands for a class of an estimator: what it is given."""

    def __init__(self, **given: Any) -> None:
        self.given = given

    def set_params(self, **params: Any) -> None:
        self.given |= params


def _best(space: dict[str, Any], estimator: dict[str, Any] | None, **row: Any) -> Best:
    first = pd.DataFrame([{"trial": 7, **row}])
    found = described(Space(space), {"estimator": estimator} if estimator else {}, first)
    assert found is not None and found.trial == 7
    return found


def _run(code: str, **names: Any) -> dict[str, Any]:
    """Run the Python, with a Recorder in place of the estimator's class."""
    code = code.replace("from trainer import Classifier", "")
    exec(code, names := {"Classifier": Recorder, "estimator": Recorder(), **names})
    return dict(names["estimator"].given)


def test_a_study_without_a_score_has_no_best() -> None:
    assert described(Space({"a": Int(1, 2)}), {}, pd.DataFrame({"trial": [], "a": []})) is None


def test_the_python_makes_the_estimator_with_the_values_of_the_trial() -> None:
    found = _best(
        {"epochs": Int(1, 9), "model__hidden": Int(1, 9), "flag": Bool()},
        {"class": "Classifier", "model": "mlp", "epochs": 5, "optimizer": None},
        epochs=np.int64(3),
        model__hidden=np.float64(4.0),
        flag=np.bool_(True),
    )
    assert _run(found.code) == {"model": "mlp", "epochs": 3, "model__hidden": 4.0, "flag": True}
    assert found.params == [("epochs", "3"), ("model__hidden", "4.0"), ("flag", "True")]


def test_the_yaml_has_nested_values_where_trainer_fit_takes_them() -> None:
    found = _best(
        {
            "model__hidden": Int(1, 9),
            "callbacks__early_stopping__patience": Int(1, 9),
            "learning_rate": Float(0.0, 1.0),
        },
        {
            "class": "Classifier",
            "model": "mlp",
            "callbacks": ["csv", {"name": "early_stopping", "patience": 2, "monitor": "loss"}],
            "sizes": (1, 2),
        },
        model__hidden=4,
        callbacks__early_stopping__patience=6,
        learning_rate=0.5,
    )
    assert found.for_fit
    assert yaml.safe_load(found.yaml) == {
        "trainer": "Classifier",
        "model": {"name": "mlp", "hidden": 4},
        "callbacks": ["csv", {"name": "early_stopping", "patience": 6, "monitor": "loss"}],
        "sizes": [1, 2],
        "learning_rate": 0.5,
    }


def test_what_a_file_cannot_name_is_said_in_a_comment_and_left_out() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "Odd()\nimport os"

    found = _best(
        {"loss": Choice(Odd(), "mse"), "callbacks__csv__keep": Int(1, 3), "epochs": Int(1, 3)},
        {"class": "Classifier", "model": {"class": "Own"}, "callbacks": None},
        loss=Odd(),
        callbacks__csv__keep=2,
        epochs=1,
    )
    lines = found.yaml.splitlines()
    assert yaml.safe_load(found.yaml) == {"trainer": "Classifier", "epochs": 1}
    assert {line for line in lines if line.startswith("#")} == {
        f"# {name}: is not a value that a file can name"
        for name in ("model", "loss", "callbacks__csv__keep")
    }
    assert "# estimator: the Classifier that was given to the search" in found.code
    assert "import os" not in found.code.splitlines()
    assert _run(found.code)["loss"] is ..., "the reader fills it in"


def test_an_estimator_of_another_class_has_its_parameters_alone() -> None:
    for cls in ({"class": "SVC", "C": 1.0}, None):
        found = _best({"C": Float(0.0, 2.0)}, cls, C=0.5)
        assert not found.for_fit and yaml.safe_load(found.yaml) == {"C": 0.5}
        assert found.code.startswith(f"# estimator: the {'SVC' if cls else 'estimator'} that was")
        assert _run(found.code) == {"C": 0.5}


def test_a_parameter_that_is_no_word_of_python_is_given_by_its_name() -> None:
    space = {"my step__a": Int(1, 3), "lambda": Float(0.0, 1.0), "b": Choice("x", "it's")}
    point = {"my step__a": 2, "lambda": 0.5, "b": "it's"}
    assert _run(_best(space, None, **point).code) == point


def test_a_parameter_that_was_switched_off_is_left_out_and_none_as_a_value_is_not() -> None:
    found = _best(
        {"a": Choice("x", None), "b": Float(0.0, 1.0), "c": Int(1, 3), "d": Int(1, 3)},
        None,
        a=None,
        b=np.nan,
        c=None,
    )
    assert found.params == [("a", "None")]
    assert _run(found.code) == {"a": None}


def test_numbers_that_python_has_no_literal_for_still_run() -> None:
    far = float("inf")
    found = _best(
        {"a": Choice(far, 1.0)},
        {"class": "Classifier", "sizes": [(-far,), {"top": far, "low": 1}, "inf"]},
        a=far,
    )
    wanted = {"sizes": [(-far,), {"top": far, "low": 1}, "inf"], "a": far}
    assert _run(found.code) == wanted
    assert yaml.safe_load(found.yaml)["a"] == far
