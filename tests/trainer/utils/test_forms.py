"""JSON of files that nobody vouches for: within limits, and one error that names the entry."""

from __future__ import annotations

import re
from typing import Any

import pytest

from trainer.utils import forms
from trainer.utils.forms import Malformed


def test_what_json_writes_is_read() -> None:
    assert forms.parse(b'{"a": [1, null, "\xc3\xa4", NaN]}')["a"][:3] == [1, None, "ä"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 65 + b"]" * 65, "is nested deeper than 64 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "is nested deeper than 64 levels"),
        (b"[" + b"0," * 700_000 + b"0]", "holds more than .* values"),
        (rb'"\ud800"', "which is not valid text"),
    ],
    ids=["cut off", "not UTF-8", "deep", "deeper than Python", "many values", "half a letter"],
)
def test_other_text_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        forms.parse(text)


def test_a_long_value_is_shown_by_its_beginning() -> None:
    assert forms.shown(list(range(1000))) == "[0, 1, 2]"
    assert len(forms.shown("x" * 1000)) == 80


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: forms.mapping("a", []), "a is []; it must be a dict"),
        (lambda: forms.mapping("a", {"b": 1}, ["c"]), "a lacks 'c'"),
        (lambda: forms.items("a", {}), "a is {}; it must be a list"),
        (lambda: forms.items("a", [1], 2), "a is [1]; it must be a list of 2, not 1"),
        (lambda: forms.text("a", 1), "a is 1; it must be text"),
        (lambda: forms.text("a", "c", ["b"]), "a is 'c'; it must be one of 'b'"),
        (lambda: forms.whole("a", True), "a is True; it must be a whole number from 0"),
        (lambda: forms.whole("a", 1.0), "a is 1.0; it must be a whole number"),
        (lambda: forms.whole("a", 3, 0, 2), "a is 3; it must be a whole number from 0 to 2"),
        (lambda: forms.number("a", float("nan")), "a is nan; it must be a finite number"),
        (lambda: forms.number("a", 10**400), "it must be a finite number"),
        (lambda: forms.number("a", 0, above=0), "a is 0; it must be a finite number above 0"),
        (lambda: forms.flag("a", 1), "a is 1; it must be true or false"),
        (lambda: forms.no_others("a", {"b": 1}, ["c"]), "a has 'b', which we do not write"),
    ],
)
def test_an_entry_of_another_kind_is_named_with_what_it_must_be(check: Any, message: str) -> None:
    with pytest.raises(Malformed, match=re.escape(message)):
        check()


def test_an_entry_of_the_right_kind_is_returned() -> None:
    assert forms.mapping("a", {"b": 1}, ["b"]) == {"b": 1}
    assert forms.items("a", [1, 2], 2) == [1, 2]
    assert forms.text("a", "b", ["b"]) == "b"
    assert forms.whole("a", 2, 0, 2) == 2
    assert forms.number("a", 1) == 1.0 and isinstance(forms.number("a", 1), float)
    assert forms.flag("a", False) is False
