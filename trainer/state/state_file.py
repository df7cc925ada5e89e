"""The file format of a training's state, and the folder that keeps the latest states.

Responsible for writing tensors and plain values so that they are read back bit for bit or not at
all, and for keeping the last two files. Not for the content of a state (`checkpointing`).

A state is a safetensors file whose metadata contain the plain values as JSON and a SHA-256 of
everything that is read back. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np

from trainer.utils import forms
from trainer.utils.files import Folder, write_whole
from trainer.utils.forms import Malformed

FORMAT = 1
KEPT = 2
_STANDARD = "biufc"  # kinds of NumPy's own numbers; bfloat16 and float8 come from ml_dtypes
_OF_A_TRAINING = ("position", "history", "variables", "callbacks")
Tensors = dict[str, np.ndarray]


class BadState(ValueError):
    """A state file is truncated, altered, foreign or from another run; the message says which."""


def to_bytes(values: dict[str, Any], tensors: Tensors) -> bytes:
    """Return the content of a file.

    Args:
        values: Values for JSON, including NaN and infinity.
        tensors: Arrays of numbers by name.
    """
    from safetensors.numpy import save

    stored, forms = {}, {}
    for name, array in tensors.items():
        if array.dtype.kind not in _STANDARD:
            forms[name] = [array.dtype.name, list(array.shape)]
            array = np.frombuffer(array.tobytes(), np.uint8)
        stored[name] = np.asarray(array, order="C")
    text = json.dumps({"format": FORMAT, "forms": forms, **values})
    return save(stored, metadata={"trainer": text, "sha256": _digest(text, stored)})


def from_bytes(content: bytes) -> tuple[dict[str, Any], Tensors]:
    """Return the arguments of `to_bytes` from its result.

    Raises:
        BadState: The content was altered, or written by a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        length = int.from_bytes(content[:8], "little")
        if length > len(content) - 8:
            raise BadState("it is truncated or altered")
        header = forms.parse(content[8 : 8 + length], len(content))["__metadata__"]
        text, digest = header["trainer"], header["sha256"]
        tensors = load(content)
        values = forms.mapping("its content", forms.parse(text.encode(), len(content)))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadState("it is truncated or altered") from error
    if _digest(text, tensors) != digest:
        raise BadState("its checksum is wrong: it was altered")
    try:
        newer = forms.whole("format", values.pop("format", None), 1) > FORMAT
        if newer:
            raise BadState("it was written by a newer version of trainer; install that version")
        for name, form in forms.mapping("forms", values.pop("forms", None)).items():
            tensors[name] = _in_own_form(name, form, tensors)
        _check_values(values)
    except Malformed as error:
        raise BadState(f"it was not written by a training: {error}") from error
    return values, tensors


def _in_own_form(name: str, form: Any, tensors: Tensors) -> np.ndarray:
    """Return an array of a dtype from ml_dtypes, from its bytes."""
    import ml_dtypes

    entry = f"forms: {name}"
    dtype, shape = forms.items(entry, form, 2)
    found = getattr(ml_dtypes, forms.text(entry, dtype), None)
    if not isinstance(found, type) or name not in tensors:
        raise forms.wrong(entry, form, "the type of a tensor")
    kind, stored = np.dtype(found), tensors[name]
    sizes = [forms.whole(entry, size) for size in forms.items(entry, shape)]
    if stored.dtype != np.uint8 or math.prod(sizes) * kind.itemsize != stored.size:
        raise forms.wrong(entry, form, f"of {stored.size} bytes")
    return np.frombuffer(stored.tobytes(), kind).reshape(sizes)


def _check_values(values: dict[str, Any]) -> None:
    """Check the parts that every state of a training has; other files have none to check."""
    if "run" in values:
        forms.text("run", values["run"])
    if any(name in values for name in _OF_A_TRAINING):
        forms.mapping("its content", values, _OF_A_TRAINING)
        keys = ("epoch", "step", "logs", "seconds", "stopped")
        position = forms.mapping("position", values["position"], keys)
        forms.no_others("position", position, keys)
        forms.whole("position: epoch", position["epoch"], 0, 2**40)
        forms.whole("position: step", position["step"], 0, 2**40)
        forms.number("position: seconds", position["seconds"])
        forms.flag("position: stopped", position["stopped"])
        _check_numbers("position: logs", position["logs"])
        for record in forms.items("history", values["history"]):
            _check_numbers("history", record)
            forms.whole("history: epoch", record.get("epoch"), 1, 2**40)
        forms.flag("rate_logged", values.get("rate_logged", False))
        for described in forms.items("variables", values["variables"]):
            path, shape = forms.items("variables", described, 2)
            forms.text("variables", path)
            for size in forms.items("variables", shape):
                forms.whole("variables", size)
        for entry in forms.items("callbacks", values["callbacks"]):
            forms.text("callbacks", forms.mapping("callbacks", entry, ("class", "state"))["class"])
        for entry in [] if values.get("own") is None else forms.items("own", values["own"]):
            name, dtype, shape, since = forms.items("own", entry, 4)
            forms.text("own", name)
            forms.text("own", dtype)
            for size in forms.items("own", shape):
                forms.whole("own", size)
            forms.text("own", since, ("start", "train", "test", "later"))


def _check_numbers(entry: str, logs: Any) -> None:
    for name, value in forms.mapping(entry, logs).items():
        real = isinstance(value, float) or (isinstance(value, int) and abs(value) <= 2**63)
        if isinstance(value, bool) or not real:  # NaN and infinity are valid
            raise forms.wrong(f"{entry}: {name}", value, "a number")


def _digest(text: str, tensors: Tensors) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.data)  # not tobytes, which would make a copy
    return digest.hexdigest()


class StateFolder:
    """The states of one run, in one folder; the last two are kept.

    Args:
        folder: An existing folder.
        run: The identity of the run; files of other runs are not read.
        held: Called before each write and deletion. Returns whether this run still holds the
            folder, and warns if not; nothing is written then.

    Raises:
        OSError: The folder cannot be listed.
    """

    def __init__(self, folder: Path, run: str, held: Callable[[], bool] = lambda: True) -> None:
        self._folder = folder
        self._run = run
        self._held = held
        self._writer = ThreadPoolExecutor(1, "state")
        self._writing: Future[None] | None = None
        self._number = max((_number(p) for p in self._files()), default=0)
        self._unusable: set[Path] = set()
        self._cost = 0.0

    @property
    def cost(self) -> float:
        """CPU seconds that the last write took; infinite while it is running.

        Waiting for the disk is not counted, because training continues in the meantime.
        """
        return math.inf if self._writing is not None and not self._writing.done() else self._cost

    def save(self, values: dict[str, Any], tensors: Tensors) -> None:
        """Write a state in the background; the previous one is kept until it is complete.

        If writing fails, the files stay as they are, and the next call warns.

        Args:
            values: Values for JSON.
            tensors: Arrays that are not changed any more.
        """
        self.wait()
        self._number += 1
        path = self._folder / f"state-{self._number:08d}.safetensors"

        self._path = path

        def write() -> None:
            began = thread_time()
            try:
                content = to_bytes({"run": self._run, **values}, tensors)
                if self._held():
                    write_whole(path, content, follow_links=False)
                if self._held():
                    self._delete_old()
            finally:
                self._cost = thread_time() - began

        self._writing = self._writer.submit(write)

    def wait(self) -> None:
        """Wait for the current write, and warn if it failed."""
        if self._writing is None:
            return
        try:
            self._writing.result()
        except OSError as error:
            if not self._held():
                return  # held has warned
            warnings.warn(
                f"{self._path}: the state of the run was not saved ({error}); training continues, "
                "and the earlier state is intact",
                stacklevel=2,
            )
        finally:
            self._writing = None

    def _delete_old(self) -> None:
        """Delete old states; those that cannot be deleted stay."""
        try:
            place = Folder(self._folder)
        except OSError:  # replaced by a link just now: the files there are not ours
            return
        with place:
            try:
                files = _states(self._folder, place.names())
            except OSError:  # the next time, perhaps
                return
            usable = [file for file in files if file not in self._unusable]
            newest = _number(usable[0]) if usable else 0
            unusable = (file for file in self._unusable if _number(file) < newest)
            for old in [*usable[KEPT:], *unusable]:
                with contextlib.suppress(OSError):  # for example, a folder with such a name
                    place.unlink(old.name)

    def tidy(self) -> None:
        """Wait, and delete old states left by an earlier process or a disk error."""
        self.wait()
        if self._held():
            self._delete_old()

    def close(self) -> None:
        """Wait, and stop the writer thread."""
        self.wait()
        self._writer.shutdown()

    def last(self) -> tuple[dict[str, Any], Tensors] | None:
        """Return the newest usable state, or None without files; warn about unusable newer ones.

        Raises:
            BadState: None of the files is usable.
        """
        files = self._files()
        for path in files:
            try:
                values, tensors = from_bytes(_content(path))
                if values.pop("run", None) != self._run:
                    raise BadState("it belongs to another run")
                return values, tensors
            except BadState as error:
                # It is deleted once there is a newer usable one, and does not count towards KEPT.
                self._unusable.add(path)
                warnings.warn(
                    f"{path.name} cannot be used: {error}; trying the state before it",
                    stacklevel=2,
                )
        if files:
            raise BadState(
                f"{self._folder}: none of the states in it can be used ({len(files)} tried); "
                "to start over, delete the run's folder or write another run_dir"
            )
        return None

    def _files(self) -> list[Path]:
        """Return the state files, newest first."""
        # Not glob, which treats an unreadable folder as empty.
        return _states(self._folder, os.listdir(self._folder))


def _content(path: Path) -> bytes:
    """Read a state file.

    Raises:
        BadState: It cannot be read, or is a link, which would lead out of the folder.
    """
    try:
        if path.is_symlink():
            raise BadState("it is a link")
        return path.read_bytes()
    except OSError as error:
        raise BadState(f"it cannot be read ({error.strerror})") from error


def _states(folder: Path, names: Iterable[str]) -> list[Path]:
    states = [folder / name for name in names if fnmatchcase(name, "state-*.safetensors")]
    return sorted(states, key=_number, reverse=True)


def _number(path: Path) -> int:
    with contextlib.suppress(ValueError):
        return int(path.stem.removeprefix("state-"))
    return 0
