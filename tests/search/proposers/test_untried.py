"""The points of a small space that were not tried: which is nearest, and when none is left."""

from __future__ import annotations

import pytest

from search.proposers import untried
from search.proposers.untried import Untried
from search.space import Space
from trainer import Bool, Choice, Float, Int

LINE = Space({"n": Int(1, 9)})


def test_a_point_that_was_not_tried_needs_no_other() -> None:
    found = Untried(LINE)
    assert found.instead_of({"n": 4}, 0) is None
    found.take({"n": 4})
    assert found.instead_of({"n": 4}, 0) in ({"n": 3}, {"n": 5})
    assert found.instead_of({"n": 5}, 0) is None


def test_the_nearest_number_comes_first_and_a_seed_decides_between_equals() -> None:
    found = Untried(LINE)
    for n in (3, 4, 5):
        found.take({"n": n})
    assert found.instead_of({"n": 3}, 0) == {"n": 2}
    chosen = [found.instead_of({"n": 4}, seed) for seed in range(20)]
    assert chosen == [found.instead_of({"n": 4}, seed) for seed in range(20)]
    assert {point["n"] for point in chosen if point} == {2, 6}


def test_a_category_is_farther_than_any_number_and_all_categories_are_equally_far() -> None:
    space = Space({"kind": Choice("a", "b", "c"), "n": Int(1, 3)})
    found = Untried(space)
    found.take({"kind": "a", "n": 1})
    assert found.instead_of({"kind": "a", "n": 1}, 0) == {"kind": "a", "n": 2}
    for n in (2, 3):
        found.take({"kind": "a", "n": n})
    chosen = [found.instead_of({"kind": "a", "n": 2}, seed) for seed in range(20)]
    assert {point["kind"] for point in chosen if point} == {"b", "c"}
    assert {point["n"] for point in chosen if point} == {2}


def test_a_parameter_that_only_one_point_has_counts_as_a_category() -> None:
    space = Space({"flag": Bool(), "n": Int(1, 2, when={"flag": (True,)})})
    found = Untried(space)
    found.take({"flag": False})
    assert found.instead_of({"flag": False}, 0) in ({"flag": True, "n": 1}, {"flag": True, "n": 2})
    found.take({"flag": True, "n": 1})
    assert found.instead_of({"flag": True, "n": 1}, 0) == {"flag": True, "n": 2}


def test_it_is_finished_when_every_point_was_taken_and_not_after_it_is_cleared() -> None:
    found = Untried(Space({"a": Choice(1, True, "1")}))
    for value in (1, True, "1"):
        assert not found.finished
        found.take({"a": value})
        found.take({"a": value})
    assert found.finished
    found.clear()
    assert not found.finished and found.instead_of({"a": 1}, 0) is None


def test_what_it_returns_is_a_point_of_the_callers_own() -> None:
    found = Untried(LINE)
    found.take({"n": 1})
    changed = found.instead_of({"n": 1}, 0)
    assert changed is not None
    changed["n"] = 100
    assert found.instead_of({"n": 1}, 0) == {"n": 2}


@pytest.mark.parametrize(
    "space",
    [Space({"x": Float(0.0, 1.0)}), Space({"n": Int(1, untried.MOST + 1)})],
    ids=["numbers", "many points"],
)
def test_a_large_space_is_never_used_up(space: Space) -> None:
    found = Untried(space)
    point = {name: domain.low for name, domain in space.domains.items()}  # type: ignore[attr-defined]
    found.take(point)
    assert not found.finished and found.instead_of(point, 0) is None
