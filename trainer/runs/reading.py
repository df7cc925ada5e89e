"""A run's model, without resuming the run: of a finished one, or as far as it got.

Responsible for which file and which state of a run directory `Trainer.load` reads. Not for writing
them (`directory`, `checkpointing`), or for the files' formats (`saving`, `state_file`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.history import History
from trainer.network.build import batch_spec
from trainer.runs.directory import START, RunError, status
from trainer.state.state_file import BadState, StateFolder
from trainer.state.variables import restore_variables

if TYPE_CHECKING:
    from trainer.network.network import Network
    from trainer.runs.checkpointing import State


@dataclass(frozen=True)
class Found:
    """What to load of a run.

    Attributes:
        file: A file written by `saving.save`: the finished model, or the one training started with.
        state: The state to restore in it, or None.
    """

    file: Path
    state: State | None


def find(folder: Path) -> Found:
    """Return what to load of a run directory.

    Raises:
        RunError: There is no run in it, or it has neither a model nor a state.
        BadState: None of its states can be used.
    """
    identity, finished = status(folder)
    model, start = folder / "model.keras", folder / START
    if model.is_file() and (finished or not start.is_file()):
        return Found(model, None)  # while it is being finished, it has both or only the model
    if not start.is_file():
        raise RunError(
            f"path={str(folder)!r}: this run has no model yet that could be loaded; resume it: "
            "repeat the call of fit with this run_dir"
        )
    state = StateFolder(folder / "checkpoints", identity, lambda: False).last()
    if state is None:
        raise RunError(
            f"path={str(folder)!r}: this run has saved no state yet; repeat the call of fit with "
            "this run_dir to resume it"
        )
    return Found(start, state)


def restore(network: Network, state: State) -> History:
    """Give a network that training started with the weights of a state; return the history.

    Raises:
        BadState: The state does not fit the network.
    """
    values, tensors = state
    network.make_variables(batch_spec(network.inputs, network.targets, network.float_dtype))
    restore_variables(network.core, values["variables"], tensors)
    history = History()
    try:
        history.records[:] = [dict(record) for record in values["history"]]
    except (TypeError, ValueError, KeyError) as error:
        raise BadState(f"its history is damaged ({error})") from error
    return history
