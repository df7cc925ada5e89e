"""What the tests of plugins share: runs that are interrupted, and go on to the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Place = tuple[int, int]
STEPS_A_DISPATCH = 2


class Interrupted(Exception):
    """Raised by the tests in the place of a kill."""


@pytest.fixture
def short_dispatches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps a dispatch, and the state saved after each dispatch and each epoch."""
    from trainer.engine.tensorflow import plan
    from trainer.runs import checkpointing

    monkeypatch.setattr(plan, "MAX_CHUNK", STEPS_A_DISPATCH)
    # below 0, and not 0: the cost is infinite while the state before is being written
    monkeypatch.setattr(checkpointing, "SECONDS_PER_SAVING_SECOND", -1)


@pytest.fixture
def interrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_dispatches: None
) -> Callable[..., tuple[Any, Any]]:
    """Trains once without a break, and once with breaks, and checks that both end alike.

    `interrupted_run(make, x, y, at=[(1, 2), (2, 0)], validation_data=...)` calls `make(run_dir)`
    for a new Trainer for every fit, as a new process would. Where the training has come to a place
    of `at` and its state is saved, the fit is ended by an exception, and the next fit goes on from
    there. A dispatch has two steps, and states are saved after each. Anything that the run then
    shows beside its numbers can be asserted on the pair of Trainers that is returned.

    Args of the function:
        make: gives a Trainer whose field run_dir is its argument, with random_state set.
        x, y: as for fit; more keywords, such as validation_data, go to fit too.
        at: places (epoch, step) in order: both counted from 0, step an even number of steps that
            are done, all of an epoch's for the place before its validation, and 0 for the place
            after the epoch before it has ended.

    Returns of the function:
        The Trainer of the whole run and that of the resumed run. Their weights, optimizers'
        variables, seeds and histories (but for the seconds) are equal to the bit: this is asserted.
    """
    from trainer.runs.checkpointing import Checkpointer

    def run(
        make: Callable[[str], Any], x: Any, y: Any, *, at: Sequence[Place], **fit: Any
    ) -> tuple[Any, Any]:
        def fitted(folder: str, place: Place | None = None) -> Any:
            trainer = make(str(tmp_path / folder)).set_params(save_steps=STEPS_A_DISPATCH)
            with monkeypatch.context() as patch:
                patch.setattr(Checkpointer, "passed", _ending_at(Checkpointer.passed, place))
                return trainer.fit(x, y, **fit)

        whole = fitted("whole")
        for place in at:
            with pytest.raises(Interrupted):
                fitted("resumed", place)
        resumed = fitted("resumed")
        assert_same_bytes(whole, resumed)
        return whole, resumed

    return run


def _ending_at(passed: Callable[..., None], place: Place | None) -> Callable[..., None]:
    def passed_or_ended(keeper: Any, position: Any) -> None:
        passed(keeper, position)
        if (position.epoch, position.step) == place:
            raise Interrupted

    return passed_or_ended


def assert_same_bytes(one: Any, other: Any) -> None:
    """Two fitted Trainers have the same variables and the same history, but for the seconds."""
    from trainer.state.variables import variables

    ours, theirs = (variables(t._network.core) for t in (one, other))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        left, right = np.asarray(a), np.asarray(b)
        assert left.dtype == right.dtype and left.tobytes() == right.tobytes(), a.path
    histories = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in t.history_.records]
        for t in (one, other)
    ]
    assert repr(histories[0]) == repr(histories[1])
