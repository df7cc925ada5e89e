"""The saved model as a function of named tensors: names, results, and what no format can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer import Regressor
from trainer.exporting import graphs
from trainer.exporting.graphs import Refused, Served

RNG = np.random.default_rng(0)
X = {
    "wide part": RNG.normal(size=(16, 3)).astype("float32"),
    "output": RNG.normal(size=(16, 2)).astype("float32"),
}


class Two(Regressor):
    """Two inputs, one of which is called like the output."""

    def build_model(self, spec: Any) -> keras.Model:
        given = {name: keras.Input(shape, name=name) for name, shape in spec.input_shape.items()}
        x = layers.Concatenate()(list(given.values()))
        return keras.Model(given, layers.Dense(1, name="last")(layers.Dense(2, name="first")(x)))


@pytest.fixture(scope="module")
def served() -> Served:
    """A tiny network, with the rows that it is compared on."""
    y = X["output"][:, 0]
    network = Two(epochs=1, verbose=0, random_state=0, batch_size=8).fit(X, y).network_
    return Served(network, {name: part[:5] for name, part in X.items()})


def test_inputs_and_outputs_have_names_that_all_formats_take_and_no_two_have_one(
    served: Served,
) -> None:
    assert list(served.specs) == ["wide_part", "output"]
    assert list(served.results) == ["output_o"]
    assert served.specs["wide_part"].shape.as_list() == [None, 3]
    assert list(served.flat_rows) == list(served.specs)


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (1, ["x"]),
        ((1, 2), ["x_0", "x_1"]),
        ({"a b": 1, "a_b": 2, "a-b": 3}, ["a_b", "a_b_x", "a_b_x_x"]),
        ({"it's": 1, "ä": 2, 7: 3}, ["it_s", "x__", "x_7"]),
        ({"a": {"b": 1}}, ["a_b"]),
    ],
    ids=str,
)
def test_each_leaf_has_a_name_of_its_own(tree: Any, names: list[str]) -> None:
    assert list(graphs._names(tree, "x").values()) == names


def test_the_frozen_graph_needs_nothing_else_and_gives_what_predict_does(served: Served) -> None:
    frozen = served.frozen()
    assert not {node.op for node in frozen.nodes()} & {"VarHandleOp", "ReadVariableOp"}
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen.graph, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            rows = served.flat_rows
            feed = {tensor: rows[name] for name, tensor in frozen.inputs.items()}
            found = session.run(frozen.outputs, feed)
    assert list(found) == list(served.results)
    for name, expected in served.results.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        served.results["output_o"],
        np.asarray(served.named(served.call(served.structured(rows)))["output_o"]),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_node_of_the_graph_is_told_by_its_layer(served: Served) -> None:
    last = next(node.name for node in served.frozen().graph.node if "/last" in node.name)
    assert served.layer_of(last) == "last"
    assert served.layer_of("model/first_1/MatMul") == "first"
    assert served.layer_of("first") is None, "a node of that name is not in the layer"


def test_a_model_that_is_too_large_for_a_file_is_refused_with_its_size(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.check_size()
    monkeypatch.setattr(graphs, "LARGEST", 10)
    with pytest.raises(Refused, match=r"room for 0.0 GB of weights \(a file holds 2 GB\)"):
        served.check_size()


def test_a_refusal_names_each_layer_once_and_messages_are_one_short_line() -> None:
    assert Refused("text", ["b", None, "a", "b"]).layers == ["a", "b"]
    assert Refused("text").instead is None
    assert graphs.in_a_line("a\n  b\tc") == "a b c"
    assert graphs.in_a_line("word " * 99, most=9) == "word word..."
    assert graphs.listed(["b", "a", "b"]) == "b, a"


def test_what_is_written_flat_takes_the_names_of_the_inputs(served: Served, tmp_path: Path) -> None:
    served.write_flat_saved_model(str(tmp_path / "flat"))
    signature = tf.saved_model.load(str(tmp_path / "flat")).signatures["serve"]
    rows = {name: tf.constant(rows) for name, rows in served.flat_rows.items()}
    found = signature(**rows)
    np.testing.assert_allclose(found["output_o"], served.results["output_o"], rtol=1e-5, atol=1e-6)
