"""Requests that wait for the model: which are answered together, in which order, and by whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from trainer.serving.batching import Batches

Request = tuple[Any, int, Any]  # x, rows, key


def answered(
    requests: Sequence[Request], most_rows: int, wrong: Sequence[Any] = ()
) -> tuple[list[list[Any]], list[int], list[Any]]:
    """The calls of the model, the rows of each, and the answers to requests that all wait."""
    calls: list[list[Any]] = []
    rows: list[int] = []

    def predict(xs: Sequence[Any], counts: Sequence[int]) -> list[Any]:
        calls.append(list(xs))
        assert threading.current_thread() is not threading.main_thread()
        for x in xs:
            if x in wrong:
                raise ValueError(f"{x} is wrong")
        return [(x, n) for x, n in zip(xs, counts, strict=True)]

    async def both() -> list[Any]:
        batches = Batches(predict, most_rows, rows.append)
        waiting = [asyncio.ensure_future(batches.answer(*each)) for each in requests]
        await asyncio.sleep(0)  # all of them stand in the queue
        running = asyncio.ensure_future(batches.run())
        found = await asyncio.gather(*waiting, return_exceptions=True)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return found

    return calls, rows, asyncio.run(both())


def test_requests_are_answered_together_up_to_the_most_rows() -> None:
    calls, rows, found = answered([("a", 2, 0), ("b", 2, 0), ("c", 1, 0)], most_rows=4)
    assert calls == [["a", "b"], ["c"]] and rows == [4, 1]
    assert found == [("a", 2), ("b", 2), ("c", 1)]


def test_a_request_with_more_rows_than_the_most_is_answered_alone_and_whole() -> None:
    calls, rows, found = answered([("a", 1, 0), ("large", 9, 0), ("b", 1, 0)], most_rows=4)
    assert calls == [["a", "b"], ["large"]] and rows == [2, 9]
    assert found == [("a", 1), ("large", 9), ("b", 1)]


def test_requests_of_different_keys_are_not_joined_and_keep_their_order() -> None:
    given = [("a", 1, "short"), ("b", 1, "long"), ("c", 1, "short"), ("d", 1, "long")]
    calls, _, found = answered(given, most_rows=100)
    assert calls == [["a", "c"], ["b", "d"]]
    assert [x for x, _ in found] == ["a", "b", "c", "d"]


def test_a_request_that_fails_does_not_fail_those_that_were_answered_with_it() -> None:
    calls, rows, found = answered([("a", 1, 0), ("b", 1, 0), ("c", 1, 0)], 9, wrong=["b"])
    assert calls == [["a", "b", "c"], ["a"], ["b"], ["c"]] and rows == [3]
    assert found[0] == ("a", 1) and found[2] == ("c", 1)
    with pytest.raises(ValueError, match="b is wrong"):
        raise found[1]


def test_a_request_whose_client_has_gone_is_not_predicted() -> None:
    seen: list[Any] = []

    async def go() -> Any:
        batches = Batches(lambda xs, rows: seen.extend(xs) or list(xs), 9, lambda rows: None)
        gone, stays = (asyncio.ensure_future(batches.answer(x, 1, 0)) for x in ("gone", "stays"))
        await asyncio.sleep(0)
        gone.cancel()
        running = asyncio.ensure_future(batches.run())
        found = await stays
        running.cancel()
        await asyncio.gather(running, gone, return_exceptions=True)
        return found

    assert asyncio.run(go()) == "stays"
    assert seen == ["stays"]
