"""The plugin that keeps the models of the best and of the last epochs as files.

Responsible for which epochs are kept, and for taking the best one at the end. Not for the form of a
file (`trainer.saving`), nor for the state that a run goes on from (`trainer.runs.checkpointing`).
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
from trainer.history import History
from trainer.utils.checks import boolean, integer


class Checkpoint(Callback):
    """Keeps the best and the last epochs as .keras files, for Trainer.load and for plain Keras.

    A file is called epoch-0012-val_loss-0.1234.keras, by the epoch counted from 1. Writing one
    takes some 50 ms for a small model, and as long as the disk needs for a large one: little for
    an epoch that lasts seconds. A resumed run keeps the files that an unbroken one would.

    A file that cannot be written, on a full disk say, is warned of; training goes on, and the
    files that are there stay.

    Attributes:
        keep: how many of the best epochs are kept; 0 for none. Of equal epochs the first is best,
            and one whose value is not a number is never among them.
        last: how many of the last epochs are kept.
        monitor: the log that tells which epoch is best. None: val_loss where there are validation
            data, otherwise loss.
        mode: "min" if lower is better, "max" if higher. None: known by the name of the log.
        folder: where the files are. None: checkpoints/ in the run's folder. Checkpoints of another
            run in it are an error: nothing of theirs is overwritten or deleted.
        restore_best: whether the model has the weights, and its optimizer the state, of the best
            epoch at the end of the training.

    After training, `kept` holds a dict an epoch whose file is kept, the best first: epoch (counted
    from 1), value, file; and `best` is the path of the first, or None.
    """

    PATHS = ("folder",)

    keep: int = 1
    last: int = 0
    monitor: str | None = None
    mode: str | None = None
    folder: str | Path | None = None
    restore_best: bool = False

    def setup(self, session: Session) -> None:
        """Refuse wrong fields, and take the folder."""
        integer("keep", self.keep, low=0, example=3)
        integer("last", self.last, low=0, example=2)
        boolean("restore_best", self.restore_best)
        if not self.keep and not self.last:
            raise ValueError("keep=0: with last=0 nothing is kept; write keep=1, or last=1")
        if self.restore_best and not self.keep:
            raise ValueError("restore_best=True: with keep=0 the best is not kept; write keep=1")
        self._log = monitored.choose(self.monitor, session)
        self._mode = monitored.direction(self._log, self.mode) if self.keep else "min"
        path = folders.place("folder", self.folder, "checkpoints", session)
        name = glob.escape(_in_name(self._log))
        self._own = folders.OwnFolder("folder", path, session, [f"epoch-[0-9]*-{name}-*.keras"])
        self._folder = self._own.path

    def teardown(self) -> None:
        """Leave the folder to others."""
        own = self.__dict__.pop("_own", None)
        if own is not None:
            own.release()

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin with no epoch kept."""
        self.kept: list[dict[str, Any]] = []
        self._rate: float | None = None
        self._began = math.nan

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the time, for the history in the file."""
        self._began = time.perf_counter()

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Note the learning rate: at the epoch's end another callback may have changed it."""
        self._rate = learning_rate(self.session.network.core)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the epoch's file if it is to be kept, and then delete those that are not."""
        value = monitored.value(self._log, logs)
        file = f"epoch-{epoch + 1:04d}-{_in_name(self._log)}-{value:.4g}.keras"
        candidates = [*self.kept, {"epoch": epoch + 1, "value": value, "file": file}]
        kept = self._choose(candidates, epoch + 1)
        if candidates[-1] in kept and not self._write(file, epoch, logs):
            kept = self._choose(self.kept, epoch + 1)
        self.kept = kept
        self._tidy()

    def on_train_end(self, logs: Any = None) -> None:
        """Take the best epoch."""
        self._tidy()
        if self.restore_best:
            self._restore()

    @property
    def best(self) -> Path | None:
        """The file of the best epoch, or None."""
        ranked = self._ranked(getattr(self, "kept", []))
        return self._folder / ranked[0]["file"] if ranked else None

    def state_dict(self) -> dict[str, Any]:
        """The epochs that are kept, and the last learning rate."""
        return {"kept": self.kept, "_rate": self._rate}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them back.

        Raises:
            ValueError: it names a file that is none of this plugin's.
        """
        for candidate in state["kept"]:
            file = candidate["file"]
            named = f"epoch-{candidate['epoch']:04d}-{_in_name(self._log)}-"
            # the name of a file in the folder: never one that leads out of it
            if Path(file).name != file or "\\" in file or not file.startswith(named):
                raise ValueError(f"kept: {file!r} is no file that the plugin writes")
            float(candidate["value"])
        self.kept = [dict(candidate) for candidate in state["kept"]]
        self._rate = state["_rate"]

    def _ranked(self, candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that can be the best, the best first."""
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
        complete = History()  # the epoch itself has no record yet
        complete.records = [dict(record) for record in self.session.history.records]
        complete.append(
            epoch + 1,
            as_floats(dict(logs or {})),
            learning_rate=self._rate,
            seconds=time.perf_counter() - self._began,
        )
        try:
            self.session.save(self._folder / file, complete)
        except OSError as error:
            warnings.warn(f"checkpoint: epoch {epoch + 1} was not kept: {error}", stacklevel=2)
            return False
        return True

    def _tidy(self) -> None:
        """Delete this run's other files: also those of epochs after the one it went on from."""
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
    """A log's name as part of a file's name."""
    return re.sub(r"[^\w.\[\],-]", "_", log)
