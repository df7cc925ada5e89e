"""Saving a fitted Trainer: one .keras file that also holds what the estimator needs.

Responsible for the file's form. A .keras file is a zip archive; `trainer.json` in it holds
fields, inputs, targets and history. Loading rebuilds the network with build_model and reads the
weights: no code comes out of the file, and nothing is unpickled. Not for writing a file whole
(`files`), for the bounds of an archive (`archive`), for which classes a file may name (`allowed`),
nor for the exact state of an unfinished run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from trainer import callbacks
from trainer.data.inputs import Inputs
from trainer.fields import path_fields
from trainer.history import History
from trainer.network.allowed import Allowed, safe_mode
from trainer.network.build import Recipe, blank_rows, rebuild
from trainer.network.network import Network
from trainer.tasks import Task
from trainer.utils import archive, forms
from trainer.utils.archive import ENTRY, WEIGHTS
from trainer.utils.checks import near_names
from trainer.utils.files import read_whole, write_whole
from trainer.utils.forms import Malformed

if TYPE_CHECKING:
    import keras

Made = TypeVar("Made")

FORMAT = 1
_KEYS = ("format", "class", "fields", "seed", "precision", "inputs", "targets", "history")
_OTHER_OPTIMIZER = "Skipping variable loading for optimizer"
_PRECISIONS = ("float32", "float64", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class Fitted:
    """What of a fitted estimator goes into its file, beside its network.

    Attributes:
        owner: the name of its class.
        fields: its fields by name, but for those that are paths: where files are on this machine
            is of no use to whoever is given the file.
        seed: of the fit.
        history: of the fit.
    """

    owner: str
    fields: Mapping[str, Any]
    seed: int
    history: History


def save(fitted: Fitted, network: Network, path: str | Path) -> Path:
    """Write the file: see Trainer.save."""
    path = _as_path(path)
    if path.suffix != ".keras":
        raise ValueError(f"path={str(path)!r}: must end in .keras; write {str(path) + '.keras'!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(path.parent)!r}")
    kept: dict[str, Any] = {}
    for name, value in fitted.fields.items():
        try:
            form = to_json(value)
            kept[name] = _without_paths(form)[0] if name == "callbacks" else form
        except TypeError:
            warnings.warn(
                f"{name}={value!r} cannot be written to a file; the loaded {fitted.owner} will "
                "have the default instead",
                stacklevel=3,
            )
    try:
        content = to_bytes(fitted, network, fields=kept, weights_only=False)
    except OSError as error:
        raise OSError(
            error.errno,
            f"path={str(path)!r}: not written, since the temporary folder "
            f"{tempfile.gettempdir()!r} could not hold it ({error.strerror}), and what was there "
            "before is unchanged; make room, or set TMPDIR to a folder with room",
        ) from error
    write_whole(path, content)
    return path


def load(
    path: str | Path,
    *,
    owner: str,
    names: Collection[str],
    paths: Collection[str],
    allowed: Allowed,
    make: Callable[[dict[str, Any]], tuple[Made, Recipe, Task, Sequence[Any]]],
) -> tuple[Made, Network, History, int]:
    """Read the file: see Trainer.load.

    Args:
        path: the file.
        owner: the name of the class that is loaded.
        names: of its fields.
        paths: the names of those that are paths, and are ignored.
        allowed: the classes and functions that the file may use.
        make: makes the estimator with the file's fields: returns it, and its recipe, task and
            callbacks.

    Returns:
        The estimator, its network with the file's weights, its history and its seed.
    """
    path = _as_path(path)
    if not path.exists():
        near = {p.stem: p.name for p in path.parent.glob("*.keras")}
        found = [near[stem] for stem in near_names(path.stem, near)]
        raise FileNotFoundError(
            f"path={str(path)!r}: there is no such file"
            + (f"; did you mean {' or '.join(map(repr, found))}?" if found else "")
        )
    if path.is_dir():
        raise IsADirectoryError(
            f"path={str(path)!r}: is a folder; write the name of a .keras file in it"
        )
    if not path.is_file():
        raise ValueError(
            f"path={str(path)!r}: is no ordinary file; write the name of a .keras file"
        )
    content = read_whole(path)
    where = f"path={str(path)!r}: "
    try:
        parts = archive.members(content)
    except archive.NotOurs as error:
        raise ValueError(
            f"{where}is no file that {owner}.save wrote, but an archive without {error}; "
            "load a plain Keras model with keras.models.load_model"
        ) from error
    except Malformed as error:
        if content[:2] == b"PK":
            raise ValueError(
                f"{where}is cut short or damaged ({error}); save it again, or copy it again from "
                "where it is whole"
            ) from error
        raise ValueError(
            f"{where}is no file that {owner}.save wrote ({error}); write the name of one"
        ) from error
    try:
        meta = _meta(parts[0], len(content))
        with archive.variables_within(*archive.weights_size(parts[1])):
            values = _fields(meta, path, owner, names, paths, allowed)
            try:
                history = History.from_dict(meta["history"])
            except (ValueError, TypeError, OverflowError) as error:
                raise Malformed(f"{ENTRY}: history: {error}") from error
            try:
                with safe_mode():
                    made, recipe, task, chosen = make(values)
            except Exception as error:  # the user's hooks run here, and Keras', with these values
                raise Malformed(f"{ENTRY}: fields: {error}") from error
            network = _network(recipe, task, chosen, meta, parts[1])
    except Malformed as error:
        raise ValueError(
            f"{where}{_in_a_line(error)}. {owner}.save does not write that: save it again, "
            "or copy it again from where it is whole"
        ) from error
    except _Misfit as error:
        raise ValueError(f"{where}{_in_a_line(error)}") from error
    return made, network, history, meta["seed"]


class _Misfit(ValueError):
    """A file of ours that this class, or this version, cannot use."""


def _meta(text: bytes, length: int) -> dict[str, Any]:
    """The entries of trainer.json, of the right types; the parts check what is in them."""
    try:
        meta = forms.mapping("its content", forms.parse(text, length), ("format",))
        number = forms.whole("format", meta["format"], 1)
        if number > FORMAT:
            raise _Misfit(
                f"has format {number}, and this version reads up to {FORMAT}; install the version "
                "of trainer that wrote it, or a newer one"
            )
        forms.mapping("its content", meta, _KEYS)
        forms.no_others("its content", meta, _KEYS)
        forms.text("class", meta["class"])
        forms.mapping("fields", meta["fields"])
        forms.whole("seed", meta["seed"], 0, 2**32 - 1)
        forms.text("precision", meta["precision"], _PRECISIONS)
    except Malformed as error:
        raise Malformed(f"{ENTRY}: {error}") from error
    return meta


def _fields(
    meta: dict[str, Any],
    path: Path,
    owner: str,
    names: Collection[str],
    paths: Collection[str],
    allowed: Allowed,
) -> dict[str, Any]:
    """The fields in the file, as the estimator takes them."""
    if meta["class"] != owner:
        other = meta["class"] if meta["class"].isidentifier() else forms.shown(meta["class"])
        raise _Misfit(f"was saved by {other}, not {owner}; write {other}.load({str(path)!r})")
    unknown = [name for name in meta["fields"] if name not in names]
    if unknown:
        raise _Misfit(
            f"holds the field {unknown[0]!r}, which {owner} lacks; "
            "load it with the class as it was when it was saved"
        )
    values = {}
    for name, form in meta["fields"].items():
        if name in paths:
            continue  # files of version 0.1.0 have them
        if name == "callbacks":
            form, left = _without_paths(form)
            for plugin, field, place in left:
                warnings.warn(
                    f"path={str(path)!r}: the callback {plugin!r} has {field}={place}; where to "
                    f"write is not taken from a file, and the loaded {owner} has the "
                    "default instead",
                    stacklevel=4,
                )
        try:
            values[name] = _from_json(form, allowed)
            allowed.check(values[name])
            if name == "callbacks":
                _check_plugins(values[name], allowed)
        except Malformed as error:
            raise Malformed(f"{ENTRY}: fields: {name}: {error}") from error
    seed = values.get("random_state")
    if seed is not None:
        forms.whole(f"{ENTRY}: fields: random_state", seed, 0, 2**32 - 1)
    return values


def _check_plugins(specs: Any, allowed: Allowed) -> None:
    for spec in specs if isinstance(specs, (list, tuple)) else ():
        name = spec.get("name") if isinstance(spec, dict) else spec
        if not isinstance(name, str):
            raise forms.wrong("a callback", spec, "a name, or a dict with a name")
        if name in callbacks.BUILT_IN:
            continue
        if name not in callbacks.names():
            raise Malformed(f"there is no plugin {forms.shown(name)}; import the one it was")
        registered = callbacks.find(name) if callbacks.is_registered(name) else None
        allowed.check_plugin(name, registered)


def _without_paths(form: Any) -> tuple[Any, list[tuple[str, str, str]]]:
    """The form of the field callbacks without the plugins' paths, and those that were set."""
    found: list[tuple[str, str, str]] = []

    def one(spec: Any) -> Any:
        pairs = spec.get("dict") if isinstance(spec, dict) else None
        if not isinstance(pairs, list) or not all(
            isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) for p in pairs
        ):
            return spec
        name = dict(pairs).get("name")
        paths: tuple[str, ...] = ()
        if isinstance(name, str) and (name in callbacks.BUILT_IN or callbacks.is_registered(name)):
            paths = path_fields(callbacks.find(name))
        found.extend(
            (str(name), field, forms.shown(value))
            for field, value in pairs
            if field in paths and value is not None
        )
        return {"dict": [pair for pair in pairs if pair[0] not in paths]}

    if isinstance(form, dict) and isinstance(form.get("tuple"), list):
        return {"tuple": [one(spec) for spec in form["tuple"]]}, found
    if isinstance(form, list):
        return [one(spec) for spec in form], found
    return form, found


def history_of(content: bytes) -> History:
    """The history in a file that `save` wrote.

    Raises:
        ValueError: it is no such file, or damaged.
    """
    try:
        text, _ = archive.members(content)
        return History.from_dict(_meta(text, len(content))["history"])
    except ValueError as error:
        raise ValueError(f"it is cut short or damaged ({error})") from error


def to_bytes(
    fitted: Fitted,
    network: Network,
    *,
    fields: dict[str, Any] | None = None,
    weights_only: bool = True,
) -> bytes:
    """The file's content.

    Args:
        fitted: what is written beside the network.
        network: its network.
        fields: its fields in JSON's form; None where they travel with a pickle.
        weights_only: leave out the architecture; it is rebuilt, and only plain Keras needs it.
    """
    meta = {
        "format": FORMAT,
        "class": fitted.owner,
        "fields": fields or {},
        "seed": fitted.seed,
        "precision": network.precision,
        "inputs": network.inputs.to_dict(),
        "targets": network.targets.to_dict(),
        "history": fitted.history.to_dict(),
    }
    with tempfile.TemporaryDirectory() as folder, _one_optimizer(network):
        file = Path(folder) / "model.keras"
        # In memory from here on: where a file cannot be read, zipfile's mode "a" takes it for one
        # that is not an archive, and would leave the weights out.
        content = io.BytesIO()
        if weights_only or not _save_model(network.whole, file):
            weights = Path(folder) / WEIGHTS
            network.whole.save_weights(weights)
            with zipfile.ZipFile(content, "w") as archive:
                archive.writestr(WEIGHTS, weights.read_bytes())
        else:
            content.write(file.read_bytes())
        with zipfile.ZipFile(content, "a") as archive:
            archive.writestr(ENTRY, json.dumps(meta))
        return content.getvalue()


def _save_model(model: keras.Model, file: Path) -> bool:
    """Let Keras write the model; False, with a warning, if it cannot describe its class."""
    try:
        model.save(file)
    except (NotImplementedError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        warnings.warn(
            "plain Keras will not be able to open the file, Trainer.load will: a model in it has "
            f"no usable get_config(). Keras says: {said[:150]}",
            stacklevel=5,
        )
        return False
    return True


def network_from_bytes(
    recipe: Recipe, task: Task, callbacks: Sequence[Any], content: bytes
) -> Network:
    """Rebuild the network that `to_bytes` wrote.

    Args:
        recipe: what the estimator decides about its network.
        task: its kind of task.
        callbacks: those that may change the optimizer.
        content: of the file.

    Raises:
        ValueError: the content is damaged, or the weights do not fit what build_model makes.
    """
    text, weights = archive.members(content)
    with archive.variables_within(*archive.weights_size(weights)):
        return _network(recipe, task, callbacks, _meta(text, len(content)), weights)


def _network(
    recipe: Recipe, task: Task, callbacks: Sequence[Any], meta: dict[str, Any], weights: bytes
) -> Network:
    owner = recipe.owner
    try:
        inputs = Inputs.from_dict(meta["inputs"])
        blank_rows(inputs)
    except Malformed as error:
        raise Malformed(f"{ENTRY}: {error}") from error
    try:
        targets = task.restore(meta["targets"])
    except Malformed as error:
        raise Malformed(f"{ENTRY}: {error}") from error
    except Exception as error:  # a task of the user's own does not check what a file says
        raise Malformed(f"{ENTRY}: targets: {error}") from error
    try:
        network = rebuild(
            recipe,
            inputs,
            targets,
            precision=meta["precision"],
            seed=meta["seed"],
            callbacks=callbacks,
        )
    except Exception as error:  # whatever build_model raises: it has only the file to go by
        large = archive.too_large(error)
        if large is not None:
            raise Malformed(f"{ENTRY}: {large}") from error
        raise _Misfit(
            f"{owner} cannot be built again with what the file says of fields, inputs and targets "
            f"({_first_line(error)}); was {owner} changed since, or the file?"
        ) from error
    try:
        _read_weights(network, weights)
    except ValueError as error:
        raise _Misfit(
            f"the weights in the file do not fit the model that {owner}.build_model makes now; "
            f"was it changed since? Keras says: {_first_line(error)}"
        ) from error
    return network


def load_weights(network: Network, content: bytes) -> None:
    """Give a network the weights, and its optimizer the state, that `to_bytes` wrote.

    Raises:
        ValueError: they do not fit, or the content is damaged.
    """
    _, weights = archive.members(content)
    archive.weights_size(weights)
    _read_weights(network, weights)


def _read_weights(network: Network, weights: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, _one_optimizer(network), safe_mode():
        file = Path(folder) / WEIGHTS
        file.write_bytes(weights)
        with warnings.catch_warnings(record=True) as caught:
            # Keras would keep the weights of a new model
            warnings.filterwarnings("error", "Skipping nested container")
            warnings.filterwarnings("always", _OTHER_OPTIMIZER)
            try:
                network.whole.load_weights(file)
            except ValueError:
                raise
            except Exception as error:  # of HDF5: OSError, RuntimeError, KeyError, ...
                raise ValueError(_first_line(error)) from error
    for warning in caught:
        if re.match(_OTHER_OPTIMIZER, str(warning.message)):
            warnings.warn(
                "the file's optimizer state does not fit the present optimizer, which starts "
                "without it: an object in the field callbacks or optimizer was not saved, or was "
                "changed since. The weights are the file's",
                stacklevel=2,
            )
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _in_a_line(error: Exception) -> str:
    """What an error says, short and without what a terminal would obey: it may quote the file."""
    said = "".join(c if c.isprintable() else " " for c in str(error))
    return said if len(said) <= 600 else f"{said[:600]}..."


@contextlib.contextmanager
def _one_optimizer(network: Network) -> Iterator[None]:
    """Show Keras the optimizer as the whole model's only, not as its core's as well: there it
    would be written, and plain Keras, which loads the core as a layer, would not find it."""
    core = network.core
    shared = core.optimizer
    if network.whole is not core:
        core.optimizer, core.compiled = None, False
    try:
        yield
    finally:
        core.optimizer, core.compiled = shared, True


def _as_path(path: Any) -> Path:
    if not isinstance(path, (str, Path)):
        raise TypeError(f"path={path!r}: must be the name of a file, such as 'model.keras'")
    return Path(path)


def to_json(value: Any) -> Any:
    """A field's value in a form that JSON holds, tuples and Keras objects included."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, tuple):
        return {"tuple": [to_json(v) for v in value]}
    if isinstance(value, list):
        return [to_json(v) for v in value]
    if isinstance(value, dict):
        return {"dict": [[to_json(k), to_json(v)] for k, v in value.items()]}
    import keras

    keras_types = (
        keras.optimizers.Optimizer,
        keras.optimizers.schedules.LearningRateSchedule,
        keras.losses.Loss,
        keras.metrics.Metric,
    )
    if isinstance(value, keras_types) and type(value).__module__.startswith("keras."):
        config = keras.saving.serialize_keras_object(value)
        json.dumps(config)  # raises TypeError for what JSON cannot hold
        return {"keras": config}
    if isinstance(value, keras.callbacks.Callback) and hasattr(value, "get_params"):
        # a plugin that has a name is written as the dict that makes one like it
        name, fields = getattr(value, "name", None), value.get_params(deep=False)
        if name in callbacks.names() and callbacks.find(name) is type(value):
            return to_json({"name": name, **fields})
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _from_json(form: Any, allowed: Allowed) -> Any:
    if isinstance(form, list):
        return [_from_json(v, allowed) for v in form]
    if not isinstance(form, dict):
        return form
    kind = next(iter(form), None)
    if len(form) != 1 or kind not in ("keras", "tuple", "dict"):
        raise forms.wrong("a value", form, "plain, or one of 'keras', 'tuple' and 'dict'")
    if kind == "keras":
        return allowed.make(form["keras"])
    if kind == "tuple":
        return tuple(_from_json(v, allowed) for v in forms.items("a tuple", form["tuple"]))
    found = {}
    for pair in forms.items("a dict", form["dict"]):
        key, value = (_from_json(v, allowed) for v in forms.items("a pair", pair, 2))
        try:
            found[key] = value
        except TypeError:
            raise forms.wrong("a key", key, "plain, or a tuple") from None
    return found
