"""A run's model, without resuming the run: of a finished one, or as far as it got.

Responsible for which file and which state of a run directory `Trainer.load` reads. Not for writing
them (`directory`, `checkpointing`), or for the files' formats (`saving`, `state_file`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.history import History
from trainer.network.build import batch_spec
from trainer.runs.directory import START, RunError, status
from trainer.state import plain
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
        weights: The best weights, to set after that; None to leave those of the state.
    """

    file: Path
    state: State | None = None
    weights: list[np.ndarray] | None = None


def find(folder: Path, which: str = "last") -> Found:
    """Return what to load of a run directory.

    Args:
        folder: The run directory.
        which: "last", or "best" for the best epoch that a callback of the run has kept.

    Raises:
        RunError: There is no run in it, or it has neither a model nor a state; or no callback has
            kept a best epoch.
        BadState: None of its states can be used.
    """
    identity, finished = status(folder)
    model, start = folder / "model.keras", folder / START
    if model.is_file() and (finished or not start.is_file()):
        # while it is being finished, it has both or only the model
        state = _last(folder, identity) if which == "best" else None
        with _damaged():
            kept = None if state is None else _checkpoint(folder, state)
        return Found(kept or model)
    if not start.is_file():
        raise RunError(
            f"path={str(folder)!r}: this run has no model yet that could be loaded; resume it: "
            "repeat the call of fit with this run_dir"
        )
    state = _last(folder, identity)
    if state is None:
        raise RunError(
            f"path={str(folder)!r}: this run has saved no state yet; repeat the call of fit with "
            "this run_dir to resume it"
        )
    if which == "last":
        return Found(start, state)
    with _damaged():
        kept, weights = _checkpoint(folder, state), _best_weights(state)
    if kept is None and weights is None:
        raise RunError(
            f"path={str(folder)!r}: no callback of this run has kept a best epoch yet; write "
            "state='last', or train with callbacks=['checkpoint'] or 'early_stopping'"
        )
    return Found(start, state, weights) if kept is None else Found(kept)


@contextlib.contextmanager
def _damaged() -> Iterator[None]:
    """Turn what a damaged state raises where it is read into one error."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadState):
            raise
        raise BadState(f"the run's state is damaged ({type(error).__name__}: {error})") from error


def _last(folder: Path, identity: str) -> State | None:
    return StateFolder(folder / "checkpoints", identity, lambda: False).last()


def _kept(state: State, name: str) -> dict[str, Any]:
    """Return what a callback of a class has saved in a state; empty if there is none."""
    values, tensors = state
    for entry in values["callbacks"]:
        if entry["class"] == name:
            found = plain.decode(entry["state"], tensors)
            return found if isinstance(found, dict) else {}
    return {}


def _checkpoint(folder: Path, state: State) -> Path | None:
    """Return the file of the best epoch that the plugin checkpoint has kept, or None."""
    kept = _kept(state, "Checkpoint").get("kept") or [{}]
    name = str(kept[0].get("file", ""))  # the best comes first
    file = folder / "checkpoints" / Path(name).name
    return file if name and file.is_file() else None


def _best_weights(state: State) -> list[np.ndarray] | None:
    """Return the best weights that early stopping has kept, or None."""
    found = _kept(state, "EarlyStopping")
    weights = found.get("inner", found).get("best_weights")
    return weights if isinstance(weights, list) and weights else None


def restore(network: Network, found: Found) -> History:
    """Give a network that training started with the weights of a state; return the history.

    Raises:
        BadState: The state does not fit the network.
    """
    assert found.state is not None
    values, tensors = found.state
    network.make_variables(batch_spec(network.inputs, network.targets, network.float_dtype))
    with _damaged():
        restore_variables(network.core, values["variables"], tensors)
    if found.weights is not None:
        try:
            network.whole.set_weights(found.weights)
        except ValueError as error:
            raise BadState(
                f"the best weights in its state do not fit the model ({error})"
            ) from error
    history = History()
    with _damaged():
        history.records[:] = [dict(record) for record in values["history"]]
        history.rate_logged = values.get("rate_logged", False)
    return history
