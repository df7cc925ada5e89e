"""Numbers written for people, and what only looks like them."""

import pytest

from trainer.utils.written_numbers import find_written_numbers


def found(values, others=0.0):
    return find_written_numbers(values, [1] * len(values), "s", others)


def test_the_expression_converts_only_what_occurs():
    assert found(["3,5", "4"]).code == "pd.to_numeric(s.str.replace(',', '.'))"
    assert found(["1,200.5", "4"]).code == "pd.to_numeric(s.str.replace(',', ''))"
    assert found(["1.200,5", "4"]).code == (
        "pd.to_numeric(s.str.replace('.', '').str.replace(',', '.'))"
    )
    assert found(["$3", "-$4.5"]).code == "pd.to_numeric(s.str.replace('$', ''))"
    assert found(["3%", "4"]).code == "pd.to_numeric(s.str.replace('%', ''))"


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["1.5", "2"],  # pandas reads these
        ["3 kg", "4"],  # of what?
        ["3 kg", "4 g"],
        ["3,5", "4.5"],
        ["$3", "€4"],
        ["3,5", "four"],
        ["--3,5", "-3,5"],
        ["3,5 %%"],
        ["007 kg"],
        ["12 AM", "11 AM"],
        ["5 号"],
        ["600 123 456", "601 123 457"],
        ["192.168.100.100", "10.100.100.100"],
        ["1,2,3"],
    ],
)
def test_other_text_is_no_column_of_numbers(values):
    assert found(values) is None


def test_as_many_other_values_as_allowed_are_no_hindrance():
    values = ["3,5", "4,5", "?", "5,5"]
    assert found(values) is None
    numbers = found(values, others=1)
    assert (numbers.example, numbers.other) == ("3,5", "?")
    assert numbers.code == "pd.to_numeric(s.str.replace(',', '.'), errors='coerce')"
