"""chunks: batches of one dispatch, counted, and as they were made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from trainer.engine.chunks import MANY, RowsChunk, StreamChunk


def test_the_steps_of_a_chunk_of_rows_are_its_batches() -> None:
    indices = np.arange(6, dtype=np.int32).reshape(3, 2)
    chunk = RowsChunk(data=(np.zeros((6, 4)),), indices=indices, even=True)
    assert chunk.steps == 3
    assert chunk.whole is None, "the rows are those of the whole batch"
    assert RowsChunk((np.zeros(6),), indices[:0], even=True).steps == 0


def test_no_limit_of_steps_is_above_any_number_of_batches() -> None:
    chunk = StreamChunk(iter(()), steps=MANY, before=0, explain=lambda error, step: None)
    assert chunk.steps > 10**15
    assert range(chunk.steps), "and is still a length of Python's"


def test_a_chunk_does_not_change_once_it_is_made() -> None:
    chunk = RowsChunk((np.zeros(6),), np.zeros((1, 6), np.int32), even=False, whole=12)
    with pytest.raises(dataclasses.FrozenInstanceError):
        chunk.whole = 6  # type: ignore[misc]
