"""Answers concurrent requests together: all that are waiting when the model becomes free.

Responsible for the queue, for one thread that predicts, and for giving each request its own rows.
Not for HTTP (`server`), or for what is predicted (`rows`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

Answer = Any  # what the predictions of some rows are


@dataclass(frozen=True)
class _Waiting:
    x: Any
    rows: int
    key: Any
    future: asyncio.Future[Answer]


class Batches:
    """The requests that wait for the model.

    Args:
        predict: Called in a thread of its own with the rows of several requests, and with how many
            each has; returns an answer for each.
        most_rows: The most rows of one call, unless a single request has more.
        observe: Called with the number of rows of each call.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[Any], Sequence[int]], Sequence[Answer]],
        most_rows: int,
        observe: Callable[[int], None],
    ) -> None:
        self._predict = predict
        self._most_rows = most_rows
        self._observe = observe
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "predict")

    async def answer(self, x: Any, rows: int, key: Any) -> Answer:
        """Wait for the answer to a request.

        Args:
            x: Its rows.
            rows: How many there are.
            key: Only requests with an equal key are answered together.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(x, rows, key, future))
        self._wake.set()
        return await future

    async def run(self) -> None:
        """Answer requests, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._wake.wait()
                batch = self._take()
                if not batch:
                    self._wake.clear()
                    continue
                self._observe(sum(one.rows for one in batch))
                outcomes = await loop.run_in_executor(self._thread, self._work, batch)
                for one, outcome in zip(batch, outcomes, strict=True):
                    if one.future.done():  # the client has gone
                        continue
                    if isinstance(outcome, Exception):
                        one.future.set_exception(outcome)
                    else:
                        one.future.set_result(outcome)
        finally:
            self._thread.shutdown(wait=False)

    def _take(self) -> list[_Waiting]:
        """Take the first request, and those behind it that can be answered with it."""
        taken: list[_Waiting] = []
        passed: list[_Waiting] = []
        rows = 0
        while self._waiting:
            one = self._waiting.popleft()
            if one.future.done():
                continue
            if taken and (one.key != taken[0].key or rows + one.rows > self._most_rows):
                passed.append(one)
                continue
            taken.append(one)
            rows += one.rows
            if rows >= self._most_rows:
                break
        self._waiting.extendleft(reversed(passed))
        return taken

    def _work(self, batch: list[_Waiting]) -> Sequence[Answer | Exception]:
        try:
            return self._predict([one.x for one in batch], [one.rows for one in batch])
        except Exception as error:
            if len(batch) == 1:
                return [error]
        # One request must not fail for another: each by itself.
        return [self._work([one])[0] for one in batch]
