"""The plugin that saves the models of the best and of the last epochs.

Responsible for which epochs are kept, and for restoring the best one at the end. Not for the file
format (`trainer.saving`), nor for the state that a run resumes from (`trainer.runs.checkpointing`).
"""

from __future__ import annotations

import glob
import math
import re
import time
import warnings
from pathlib import Path
from typing import Any

from trainer.callbacks import folders, monitored
from trainer.callbacks.callback import Callback, Session
from trainer.engine.loop import as_floats, learning_rate
from trainer.utils.checks import boolean, integer


class Checkpoint(Callback):
    """Keeps the best and the last epochs as .keras files, for Trainer.load and for plain Keras.

    Files are named like epoch-0012-val_loss-0.1234.keras, with epochs counted from 1. Writing one
    takes about 50 ms for a small model, and as long as the disk needs for a large one. A resumed
    run keeps the same files as an uninterrupted one.

    If a file cannot be written, for example because the disk is full, a warning says so; training
    continues, and existing files are kept.

    Attributes:
        keep: how many of the best epochs to keep; 0 for none. Of equal epochs the first is the
            best; epochs whose value is NaN are never among them.
        last: how many of the last epochs to keep.
        monitor: the log that decides which epoch is best. None: val_loss with validation data,
            otherwise loss.
        mode: "min" if lower is better, "max" if higher. None: inferred from the log's name.
        folder: where to write. None: checkpoints/ in the run's folder. It is an error if it holds
            checkpoints of another run; they are neither overwritten nor deleted.
        restore_best: whether to restore the weights and the optimizer state of the best epoch at
            the end of the training.

    After training, `kept` lists the kept epochs, the best first, as dicts of epoch (counted from
    1), value and file; `best` is the path of the first, or None.
    """

    PATHS = ("folder",)

    keep: int = 1
    last: int = 0
    monitor: str | None = None
    mode: str | None = None
    folder: str | Path | None = None
    restore_best: bool = False

    def check(self) -> None:
        """Raise an error for a bad field."""
        integer("keep", self.keep, low=0, example=3)
        integer("last", self.last, low=0, example=2)
        boolean("restore_best", self.restore_best)
        if not self.keep and not self.last:
            raise ValueError("keep=0: with last=0 nothing is kept; write keep=1, or last=1")
        if self.restore_best and not self.keep:
            raise ValueError("restore_best=True: with keep=0 the best is not kept; write keep=1")
        monitored.check(self.monitor, self.mode)

    def setup(self, session: Session) -> None:
        """Choose the log, and claim the folder."""
        self._log = monitored.choose(self.monitor, session)
        self._mode = monitored.direction(self._log, self.mode) if self.keep else "min"
        path = folders.place("folder", self.folder, "checkpoints", session)
        name = glob.escape(_in_name(self._log))
        self._own = folders.OwnFolder("folder", path, session, [f"epoch-[0-9]*-{name}-*.keras"])
        self._folder = self._own.path

    def teardown(self) -> None:
        """Release the folder."""
        own = self.__dict__.pop("_own", None)
        if own is not None:
            own.release()

    def on_train_begin(self, logs: Any = None) -> None:
        """Start with no kept epochs."""
        self.kept: list[dict[str, Any]] = []
        self._rate: float | None = None
        self._began = math.nan

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the time, for the history in the file."""
        self._began = time.perf_counter()

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Note the learning rate: another callback may change it at the end of the epoch."""
        self._rate = learning_rate(self.session.network.core)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the epoch's file if it qualifies, then delete those that no longer do."""
        value = monitored.value(self._log, logs)
        if value is None:
            return
        file = f"epoch-{epoch + 1:04d}-{_in_name(self._log)}-{value:.4g}.keras"
        candidates = [*self.kept, {"epoch": epoch + 1, "value": value, "file": file}]
        kept = self._choose(candidates, epoch + 1)
        if candidates[-1] in kept and not self._write(file, epoch, logs):
            kept = self._choose(self.kept, epoch + 1)
        self.kept = kept
        self._tidy()

    def on_train_end(self, logs: Any = None) -> None:
        """Delete superfluous files; restore the best epoch if asked to."""
        self._tidy()
        if self.restore_best:
            self._restore()

    @property
    def best(self) -> Path | None:
        """The file of the best epoch, or None."""
        ranked = self._ranked(getattr(self, "kept", []))
        return self._folder / ranked[0]["file"] if ranked else None

    @property
    def best_epoch_(self) -> int | None:
        """The best epoch, counted as in the history, or None."""
        ranked = self._ranked(getattr(self, "kept", []))
        return ranked[0]["epoch"] if ranked else None

    def state_dict(self) -> dict[str, Any]:
        """The kept epochs, and the last learning rate."""
        return {"kept": self.kept, "_rate": self._rate}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them.

        Raises:
            ValueError: the state names a file that this plugin would not write.
        """
        for candidate in state["kept"]:
            file = candidate["file"]
            named = f"epoch-{candidate['epoch']:04d}-{_in_name(self._log)}-"
            # only a plain file name: the state must not point outside the folder
            if Path(file).name != file or "\\" in file or not file.startswith(named):
                raise ValueError(f"kept: {file!r} is not a file that the plugin writes")
            float(candidate["value"])
        self.kept = [dict(candidate) for candidate in state["kept"]]
        self._rate = state["_rate"]

    def _ranked(self, candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The candidates, without NaNs, the best first."""
        sign = 1 if self._mode == "min" else -1
        numbers = [c for c in candidates if not math.isnan(c["value"])]
        return sorted(numbers, key=lambda c: (sign * c["value"], c["epoch"]))

    def _choose(self, candidates: list[dict[str, Any]], epoch: int) -> list[dict[str, Any]]:
        best = self._ranked(candidates)[: self.keep]
        rest = [c for c in candidates if c["epoch"] > epoch - self.last and c not in best]
        return best + sorted(rest, key=lambda c: c["epoch"])

    def _write(self, file: str, epoch: int, logs: Any) -> bool:
        if not self._own.held():
            return False
        complete = self.session.history.copy()  # the epoch itself has no record yet
        complete.append(
            epoch + 1,
            as_floats(dict(logs or {})),
            learning_rate=self._rate,
            seconds=time.perf_counter() - self._began,
        )
        try:
            self.session.save(self._folder / file, complete)
        except OSError as error:
            warnings.warn(f"checkpoint: epoch {epoch + 1} was not saved: {error}", stacklevel=2)
            return False
        return True

    def _tidy(self) -> None:
        """Delete this run's other files, including those of epochs that are trained again."""
        if not self._own.held():
            return
        names = {c["file"] for c in self.kept}
        for path in self._own.files():
            if path.name in names:
                continue
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                warnings.warn(f"checkpoint: {path} was not deleted: {error}", stacklevel=2)

    def _restore(self) -> None:
        for candidate in self._ranked(self.kept)[:1]:
            path = self._folder / candidate["file"]
            try:
                content = path.read_bytes()
            except OSError as error:
                warnings.warn(
                    f"checkpoint: the best epoch, {candidate['epoch']}, is not restored: {path} "
                    f"cannot be read ({error.strerror}); the model has the last epoch's weights",
                    stacklevel=2,
                )
                continue
            self.session.load_weights(content)


def _in_name(log: str) -> str:
    """A log's name as part of a file name."""
    return re.sub(r"[^\w.\[\],-]", "_", log)
