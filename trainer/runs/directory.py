"""The run directory: the files that a fit with the field run_dir writes and resumes from.

Responsible for locking the folder, for whether a fit starts a run, resumes one, returns a finished
one or is refused, and for the files in it. Not for the state of a training (`checkpointing`).

    config.json       fields, decisions, seed, data, digests of code, command line, commit, and
                      the files that `trainer fit` was called with
    environment.json  versions and machine
    history.csv       one row per epoch
    run.log           what happened when
    checkpoints/      the states to resume from, and the files of the checkpoint plugin
    start.keras       the model before its training, until the run is finished
    model.keras       the trained model, once the run is finished
    plots/            learning curves
"""

from __future__ import annotations

import contextlib
import contextvars
import datetime
import errno
import io
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import callbacks, saving
from trainer.network import given
from trainer.runs import code, environment
from trainer.runs.lock import CannotLock, Hold, InUse, LockLost
from trainer.state import callback_state
from trainer.state.state_file import BadState, StateFolder
from trainer.utils import forms
from trainer.utils.files import append, no_link, write_whole
from trainer.utils.forms import Malformed
from trainer.utils.text import printable

if TYPE_CHECKING:
    from trainer.history import History
    from trainer.runs.checkpointing import State

FORMAT = 1
# Fields that a resumed run may change, because they do not affect the results.
# missing_target changes which rows there are, and these are compared by their fingerprint.
# strategy may change, because numbers then differ by rounding only, which the resumed run says.
FREE = (
    *("run_dir", "save_minutes", "save_steps", "verbose", "resident_bytes", "missing_target"),
    "strategy",
)
NEW = {"warm_start": False}  # fields that version 0.1 had not, and what they were there
TABLES = 2  # how the columns of tables are encoded; runs of version 0.1 do not say, and are 1
STATUSES = ("unfinished", "stopped", "finished")
_CONFIG = {"format", "class", "fields", "data", "run", "seed", "status", "begun"}
START = "start.keras"  # the untrained model with its encoders, until the run is finished
# What a run writes to its folder besides the states: none of these may be a link.
_WRITTEN = (
    "config.json",
    "environment.json",
    "history.csv",
    "run.log",
    "model.keras",
    START,
    "checkpoints",
    "plots",
    "plots/curves.png",
)


class RunError(ValueError):
    """This fit must not use the folder; the message says why, and what to write instead."""


class Run:
    """A run directory in use by this process.

    Attributes:
        path: The folder, absolute and without links.
        found: The state to resume from, or None.
        seed: The seed of the run.
        states: Where states are saved.
        model: The content of model.keras if a finished run is returned unchanged, else None.
        tables_as_0_1: Whether an earlier run encoded its table as version 0.1 did.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.seed = seed
        self.found: State | None = None
        self.states: StateFolder
        self.model: bytes | None = None
        self.tables_as_0_1 = False
        self._lock: Hold | None = None
        self._lost = False
        self._checking = threading.Lock()

    @classmethod
    def open(
        cls,
        run_dir: str | Path,
        description: dict[str, Any],
        resume: bool | str,
        seed: int,
        *,
        own_seed: bool,
    ) -> Run:
        """Lock the folder, and start a new run, resume one or return a finished one.

        Args:
            run_dir: The folder.
            description: The name of the estimator's class ("class"), its fields ("fields"), the
                digests of its code ("code"), how tables are encoded ("tables"), and the
                fingerprints of training and validation data ("data"), as JSON.
            resume: As in Trainer.fit.
            seed: The seed of a new run.
            own_seed: Whether an earlier run keeps its own seed: random_state is not a number.

        Raises:
            RunError: Another process holds the folder, its run differs from this one, or it has a
                link in place of one of our files.
            BadState: No state in it is usable.
        """
        # Resolve it now: the working directory or the target of a link may change later.
        path = Path(os.path.realpath(run_dir))
        _refuse_links(path)
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"run_dir={str(path)!r}: cannot be created ({error.strerror}); write the name of a "
                "folder that does not exist yet, in one where you may write"
            ) from error
        run = cls(path, seed)
        run._hold()
        try:
            run._begin(description, resume, own_seed)
        except BaseException:
            run.close()
            raise
        return run

    def _hold(self) -> None:
        try:
            self._lock = Hold(self.path)
        except InUse as error:
            raise RunError(
                f"run_dir={str(self.path)!r}: {error}; wait for it, or write another run_dir"
            ) from None
        except CannotLock as error:
            raise RunError(f"run_dir={str(self.path)!r}: {error}") from error

    def _begin(self, description: dict[str, Any], resume: bool | str, own_seed: bool) -> None:
        earlier = _read_config(self.path)
        kept = {"format": FORMAT, **description}
        left_out = ("code",) * _state_alone.get()  # of a trial: its study compares the code
        # as read back later
        config = json.loads(json.dumps({k: v for k, v in kept.items() if k not in left_out}))
        if earlier is None:
            if resume is True:
                raise RunError(
                    f"resume=True: there is no run in {str(self.path)!r}; write resume='auto' to "
                    "start one"
                )
            identity = secrets.token_hex(8)
        else:
            # A run that ended before its first epoch, for example because of an invalid field, has
            # nothing to lose and may differ. It keeps its identity: plugins may have files already.
            if earlier["status"] == "finished" or has_trained(self.path):
                self._check(earlier, config, resume)
                config["tables"] = earlier.get("tables", 1)
                self.tables_as_0_1 = config["tables"] == 1
            for folder in (self.path, self.path / "checkpoints", self.path / "plots"):
                for left in folder.glob(f".{'[0-9a-f]' * 16}.tmp"):  # of a killed write
                    with contextlib.suppress(OSError):  # harmless if it stays
                        left.unlink(missing_ok=True)
            identity = earlier["run"]
            if own_seed:
                self.seed = earlier["seed"]
        try:
            self.states = StateFolder(self.path / "checkpoints", identity, self.held)
        except OSError as error:
            raise RunError(
                f"run_dir={str(self.path)!r}: its folder checkpoints cannot be read "
                f"({error.strerror}), so the states in it would be overwritten; make it readable, "
                "or write another run_dir"
            ) from error
        self._config = config | {
            "run": identity,
            "seed": self.seed,
            "status": "unfinished",
            "command": sys.argv,
            "commit": _commit(),
            "begun": earlier["begun"] if earlier else _now(),
            **_source_now(earlier or {}),
        }
        if earlier is not None and earlier["status"] == "finished" and not _longer(earlier, config):
            self._open_finished()
        elif earlier is not None:
            self.found = self._last_state()
            if self.found is None and earlier["status"] != "unfinished":
                warnings.warn(
                    f"{self.path / 'checkpoints'}: the states of the run are missing; training "
                    "starts from the beginning",
                    stacklevel=4,
                )
        if self.model is not None:
            self.log("already finished: returned unchanged")
            return
        if earlier is not None:
            self._warn_of_changes()
        self._go_on()

    def _open_finished(self) -> None:
        """Find what to restore a finished run from: its model, or else its last state."""
        self._remove_start()
        path = self.path / "model.keras"
        try:
            content = path.read_bytes()
            saving.history_of(content)
            self.model = content
        except FileNotFoundError:
            pass  # a trial has none, or it was deleted: the last state has the same result
        except (OSError, ValueError) as error:
            warnings.warn(
                f"{path}: cannot be used ({error}); the last state is used instead", stacklevel=5
            )
        try:
            self.found = self._last_state()
        except BadState as error:
            if self.model is None:
                raise
            warnings.warn(f"{error}; the state of the callbacks is not restored", stacklevel=5)
        if self.model is None and self.found is None:
            raise RunError(
                f"run_dir={str(self.path)!r}: holds a finished run with neither model.keras nor a "
                "state; delete the folder to train again, or write another run_dir"
            )

    def _last_state(self) -> State | None:
        found = self.states.last()
        if found is not None and "position" not in found[0]:
            raise BadState(f"run_dir={str(self.path)!r}: its state is not the state of a training")
        return found

    def refuse_model(self, error: Exception) -> None:
        """Finish the run again from its last state, because its model.keras cannot be used.

        Raises:
            RunError: There is no state.
        """
        said = f"{str(self.path / 'model.keras')!r} cannot be used ({error})"
        if self.found is None:
            raise RunError(
                f"run_dir={str(self.path)!r}: {said}, and the run has no state; delete the folder "
                "to train again, or write another run_dir"
            ) from error
        warnings.warn(f"{said}; the run is finished again from its last state", stacklevel=5)
        self._go_on()

    def _go_on(self) -> None:
        """Mark the run as unfinished, to start it or to resume from the state that was found."""
        self.model = None
        place = "" if self.found is None else _place(self.found[0]["position"])
        self.log(f"resumes from {place}" if place else "starts")
        # first: whoever finds a config.json also finds what it was run with
        self._write("environment.json", environment.of_training())
        self._write("config.json", self._config)

    def _check(self, earlier: dict[str, Any], config: dict[str, Any], resume: bool | str) -> None:
        where = f"run_dir={str(self.path)!r}"
        finished = earlier["status"] == "finished"
        kind = {"finished": "a finished run", "stopped": "a run that was stopped"}
        holds = f"{where} holds {kind.get(earlier['status'], 'an unfinished run')}"
        if resume is False:
            then = "return it" if finished else "resume it"
            raise RunError(
                f"resume=False: {holds}; write resume='auto' to {then}, or another run_dir"
            )
        changes = differences(earlier, config)
        only_longer = _longer(earlier, config) and all(c.startswith("epochs ") for c in changes)
        edits = [] if resume == "force" else self._edits(earlier, config)
        if not edits and (not changes or (resume is True and only_longer)):
            return
        ways = ["Set these back to " + ("return it unchanged" if finished else "resume it")]
        if edits and not changes:
            ways.append("write resume='force' to resume it although it differs")
        changes, only_longer = [*changes, *edits], only_longer and not edits
        if only_longer:
            ways.append(f"write resume=True to train it to {config['fields']['epochs']} epochs")
        elif finished:
            file = str(self.path / "model.keras")
            ways.append(f"load it with {earlier['class']}.load({file!r})")
        raise RunError(
            f"{holds} that differs from this one: {'; '.join(changes)}. "
            f"{', '.join([*ways, 'or write another run_dir'])}"
        )

    def _edits(self, earlier: dict[str, Any], config: dict[str, Any]) -> list[str]:
        """Return what differs in the code, in words."""
        if "code" not in config:
            return []
        if "code" in earlier:
            return code.changes(earlier["code"], config["code"])
        warnings.warn(
            f"run_dir={str(self.path)!r}: the run was started by a version that kept no digests of "
            "code; whether the code has changed since is not known",
            stacklevel=6,
        )
        return []

    def _warn_of_changes(self) -> None:
        path = self.path / "environment.json"
        changed = environment.changes(path)
        if changed is None:
            warnings.warn(
                f"{path}: cannot be read, so whether the versions of packages or the machine have "
                "changed is not known; the run may not resume exactly",
                stacklevel=4,
            )
        elif changed:
            warnings.warn(
                f"{self.path}: {', '.join(changed)}; the run may not resume exactly",
                stacklevel=4,
            )

    def decided(self, text: str) -> None:
        """Add the decisions for "auto" to config.json."""
        self._config["decisions"] = text
        self._write("config.json", self._config)

    def log(self, line: str) -> None:
        """Add a line with the time to run.log."""
        if not self.held():
            return
        with self._tried("run.log"):
            append(self.path / "run.log", f"{_now()}  {printable(line)}\n")

    def held(self) -> bool:
        """Return whether this run still holds the folder; warn once if it does not.

        In this case, training continues without writing: an error would lose the trained model,
        and writing would mix two runs or leave an incomplete folder.
        """
        with self._checking:  # states are written in another thread
            return self._check_lock()

    def _check_lock(self) -> bool:
        if self._lock is None or self._lost:
            return not self._lost
        try:
            self._lock.check()
        except LockLost as error:
            self._lost = True
            warnings.warn(
                f"run_dir={str(self.path)!r}: {error}. Training continues, but nothing more is "
                "written to the folder: the model exists only in this process; save it with "
                "save('model.keras') after fit",
                stacklevel=4,
            )
            return False
        except OSError:
            return True  # the disk does not respond; writing will report the error
        return True

    def may_write(self, path: Path) -> bool:
        """Return whether a plugin may write to a path now: see Session.may_write."""
        if not path.is_relative_to(self.path):
            return True
        if not self.held():
            return False
        try:
            no_link(path)
        except OSError as error:
            if error.errno != errno.ELOOP:
                return True  # the disk does not respond; writing will report the error
            warnings.warn(f"{path}: not written ({error.strerror})", stacklevel=4)
            return False
        return True

    def start(self, save: Callable[[Path], Any]) -> None:
        """Write the untrained model, from which the run can be loaded before it is finished.

        Args:
            save: Writes it to a file.
        """
        path = self.path / START
        if _state_alone.get() or path.exists() or not self.held():
            return
        with self._tried(START):
            no_link(path)
            save(path)

    def finish(
        self, history: History, save: Callable[[Path], Any], stopped_by: str | None = None
    ) -> None:
        """Write the model and the learning curves, and mark the run as finished.

        If the process is killed during this, repeating the call of fit resumes from the last
        state, trains nothing, and finishes.

        Args:
            history: The history of the training.
            save: Writes the fitted estimator to a file.
            stopped_by: The plugin that stopped training early, or None. Repeating the call of fit
                resumes such a run.
        """
        self.history(history)
        self.states.tidy()
        try:
            if not _state_alone.get():
                self._save_model(save)
                if len(history):
                    self._draw(history)
                self._remove_start()
            self._mark("finished" if stopped_by is None else "stopped", stopped_by)
        except OSError:
            if self.held():
                raise
        ended = "finished" if stopped_by is None else f"stopped by {stopped_by}"
        self.log(f"{ended} after {len(history)} epochs")

    def _remove_start(self) -> None:
        if not _state_alone.get() and self.held():
            with self._tried(START):
                (self.path / START).unlink(missing_ok=True)

    def stop(self, signal_name: str) -> None:
        """Mark the run as stopped by a signal; repeating the call of fit resumes it."""
        self.states.wait()
        try:
            self._mark("stopped", signal_name)
        except OSError as error:  # handling the signal is more important, and the state is saved
            warnings.warn(f"{self.path / 'config.json'}: not written ({error})", stacklevel=3)

    def _mark(self, status: str, stopped_by: str | None) -> None:
        self._config |= {"status": status}
        if stopped_by is not None:
            self._config["stopped_by"] = stopped_by
        self._write("config.json", self._config)

    def _save_model(self, save: Callable[[Path], Any]) -> None:
        if self.held():
            no_link(self.path / "model.keras")
            save(self.path / "model.keras")

    def _draw(self, history: History) -> None:
        import matplotlib.pyplot as plt

        picture = io.BytesIO()
        figure: Any = np.ravel(history.plot())[0].figure
        figure.savefig(picture, format="png", dpi=120)
        plt.close(figure)  # do not show it in a notebook
        if self.held():
            (self.path / "plots").mkdir(exist_ok=True)
            file = self.path / "plots" / "curves.png"
            write_whole(file, picture.getvalue(), follow_links=False)

    def history(self, history: History) -> None:
        """Write history.csv."""
        if not self.held():
            return
        with self._tried("history.csv"):
            no_link(self.path / "history.csv")
            history.to_csv(self.path / "history.csv")

    def close(self) -> None:
        """Wait until the state is written, and release the folder for other processes."""
        if hasattr(self, "states"):
            self.states.close()
        if self._lock is not None:
            self._lock.release()

    @contextlib.contextmanager
    def _tried(self, name: str) -> Iterator[None]:
        """Turn errors of writing into warnings: such a file must not end a training."""
        try:
            yield
        except OSError as error:
            if not self.held():
                return  # held has warned
            warnings.warn(f"{self.path / name}: not written ({error})", stacklevel=4)

    def _write(self, name: str, content: Any) -> None:
        if self.held():
            text = json.dumps(content, indent=1) + "\n"
            write_whole(self.path / name, text.encode(), follow_links=False)


_state_alone = contextvars.ContextVar("state_alone", default=False)


@contextlib.contextmanager
def state_alone() -> Iterator[None]:
    """Within this context, a finished run saves only its state, without a model or plots.

    For the trials of a search: there are many, and most are never looked at again.
    """
    token = _state_alone.set(True)
    try:
        yield
    finally:
        _state_alone.reset(token)


def keeps_state_alone() -> bool:
    """Return whether this is such a context: a trial's study compares code and values."""
    return _state_alone.get()


_source: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "source", default=None
)


@contextlib.contextmanager
def source_recorded(source: dict[str, Any]) -> Iterator[None]:
    """Within this context, runs write to their config.json what they were made from.

    Args:
        source: JSON by name: the path of the data, the target, the class and its fields. A run
            that is resumed outside of such a context keeps what it has.
    """
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def _source_now(earlier: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of config.json that `source_recorded` is for, if there is one."""
    source = _source.get() or earlier.get("source")
    return {} if source is None else {"source": source}


def configuration(folder: Path) -> dict[str, Any]:
    """Return the config.json of the run in a folder.

    Raises:
        RunError: There is no run, or its config.json cannot be read.
    """
    config = _read_config(folder)
    if config is None:
        raise RunError(
            f"path={str(folder)!r}: is a folder without a run; write the name of a .keras file, or "
            "the run_dir of a fit"
        )
    return config


def packages(folder: Path) -> dict[str, str]:
    """Return the versions of packages that a run was trained with; empty if they are not known."""
    return environment.packages(folder / "environment.json")


def finished_epochs(path: Path) -> int | None:
    """Return the field epochs of a run that has ended; None if there is no such run.

    It has ended if it is finished or a plugin stopped it, but not if a signal did.
    """
    try:
        config = _read_config(path)
    except RunError:
        return None  # a fit with this folder will report the error
    if config is None:
        return None
    stopped = config["status"] == "stopped"
    by_plugin = stopped and config.get("stopped_by") not in signal.Signals.__members__
    if config["status"] != "finished" and not by_plugin:
        return None
    return int(config["fields"]["epochs"])


def status(folder: Path) -> tuple[str, bool]:
    """Return the identity of the run in a folder, and whether it has ended with a model.

    Raises:
        RunError: There is no run, or its config.json cannot be read.
    """
    return configuration(folder)["run"], finished_epochs(folder) is not None


def earlier_architecture(path: str | Path) -> tuple[bool, str | None]:
    """Return which architecture an earlier run in a folder trained.

    Args:
        path: The field run_dir.

    Returns:
        Whether there is a run that has begun to train, and the name in it; None for a custom
        build_model, and in runs of version 0.1, which had no names.
    """
    folder = Path(os.path.realpath(path))
    try:
        config = _read_config(folder)
    except RunError:
        return False, None  # opening the run will report the error
    if config is None or not (config["status"] == "finished" or has_trained(folder)):
        return False, None
    name = config.get("architecture", {}).get("name")
    return True, name


def has_trained(folder: Path) -> bool:
    """Return whether a folder holds states, or the history of at least one epoch.

    True also if it cannot be read: opening the run will report that.
    """
    if (folder / "history.csv").exists():
        return True
    try:
        kept = os.listdir(folder / "checkpoints")  # not glob, to which it would seem empty
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return any(Path(name).suffix in (".safetensors", ".keras") for name in kept)


def _longer(earlier: dict[str, Any], now: dict[str, Any]) -> bool:
    before, after = (c["fields"].get("epochs") for c in (earlier, now))
    return isinstance(before, int) and isinstance(after, int) and after > before


def _refuse_links(path: Path) -> None:
    for name in _WRITTEN:
        if (path / name).is_symlink():
            raise RunError(
                f"run_dir={str(path)!r}: {name} in it is a link to "
                f"{os.readlink(path / name)!r}, and links are not followed here; remove the link, "
                "or write another run_dir"
            )


def differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """List the differences of two configurations, as "name was this, is that"."""
    found = []
    if earlier["class"] != now["class"]:
        found.append(f"the class was {earlier['class']}, is {now['class']}")
    before, after = (_flat(c["fields"], FREE) | _flat(c["data"], ()) for c in (earlier, now))
    if "architecture" in earlier and "architecture" in now:  # runs of 0.1 have none
        for config, whole in ((before, earlier), (after, now)):
            config |= {
                f"architecture {k}": _unnamed(v) if k == "optimizer" else v
                for k, v in whole["architecture"].items()
                if k not in whole["fields"] or k == "optimizer"
            }
    for config in (before, after):
        if config.get("optimizer") == "adam":
            config["optimizer"] = None  # which means the same; it was the default in 0.1.0
    if "callbacks" in before and "callbacks" in after:
        after["callbacks"] = _without_new_fields(before["callbacks"], after["callbacks"])
    after = without_new_arguments(before, after)
    for name in dict.fromkeys([*before, *after]):
        a, b = before.get(name), after.get(name)
        if a != b and not (name in NEW and name not in before and b == NEW[name]):
            found.append(f"{name} was {a!r}, is {b!r}")
    return found


def _unnamed(optimizer: Any) -> Any:
    """Return an architecture's optimizer without its name, which runs recorded before.

    It counted the optimizers of the process, as in adam_w_1.
    """
    if not isinstance(optimizer, dict):
        return optimizer
    return {key: value for key, value in optimizer.items() if key != "name"}


def _without_new_fields(before: Any, now: Any) -> Any:
    """Return the callbacks of now without fields that were unknown before and are the default."""
    if not isinstance(before, list) or not isinstance(now, list) or len(before) != len(now):
        return now
    found = []
    for old, new in zip(before, now, strict=True):
        both = isinstance(old, dict) and isinstance(new, dict)
        if both and new.get("name") in callbacks.BUILT_IN:
            defaults = vars(callbacks.find(new["name"]))
            new = {k: v for k, v in new.items() if k in old or v != defaults.get(k, old)}
        found.append(new)
    return found


def without_new_arguments(before: Any, now: Any) -> Any:
    """Return a description of now without arguments of callbacks that the one before has not.

    Earlier versions described a callback of the user's own class by the name of the class only, and
    a loss without the arguments that Keras leaves out of its config, and an optimizer without what
    it excludes from weight decay.
    """
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [without_new_arguments(b, n) for b, n in zip(before, now, strict=True)]
    if not isinstance(before, dict) or not isinstance(now, dict):
        return now
    for kind in ("freezing", "excluding"):  # a version before did not record that
        if now.keys() == {kind} != before.keys():
            now = now[kind]["of"]
    if "class" in before and "arguments" not in before:
        now = {name: value for name, value in now.items() if name != "arguments"}
    old, new = before.get("config"), now.get("config")
    same = before.get("class_name", 0) == now.get("class_name")
    if same and isinstance(old, dict) and isinstance(new, dict):
        now = now | {"config": {n: v for n, v in new.items() if n in old}}
    return {n: without_new_arguments(before[n], v) if n in before else v for n, v in now.items()}


def _flat(tree: dict[str, Any], without: tuple[str, ...]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if name in ("training", "validation") and isinstance(value, dict):
            flat |= {f"{name} {leaf}": text for leaf, text in value.items()}
        elif name not in without:
            flat[name] = value
    return flat


def described(value: Any) -> Any:
    """Describe a field's value as JSON, to be read and compared, not to be recreated from."""
    if isinstance(value, dict) and {"class_name", "config"} <= value.keys():  # a config of Keras
        value = _without_numbers(value)
    try:
        return _without_numbers(saving.to_json(value))
    except TypeError:
        pass
    if isinstance(value, (list, tuple)):
        return [described(v) for v in value]
    if isinstance(value, dict):
        return {str(k): described(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):  # the order differs between processes
        members = "{" + ", ".join(sorted(repr(described(v)) for v in value)) + "}"
        return members if isinstance(value, set) else f"frozenset({members})"
    if given.is_model(value):
        return given.described(value)
    if hasattr(value, "on_train_begin") and not hasattr(value, "get_params"):
        # Not all attributes: some change during a fit.
        made_with = {n: getattr(value, n) for n in callback_state.stock_parameters(value)}
        if "min_delta" in made_with:  # Keras flips its sign if lower is better
            made_with["min_delta"] = abs(made_with["min_delta"])
        shown = {n: described(v) for n, v in made_with.items() if n not in ("verbose", "filepath")}
        own = callback_state.arguments(value)
        shown |= {n: own.pop(n) for n in shown if n in own}
        if own:
            shown["arguments"] = own
        return {"class": type(value).__name__, **shown}
    if hasattr(value, "get_params"):
        return {"class": type(value).__name__, **described(value.get_params(deep=False))}
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    if any(cls.__module__.startswith("keras.") for cls in type(value).__mro__):
        text = re.sub(r"\b(name=\w+?)_\d+\b", r"\1", text)  # as in _without_numbers
    return text


def _without_numbers(form: Any) -> Any:
    """Remove the numbers that Keras adds to names, as in adam_3: they only count objects."""
    if isinstance(form, list):
        return [_without_numbers(v) for v in form]
    if not isinstance(form, dict):
        return form
    name = form.get("name")
    new = {"name": re.sub(r"_\d+$", "", name)} if isinstance(name, str) else {}
    return {k: _without_numbers(v) for k, v in form.items()} | new


def _read_config(folder: Path) -> dict[str, Any] | None:
    """Read the config.json of a run; None if there is none.

    Raises:
        RunError: It cannot be read, or was not written by a run.
    """
    where = f"run_dir={str(folder)!r}: "
    try:
        config: dict[str, Any] = forms.mapping("its content", forms.read(folder / "config.json"))
        newer = forms.whole("format", config.get("format"), 1)
        if newer > FORMAT:
            raise RunError(
                f"{where}its config.json has format {newer}, but this version reads only up to "
                f"{FORMAT}; install the version of trainer that wrote it, or a newer one"
            )
        _check_config(config)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(
            f"{where}its config.json cannot be read ({error.strerror}); make it readable, or write "
            "another run_dir"
        ) from error
    except Malformed as error:
        raise RunError(
            f"{where}its config.json was not written by a run: {error}; write another run_dir, or "
            "delete the folder"
        ) from error
    return config


def _check_config(config: dict[str, Any]) -> None:
    """Check that config.json has what is needed to resume its run.

    Raises:
        Malformed: An entry is missing or invalid; the message names it.
    """
    forms.mapping("its content", config, sorted(_CONFIG))
    for name in ("class", "begun"):
        forms.text(name, config[name])
    if not re.fullmatch(r"[0-9a-f]{16}", forms.text("run", config["run"])):
        raise forms.wrong("run", config["run"], "16 letters and digits")
    forms.text("status", config["status"], STATUSES)
    forms.whole("seed", config["seed"], 0, 2**32 - 1)
    fields = forms.mapping("fields", config["fields"], ("epochs",))
    forms.whole("fields: epochs", fields["epochs"], 1)
    if "architecture" in config:
        architecture = forms.mapping("architecture", config["architecture"], ("name",))
        if architecture["name"] is not None:
            forms.text("architecture: name", architecture["name"])
    forms.mapping("source", config.get("source", {}))
    for name, digest in forms.mapping("code", config.get("code", {})).items():
        forms.text(f"code: {name}", digest)
    for name, part in forms.mapping("data", config["data"], ("training", "validation")).items():
        if part is not None:
            forms.mapping(f"data: {name}", part)


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _place(position: dict[str, Any]) -> str:
    within = f", step {position['step']}" if position["step"] else ""
    return f"epoch {position['epoch'] + 1}{within}"


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
