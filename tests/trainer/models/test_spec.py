"""What build_model is told of the network: its output activation, and what an image is."""

from __future__ import annotations

import dataclasses

import pytest

from trainer.models.spec import ModelSpec, is_image


@pytest.mark.parametrize(
    ("task", "activation"),
    [
        ("classification", "softmax"),
        ("multilabel", "sigmoid"),
        ("regression", "linear"),
        ("custom", "linear"),
    ],
)
def test_the_output_activation_is_that_of_the_default_loss(task: str, activation: str) -> None:
    assert ModelSpec((4,), 3, task).output_activation == activation


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (1, 2, 1), (32, 48, 3), (None, None, 4)])
def test_a_square_or_rows_with_one_to_four_channels_are_an_image(shape: tuple) -> None:
    assert is_image(shape)


@pytest.mark.parametrize(
    "shape", [(), (784,), (7, 7), (28, 27), (None, None), (8, 8, 5), (8, 8, 8, 3), (8, 8, None)]
)
def test_a_vector_a_series_and_a_small_square_are_no_image(shape: tuple) -> None:
    assert not is_image(shape)


def test_a_spec_is_equal_by_shape_outputs_and_task_whatever_was_chosen() -> None:
    spec = ModelSpec((4,), 3, "regression", chosen=object())
    assert spec == ModelSpec((4,), 3, "regression")
    assert spec != ModelSpec((5,), 3, "regression")
    assert "chosen" not in repr(spec)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.task = "custom"  # type: ignore[misc]
