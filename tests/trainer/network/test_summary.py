"""The text of summary: what it says of rows, targets, training and layers, on lines of its own."""

from __future__ import annotations

import numpy as np
import pytest

from trainer import Classifier
from trainer.history import History
from trainer.network import summary

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def fitted() -> Classifier:
    """A classifier of rows with two axes, whose classes have a control character."""
    x = RNG.normal(size=(16, 5, 2)).astype("float32")
    y = np.resize(["no", "yes\x1b[31m"], 16)
    return Classifier(model="mlp", epochs=1, verbose=0, random_state=3, batch_size=8).fit(x, y)


def entries(text: str) -> dict[str, str]:
    """The lines before those of Keras, by their names."""
    head = text.split("\nModel: ")[0].splitlines()
    return {name: said for name, _, said in (line.partition("  ") for line in head)}


def test_every_entry_is_aligned_and_the_layers_follow(fitted: Classifier) -> None:
    text = summary.describe("Net", fitted.network_, fitted.history_, 3)
    head = text.split("\nModel: ")[0].splitlines()
    width = max(len(line.split("  ")[0]) for line in head)
    assert all(line[width : width + 2] == "  " != line[width + 2 : width + 4] for line in head)
    assert head[0].split() == ["class", "Net"]
    assert "Total params" in text
    found = {name: said.strip() for name, said in entries(text).items()}
    assert found["precision"] == "float32, seed 3"
    assert found["inputs"].startswith("x (5, 2)")
    assert found["outputs"].startswith("classification, width ")
    assert found["values"].startswith("epochs 1, batch_size 8, ")
    assert "loss" in found["epoch 1"] and "epoch" not in found["epoch 1"]


def test_rows_with_two_axes_are_said_to_be_what_they_are_taken_for(fitted: Classifier) -> None:
    said = entries(fitted.summary())["architecture"]
    assert "rows of shape (5, 2) are taken for vectors; for a series write model='sequence'" in said
    assert summary._taken_for("sequence", (5, 2)).endswith("taken for 5 steps of 2 columns")
    assert "taken for images" in summary._taken_for("cnn", (5, 2))
    assert summary._taken_for("mlp", (5,)) == "" == summary._taken_for("mlp", {"a": (5, 2)})


def test_no_control_character_of_a_name_reaches_the_terminal(fitted: Classifier) -> None:
    text = summary.describe("Net\x1b[31m\n", fitted.network_, fitted.history_, 3)
    assert "\x1b" not in text
    assert entries(text)["class"].strip() == "Net\\x0a"


def test_without_an_epoch_there_is_no_line_of_one(fitted: Classifier) -> None:
    text = summary.describe("Net", fitted.network_, History(), 3)
    assert not any(name.startswith("epoch") for name in entries(text))
