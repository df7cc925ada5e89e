"""arrays: trees of arrays with names for their leaves, and errors that say which number is bad."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import dok_matrix

from trainer import Classifier, Regressor
from trainer.data import arrays

ROWS = np.arange(6.0).reshape(3, 2)


@pytest.mark.parametrize(
    ("value", "nested"),
    [
        ({"a": ROWS}, True),
        ((ROWS, ROWS), True),
        ([ROWS, ROWS], True),
        ([pd.DataFrame(ROWS), ROWS], True),
        ([ROWS[0], ROWS[1]], False),  # two rows
        ([[1.0, 2.0], [3.0, 4.0]], False),
        ((1.0, 2.0), False),
        ((), False),
        (dok_matrix(ROWS), False),
        (ROWS, False),
    ],
)
def test_a_list_of_rows_is_data_and_a_list_of_matrices_is_several_inputs(
    value: Any, nested: bool
) -> None:
    assert arrays.is_nested(value) is nested


def test_a_leaf_is_named_by_the_expression_that_reaches_it() -> None:
    tree = {"wide": ROWS, "deep": [ROWS, {"a'b": ROWS}]}
    named = dict(arrays.leaves(tree))
    assert list(named) == ["x['wide']", "x['deep'][0]", """x['deep'][1]["a'b"]"""]
    assert all(eval(name, {"x": tree}) is leaf for name, leaf in named.items())
    mapped = arrays.map_named(lambda name, leaf: name, tree)
    assert mapped == {"wide": "x['wide']", "deep": ("x['deep'][0]", {"a'b": list(named)[2]})}
    with pytest.raises(ValueError, match="shorter"):
        arrays.map_tree(np.add, (ROWS, ROWS), (ROWS,))


def test_arrays_become_native_and_stay_on_disk_where_they_are(tmp_path: Path) -> None:
    swapped = arrays.to_arrays(ROWS.astype(">f4"), "x")
    assert swapped.dtype.isnative and swapped.dtype == np.float32
    np.testing.assert_array_equal(swapped, ROWS)
    mapped = np.memmap(tmp_path / "x", dtype="float32", mode="w+", shape=(3, 2))
    assert arrays.to_arrays({"a": mapped}, "x")["a"] is mapped
    digits = np.array([["1", 2], [3.5, True]], object)
    np.testing.assert_array_equal(arrays.to_arrays(digits, "x"), [[1, 2], [3.5, 1]])
    only_nan = np.full((2, 1), np.nan)
    assert np.isnan(arrays.to_arrays(only_nan, "x", finite=False)).all()


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("x", "pass a pandas DataFrame to fit"),
        ("validation_data: x['wide']", "pass a pandas DataFrame to fit"),
        ("y[0]", "use a Classifier if these are labels"),
        ("sample_weight", "pass numbers"),
    ],
)
def test_text_among_numbers_is_answered_by_what_the_argument_is_for(
    name: str, instead: str
) -> None:
    message = f"^{re.escape(name)} contains text such as 'blue'; .*{instead}"
    with pytest.raises(ValueError, match=message):
        arrays.numeric(np.array([["1.5", "blue"]], object), name)


def test_the_first_number_that_is_not_finite_is_found_far_behind_the_first_rows() -> None:
    x = np.zeros((150_000, 2), np.float32)
    x[140_000, 1] = np.inf
    x[149_999, 0] = np.nan
    message = r"contains infinity \(inf\), first at x\['a'\]\[140000, 1\]; drop such rows"
    with pytest.raises(ValueError, match=message):
        arrays.check_finite(x, "validation_data: x['a']")


def test_a_number_is_too_large_for_x_before_it_is_for_y() -> None:
    large = np.array([1.0, -1e19])
    arrays.check_finite(large, "y")
    with pytest.raises(ValueError, match=r"x contains -1e\+19, first at x\[1\], and the limit is"):
        arrays.check_finite(large, "x")
    with pytest.raises(ValueError, match=r"y contains 1e\+39, .*choose a larger unit"):
        arrays.check_finite(large * -1e20, "y")


def test_parts_of_unequal_length_are_listed_with_their_rows() -> None:
    assert arrays.length({"a": ROWS, "b": (ROWS[:, 0],)}, "x") == 3
    message = r"^x: the parts differ in number of rows: x\['a'\] has 3, x\['b'\]\[0\] has 2$"
    with pytest.raises(ValueError, match=message):
        arrays.length({"a": ROWS, "b": (ROWS[:2],)}, "x")


def test_the_batches_of_a_stream_are_joined_and_their_bytes_become_text() -> None:
    first = {"n": np.array([1, 2]), "t": np.array(["é".encode(), b"b"], object)}
    joined = arrays.concatenate([first, {"n": np.array([3]), "t": np.array([b"long"], object)}])
    assert joined["n"].tolist() == [1, 2, 3]
    assert joined["t"].tolist() == ["é", "b", "long"]


def test_rows_are_taken_from_frames_by_position_and_not_by_label() -> None:
    frame = pd.DataFrame({"a": [10, 20, 30]}, index=[2, 1, 0])
    taken = arrays.take((frame, ROWS), np.array([2, 0]))
    assert taken[0]["a"].tolist() == [30, 10]
    assert taken[1].tolist() == [[4, 5], [0, 1]]


def test_weights_of_several_outputs_take_the_structure_and_order_of_y() -> None:
    y = {"b": np.zeros((3, 4, 1)), "a": np.zeros(3)}
    given = {"a": [1, 2, 3], "b": np.ones((3, 4), int)}
    found = arrays.weights(given, 3, y)
    assert found is not None and list(found) == ["b", "a"]
    assert found["a"].tolist() == [1, 2, 3] and found["b"].shape == (3, 4)
    assert found["a"].dtype == found["b"].dtype == np.float64
    assert arrays.weights(None, 3, y) is None
    with pytest.raises(ValueError, match="has the parts .*'a'.*, but y has the outputs .*'b'"):
        arrays.weights({"a": [1, 2, 3]}, 3, y)
    with pytest.raises(ValueError, match="but y has a single output; pass one array of weights"):
        arrays.weights({"a": [1, 2, 3]}, 3, np.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(3, 5\).*\(3,\), or per step, shape \(3, 4\)"):
        arrays.weights(np.ones((3, 5)), 3, y["b"])


def test_a_shape_is_told_from_a_structure_of_shapes() -> None:
    assert arrays.is_shape((None, 3)) and arrays.is_shape(())
    assert not arrays.is_shape(((3,), (4,))) and not arrays.is_shape([3])
    nested = {"a": (3,), "b": ((2, None), ())}
    assert arrays.map_shapes(len, nested) == {"a": 1, "b": (2, 0)}


def test_a_dict_without_parts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x\['a'\]=\{\}: has no parts; pass an array"):
        arrays.to_arrays({"a": {}}, "x")
    with pytest.raises(ValueError, match=r"x=\{\}: has no parts"):
        Classifier(epochs=1).fit({}, [0, 1])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ({1: ROWS}, [0, 1, 1], "x: the key 1 must be text without '/', .* write '1'"),
        ({"a/b": ROWS}, [0, 1, 1], "x: the key 'a/b' .* write 'a_b'"),
        ((ROWS, {2: ROWS}), [0, 1, 1], r"x\[1\]: the key 2"),
        (ROWS, {1: np.array([0, 1, 1])}, "y: the key 1 must be text"),
    ],
)
@pytest.mark.parametrize("estimator", [Classifier, Regressor])
def test_keys_that_keras_does_not_take_as_names_are_refused(
    x: Any, y: Any, message: str, estimator: Any
) -> None:
    with pytest.raises(ValueError, match=message):
        estimator(epochs=1, model="mlp").fit(x, y)
