"""Rows in JSON for arrays: their schema, their errors, and predictions as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from trainer.data.inputs import Inputs
from trainer.data.records import WrongRow
from trainer.serving import rows


def of(x: Any) -> rows.Rows:
    return rows.of(Inputs.learn(x, normalize=None))


PAIR = {"wide": np.zeros((2, 3), "float32"), 7: np.zeros((2,), "int8")}


def test_the_schema_has_lengths_limits_and_the_parts_of_a_row() -> None:
    schema = of(PAIR).schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["required"] == ["wide", "7"] and schema["additionalProperties"] is False
    assert schema["properties"] == {
        "wide": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3},
        "7": {"type": "integer", "minimum": -128, "maximum": 127},
    }
    several = of((np.zeros((2, 1), bool), np.array(["a", "b"], object))).schema()
    assert (several["minItems"], several["maxItems"]) == (2, 2)
    assert several["prefixItems"][0]["items"] == {"type": ["boolean", "integer"]}
    assert several["prefixItems"][1] == {"type": "string"}


def test_rows_become_arrays_of_the_dtypes_and_keys_of_training() -> None:
    reader = of(PAIR)
    found = reader.read([{"7": 5, "wide": [1, 2, 3]}, {"7": -128, "wide": [4, 5, 6.5]}])
    assert found[7].dtype == np.int8 and found[7].tolist() == [5, -128]
    assert found["wide"].tolist() == [[1, 2, 3], [4, 5, 6.5]]
    joined = reader.joined([found, found])
    assert len(joined[7]) == len(joined["wide"]) == 4


@pytest.mark.parametrize(
    ("change", "said", "column"),
    [
        ({"7": 128}, r"rows\[1\]\['7'\] is 128: must be whole numbers from -128 to 127", "7"),
        ({"7": 0.5}, r"rows\[1\]\['7'\] is 0.5: must be whole numbers", "7"),
        ({"7": "5"}, r"rows\[1\]\['7'\] is '5': must be a whole number", "7"),
        ({"7": None}, r"rows\[1\]\['7'\] is None: must be a whole number", "7"),
        (
            {"wide": [1, 2]},
            r"\['wide'\] is \[1, 2\]: must be a list of numbers, of shape \(3,",
            "wide",
        ),
        (
            {"wide": [1, 2, 1e19]},
            r"\['wide'\]\[2\] is 1e\+19: must be numbers up to 1e\+18",
            "wide",
        ),
        ({"wide": [1, 2, 10**400]}, r"rows\[1\]\['wide'\] is \[1, 2, 1000", "wide"),
        ({"deep": 1}, r"rows\[1\] has 'deep': must be an object with \['wide', '7'\]", "deep"),
    ],
    ids=str,
)
def test_a_wrong_part_is_named_by_row_and_column(
    change: dict[str, Any], said: str, column: str
) -> None:
    good = {"wide": [1, 2, 3], "7": 1}
    with pytest.raises(WrongRow, match=said) as caught:
        of(PAIR).read([good, {**good, **change}])
    assert (caught.value.row, caught.value.column) == (1, column)


def test_a_part_that_is_left_out_or_no_list_of_parts_is_named() -> None:
    with pytest.raises(WrongRow, match=r"rows\[0\] lacks '7': must be an object"):
        of(PAIR).read([{"wide": [1, 2, 3]}])
    several = of((np.zeros((2, 1)), np.array(["a", "b"], object)))
    with pytest.raises(WrongRow, match=r"rows\[0\] is \[\[1\]\]: must be a list of 2 parts"):
        several.read([[[1]]])
    with pytest.raises(WrongRow, match=r"rows\[0\]\[1\] is 3: must be text") as caught:
        several.read([[[1], 3]])
    assert caught.value.column == 1


def test_rows_of_open_length_are_joined_with_those_of_the_same_length_only() -> None:
    inputs = Inputs(shapes=(None, 2), dtypes="float32", scaling={})
    reader = rows.of(inputs)
    assert "minItems" not in reader.schema() and reader.schema()["items"]["minItems"] == 2
    short, long = reader.read([[[1, 2]]]), reader.read([[[1, 2], [3, 4]]])
    assert reader.together(short) != reader.together(long)
    assert reader.together(long) == reader.together(long[:0])
    with pytest.raises(WrongRow, match="the rows differ in length; send those of one length"):
        reader.read([[[1, 2]], [[1, 2], [3, 4]]])


def test_what_json_has_not_becomes_null_and_structure_stays() -> None:
    found = rows.as_json({1: (np.array([[1.5, np.nan]]), np.array([np.inf, 2])), "b": np.int8(3)})
    assert found == {"1": [[[1.5, None]], [None, 2.0]], "b": 3}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert rows.as_json(np.float32("nan")) is None
