"""Which output of a model belongs to which part of y, and which models fit none."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from trainer.models import ModelSpec
from trainer.network import outputs


def model(widths: dict[str, int], *, as_list: bool = False) -> keras.Model:
    """A model with an output layer of each name."""
    given = keras.Input((3,))
    made = {name: keras.layers.Dense(n, name=name)(given) for name, n in widths.items()}
    found: Any = list(made.values()) if as_list else made
    return keras.Model(given, found if len(made) > 1 else next(iter(made.values())))


def spec(n_outputs: Any, task: str = "regression") -> ModelSpec:
    return ModelSpec((3,), n_outputs, task)


def test_a_list_of_outputs_is_matched_by_the_names_of_its_layers() -> None:
    made = model({"days": 2, "price": 1}, as_list=True)
    of = spec({"price": 1, "days": 2})
    found = outputs.named(made, of, outputs.symbolic(made))
    assert {name: out.shape[-1] for name, out in found.items()} == {"['price']": 1, "['days']": 2}
    x = np.ones((4, 3), "float32")
    arranged = outputs.arranged(made, of, made(x))
    assert list(arranged) == ["price", "days"] and arranged["days"].shape == (4, 2)
    outputs.check(made, of, outputs.symbolic(made))


def test_outputs_whose_order_is_not_told_are_refused_with_both_structures() -> None:
    made = model({"a": 1, "b": 1}, as_list=True)
    with pytest.raises(
        ValueError, match=r"outputs are \[0\], \[1\], but the parts of y are \['x'\]"
    ):
        outputs.named(made, spec({"x": 1, "y": 1}), outputs.symbolic(made))
    with pytest.raises(
        ValueError, match="the model has 2 outputs, but y has 3; give the model one"
    ):
        outputs.named(made, spec((1, 1, 1)), outputs.symbolic(made))


def test_a_single_output_is_that_of_a_single_part_whatever_its_name() -> None:
    made = model({"a": 2})
    for n_outputs in (2, {"price": 2}):
        outputs.check(made, spec(n_outputs), outputs.symbolic(made))
    assert set(outputs.arranged(made, spec({"price": 2}), 5)) == {"price"}
    assert outputs.arranged(made, spec(2), 5) == 5


def test_a_custom_model_may_return_another_structure_and_any_width() -> None:
    made = model({"a": 1, "b": 1})
    found = {"a": 1, "b": 2}
    assert outputs.arranged(made, spec(7, "custom"), found) is found
    outputs.check(made, spec(7, "custom"), outputs.symbolic(made))


@pytest.mark.parametrize(
    ("task", "n_outputs", "width", "said"),
    [
        ("classification", 3, 2, r"expected 3 \(3 classes in y\), got 2; .*'softmax'\)"),
        ("classification", 3, 1, r"expected 3 \(3 classes in y\), got 1"),
        ("multilabel", 2, 1, r"expected 2 \(2 labels in y\), got 1; .*'sigmoid'\)"),
        ("regression", {"a": 1}, 4, r"for y\['a'\].*expected 1 \(1 columns in y\), got 4"),
    ],
)
def test_a_wrong_width_is_named_with_what_y_has(
    task: str, n_outputs: Any, width: int, said: str
) -> None:
    made = model({"a": width})
    with pytest.raises(ValueError, match=said):
        outputs.check(made, spec(n_outputs, task), outputs.symbolic(made))


def test_two_classes_may_have_one_output_and_a_column_needs_no_axis() -> None:
    made = model({"a": 1})
    outputs.check(made, spec(2, "classification"), outputs.symbolic(made))
    outputs.check(made, spec(1), np.zeros(5))


def test_a_model_without_a_graph_has_no_symbolic_outputs() -> None:
    assert outputs.symbolic(keras.Sequential([keras.layers.Dense(1)])) is None
    built = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    (found,) = outputs.symbolic(built)
    assert found.shape == (None, 1)
