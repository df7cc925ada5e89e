"""Stacks of plain layers: their form for every kind of input and output, and what they refuse."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from trainer.models import ModelSpec, stacks

RNG = np.random.default_rng(0)


def spec(shape: Any, outputs: Any = 2, task: str = "regression") -> ModelSpec:
    return ModelSpec(shape, outputs, task)


def kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def test_outputs_have_the_structure_and_the_names_of_the_parts_of_y() -> None:
    of_dict = stacks.mlp(spec((3,), {"price": 1, "days": 2}), hidden=(4,))
    assert {name: out.shape for name, out in of_dict.output.items()} == {
        "price": (None, 1),
        "days": (None, 2),
    }
    assert set(of_dict.output_names) == {"price", "days"}
    of_tuple = stacks.mlp(spec((3,), (1, 2)), hidden=())
    assert [out.shape for out in of_tuple.outputs] == [(None, 1), (None, 2)]
    assert of_tuple.output_names == ["output_0", "output_1"]


def test_a_row_that_is_a_number_and_one_that_is_an_image_become_one_vector() -> None:
    model = stacks.mlp(spec({"age": (), "face": (2, 3)}), hidden=(4,))
    assert model.layers[-2].input.shape == (None, 7)
    rows = {"age": np.ones(5, "float32"), "face": np.ones((5, 2, 3), "float32")}
    assert model(rows).shape == (5, 2)


def test_rows_of_open_length_cannot_be_flattened_and_the_error_says_what_can() -> None:
    with pytest.raises(ValueError, match=r"rows of shape \(None, 3\) have no fixed size.*resize"):
        stacks.mlp(spec((None, 3)))


def test_a_deep_network_normalises_before_each_activation_without_a_bias() -> None:
    model = stacks.deep(spec((3,)), depth=2, units=4, activation="relu", batch_norm=True)
    layer = ["Dense", "BatchNormalization", "Activation"]
    assert kinds(model) == ["InputLayer", *layer, *layer, "Dense"]
    assert [dense.use_bias for dense in model.layers if isinstance(dense, keras.layers.Dense)] == [
        False,
        False,
        True,
    ]
    assert "AlphaDropout" in kinds(stacks.deep(spec((3,)), depth=1, dropout=0.1))
    of_relu = stacks.deep(spec((3,)), depth=1, activation="relu", dropout=0.1)
    assert "Dropout" in kinds(of_relu)
    with pytest.raises(ValueError, match="depth=0: must be 1 or more"):
        stacks.deep(spec((3,)), depth=0)


def test_a_cnn_takes_images_of_open_size_and_pools_no_further_than_four_pixels() -> None:
    model = stacks.cnn(spec((None, None, 3)), filters=(2,), units=3)
    assert "GlobalAveragePooling2D" in kinds(model)
    assert model(RNG.random((2, 9, 11, 3), "float32")).shape == (2, 2)
    small = stacks.cnn(spec((9, 12)), filters=(2, 2, 2), units=3)
    assert kinds(small).count("MaxPooling2D") == 1
    with pytest.raises(ValueError, match=r"rows of shape \(5,\); reshape x, or write model='mlp'"):
        stacks.cnn(spec((5,)))


def test_wide_goes_to_the_output_and_deep_through_the_hidden_layers() -> None:
    model = stacks.wide_and_deep(spec({"deep": (3,), "wide": (2,)}), hidden=(4,))
    (hidden,) = (layer for layer in model.layers if getattr(layer, "units", 0) == 4)
    assert hidden.input.shape == (None, 3)
    assert model.layers[-1].input.shape == (None, 2 + 4)
    with pytest.raises(ValueError, match=r"x has the inputs \['wide', 'other'\]; pass one array"):
        stacks.wide_and_deep(spec({"wide": (2,), "other": (3,)}))
    with pytest.raises(ValueError, match="x has the inputs 3; pass one array, a pair"):
        stacks.wide_and_deep(spec(((2,), (3,), (4,))))
