"""Variables, generators and attributes that Keras does not list have their place in a state."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import own_states
import pytest

from trainer.callbacks.callback import Callback


class Stopped(Exception):
    """What ends a training from without."""


class Stop(Callback):
    """Raises when so many batches were trained in this process."""

    every_n_batches = 2
    after: int | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self.left = self.after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.left is not None:
            self.left -= 2
            if self.left <= 0:
                raise Stopped

    def state_dict(self) -> dict[str, Any]:
        return {}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}  # when it stops is no setting of the run


def train(kind: str, folder: Path, *stops: int, **fields: Any) -> Any:
    """Train to the end, each time stopped after so many batches and begun with new objects."""
    for after in (*stops, None):
        trainer = own_states.make(kind, [Stop(after=after)], run_dir=str(folder), **fields)
        try:
            own_states.fit(trainer)
        except Stopped:
            continue
        assert after is None, "it was over before it was stopped"
    return trainer


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("kind", own_states.KINDS)
def test_a_stopped_training_with_state_of_its_own_goes_on_to_the_same_bytes(
    kind: str, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "callbacks=|plain Keras")  # not written to a file
        warnings.filterwarnings("error", "resuming this run will not be exact")
        warnings.filterwarnings("error", ".*anew")
        alone = own_states.numbers(train(kind, tmp_path / "alone"))
        stopped = own_states.numbers(train(kind, tmp_path / "stopped", 4, 6))
    assert stopped == alone
    log = (tmp_path / "stopped" / "run.log").read_text()
    assert log.count("goes on from epoch") == 2 and "step" in log
