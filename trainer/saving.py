"""Saving a fitted Trainer: one .keras file that also holds what the estimator needs.

Responsible for the file format. A .keras file is a zip archive; its `trainer.json` holds fields,
inputs, targets and history. Loading rebuilds the network with build_model and reads the weights:
no code comes from the file, and nothing is unpickled. Not for writing files atomically (`files`),
for the size limits of an archive (`archive`), for which classes a file may name (`allowed`), nor
for the exact state of an unfinished run.
"""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from trainer import callbacks, models
from trainer.data.inputs import Inputs
from trainer.fields import path_fields
from trainer.history import History
from trainer.models import Chosen
from trainer.network import adapters, compile, compiled, given
from trainer.network.allowed import Allowed, NotGiven, cannot_be_named, safe_mode
from trainer.network.build import Recipe, blank_rows, rebuild
from trainer.network.network import Network
from trainer.state.variables import seed_states
from trainer.tasks import Task
from trainer.utils import archive, forms
from trainer.utils.archive import ADAPTERS, ENTRY, WEIGHTS
from trainer.utils.checks import near_names
from trainer.utils.files import read_whole, write_whole
from trainer.utils.forms import Malformed

if TYPE_CHECKING:
    import keras

Made = TypeVar("Made")

FORMAT = 1
_KEYS = ("format", "class", "fields", "seed", "precision", "inputs", "targets", "history")
_ADDED = ("architecture", "seeds")  # since 0.2: what a file lacks is as 0.1 had it
_EVALUATED = ("loss", "metrics", "weighted_metrics")  # fields
_OTHER_OPTIMIZER = "Skipping variable loading for optimizer"
# What a file may say of names of weights: a regular expression could take for ever.
_WORDS = re.compile(r"[\w./-]+(\|[\w./-]+)*")
_PRECISIONS = ("float32", "float64", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class Fitted:
    """The parts of a fitted estimator that are saved besides its network.

    Attributes:
        owner: the name of its class.
        fields: its fields by name, without paths: paths on this machine mean nothing to whoever
            receives the file.
        seed: of the fit.
        history: of the fit.
    """

    owner: str
    fields: Mapping[str, Any]
    seed: int
    history: History


def save(
    fitted: Fitted,
    network: Network,
    path: str | Path,
    *,
    adapters_only: bool = False,
    weights_only: bool = False,
) -> Path:
    """Write the file: see Trainer.save; with weights_only without warnings, and not for Keras."""
    path = _as_path(path)
    if path.suffix != ".keras":
        raise ValueError(f"path={str(path)!r}: must end in .keras; write {str(path) + '.keras'!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(path.parent)!r}")
    kept: dict[str, Any] = {}
    for name, value in fitted.fields.items():
        if given.is_model(value) and not weights_only:
            _warn_of_penalties(fitted.owner, value)
        try:
            form = _written(value)
            kept[name] = _without_paths(form)[0] if name == "callbacks" else form
        except _NoConfig as error:
            kept[name] = {"model": None}
            if not weights_only:
                warnings.warn(
                    f"{fitted.owner}.load will not be able to open the file, as {name}={error}; "
                    "plain Keras opens it if it can: "
                    "keras.models.load_model(path, safe_mode=False)",
                    stacklevel=3,
                )
        except TypeError:
            if not weights_only:
                warnings.warn(
                    f"{name}={value!r} cannot be written to a file; the loaded {fitted.owner} will "
                    f"have the default instead{_in_evaluate(name)}",
                    stacklevel=3,
                )
    try:
        content = to_bytes(
            fitted, network, fields=kept, weights_only=weights_only, adapters_only=adapters_only
        )
    except OSError as error:
        raise OSError(
            error.errno,
            f"path={str(path)!r}: not written, and an existing file is unchanged: the temporary "
            f"folder {tempfile.gettempdir()!r} could not hold it ({error.strerror}); make room, "
            "or set TMPDIR to a folder with room",
        ) from error
    write_whole(path, content)
    return path


def _warn_of_penalties(owner: str, model: Any) -> None:
    try:
        others = given.penalties_beside_config(model)
    except given.CannotCopy:  # another warning says that it cannot be written
        return
    if others:
        warnings.warn(
            f"the regularizer or constraint of {', '.join(others)} differs from what the config of "
            f"the layer says; the loaded {owner} will have that of the config",
            stacklevel=4,
        )


def load(
    path: str | Path,
    *,
    owner: str,
    names: Collection[str],
    paths: Collection[str],
    allowed: Allowed,
    make: Callable[[dict[str, Any], Chosen], tuple[Made, Recipe, Task, Sequence[Any]]],
) -> tuple[Made, Network, History, int]:
    """Read the file: see Trainer.load.

    Args:
        path: the file.
        owner: the name of the class to load.
        names: the names of its fields.
        paths: the names of the fields that are paths, which are ignored.
        allowed: the classes and functions that the file may use.
        make: creates the estimator from the file's fields and architecture; returns it with its
            recipe, task and callbacks.

    Returns:
        The estimator, its network with the file's weights, its history and its seed.
    """
    path = _as_path(path)
    _check_is_file(path)
    content = read_whole(path)
    where = f"path={str(path)!r}: "
    parts = _members(content, where, owner)
    try:
        meta = _meta(parts[0], len(content))
        apart = archive.adapters(content)
        with archive.variables_within(*_size(parts[1], apart, len(content))):
            values = _fields(meta, path, owner, names, paths, allowed)
            try:
                history = History.from_dict(meta["history"])
            except (ValueError, TypeError, OverflowError) as error:
                raise Malformed(f"{ENTRY}: history: {error}") from error
            architecture = _architecture(meta)
            try:
                with safe_mode():
                    made, recipe, task, chosen = make(values, architecture)
            except Exception as error:  # user-defined hooks and Keras use these values here
                raise Malformed(f"{ENTRY}: fields: {error}") from error
            for name in sorted({"loss", "metrics"} & set(names) - set(values)):
                if not _can_be_written(getattr(made, name)):
                    continue  # a default of its class, which it had when it was saved
                warnings.warn(
                    f"path={str(path)!r}: has no {name}, which could not be written to a file; the "
                    f"loaded {owner} has the default instead{_in_evaluate(name)}",
                    stacklevel=3,
                )
            network = _network(recipe, task, chosen, meta, parts[1], apart)
    except NotGiven as error:
        raise ValueError(f"{where}{_in_a_line(error)}") from error
    except Malformed as error:
        raise ValueError(
            f"{where}{_in_a_line(error)}. {owner}.save does not write that: save it again, "
            "or copy it again from an intact file"
        ) from error
    except _Misfit as error:
        raise ValueError(f"{where}{_in_a_line(error)}") from error
    return made, network, history, meta["seed"]


def owner_of(path: str | Path) -> str:
    """Return the name of the class whose `save` wrote a file.

    Raises:
        FileNotFoundError, ValueError: As Trainer.load.
    """
    path = _as_path(path)
    _check_is_file(path)
    content = read_whole(path)
    where = f"path={str(path)!r}: "
    parts = _members(content, where, "Trainer")
    try:
        owner = _meta(parts[0], len(content))["class"]
    except ValueError as error:
        raise ValueError(
            f"{where}{_in_a_line(error)}. Copy it again from an intact file"
        ) from error
    return str(owner if owner.isidentifier() else forms.shown(owner))


def _members(content: bytes, where: str, owner: str) -> tuple[bytes, bytes]:
    """Return the members of the file, or raise an error that says why there are none."""
    try:
        return archive.members(content)
    except archive.NotOurs as error:
        raise ValueError(
            f"{where}was not written by {owner}.save: it is an archive without {error}; "
            "load a plain Keras model with keras.models.load_model"
        ) from error
    except Malformed as error:
        if content[:2] == b"PK":
            raise ValueError(
                f"{where}is truncated or damaged ({error}); save it again, or copy it again from "
                "an intact file"
            ) from error
        raise ValueError(
            f"{where}is not a file written by {owner}.save ({error}); write the name of one"
        ) from error


def _check_is_file(path: Path) -> None:
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
            f"path={str(path)!r}: is not a regular file; write the name of a .keras file"
        )


class _Misfit(ValueError):
    """A valid file that this class, or this version, cannot use."""


def _meta(text: bytes, length: int) -> dict[str, Any]:
    """The entries of trainer.json, with their types checked; their contents are checked later."""
    try:
        meta = forms.mapping("its content", forms.parse(text, length), ("format",))
        number = forms.whole("format", meta["format"], 1)
        if number > FORMAT:
            raise _Misfit(
                f"has format {number}, and this version reads up to {FORMAT}; install the version "
                "of trainer that wrote it, or a newer one"
            )
        forms.mapping("its content", meta, _KEYS)
        forms.no_others("its content", meta, (*_KEYS, *_ADDED))
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
    """The fields in the file, as arguments of the estimator."""
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
            continue  # files from version 0.1.0 have them
        if name == "callbacks":
            form, left = _without_paths(form)
            for plugin, field, place in left:
                warnings.warn(
                    f"path={str(path)!r}: the callback {plugin!r} has {field}={place}; output "
                    f"paths are not taken from a file, and the loaded {owner} has the default "
                    "instead",
                    stacklevel=4,
                )
        try:
            values[name] = _from_json(form, allowed)
            allowed.check(values[name])
            if name == "callbacks":
                _check_plugins(values[name], allowed)
        except Malformed as error:
            kind = NotGiven if isinstance(error, NotGiven) else Malformed
            raise kind(f"{ENTRY}: fields: {name}: {error}") from error
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
            raise Malformed(f"there is no plugin {forms.shown(name)}; import its module first")
        registered = callbacks.find(name) if callbacks.is_registered(name) else None
        allowed.check_plugin(name, registered)


def _without_paths(form: Any) -> tuple[Any, list[tuple[str, str, str]]]:
    """The field callbacks in JSON form without the plugins' paths, and the paths removed."""
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
    """The history in a file written by `save`.

    Raises:
        ValueError: the file was not written by `save`, or is damaged.
    """
    try:
        text, _ = archive.members(content)
        return History.from_dict(_meta(text, len(content))["history"])
    except ValueError as error:
        raise ValueError(f"it is truncated or damaged ({error})") from error


def to_bytes(
    fitted: Fitted,
    network: Network,
    *,
    fields: dict[str, Any] | None = None,
    weights_only: bool = True,
    precision: str | None = None,
    adapters_only: bool = False,
) -> bytes:
    """The file's content.

    Args:
        fitted: what to write besides the network.
        network: its network.
        fields: its fields in JSON form; None if they are pickled separately.
        weights_only: leave out the architecture, which only plain Keras needs.
        precision: in which the network is to be built again; None for its own.
        adapters_only: leave out the frozen weights and the optimizer's state as well.

    Raises:
        ValueError: adapters_only, and no weight is frozen, or all are.
    """
    meta = {
        "format": FORMAT,
        "class": fitted.owner,
        "fields": fields or {},
        "seed": fitted.seed,
        "precision": precision or network.precision,
        "inputs": network.inputs.to_dict(),
        "targets": network.targets.to_dict(),
        "architecture": network.architecture.to_dict(),
        "history": fitted.history.to_dict(),
        "seeds": [np.asarray(state).tolist() for state in seed_states(network.core)],
    }
    with tempfile.TemporaryDirectory() as folder:
        # In memory from here on: zipfile's mode "a" takes an unreadable file for one that is not
        # an archive, and the weights would be lost.
        content = io.BytesIO()
        apart = (adapters.to_bytes if adapters_only else adapters.lora_to_bytes)(network.core)
        if not adapters_only:
            content.write(_model_to_bytes(network, Path(folder), weights_only=weights_only))
        with zipfile.ZipFile(content, "a") as archive:
            if apart is not None:
                archive.writestr(ADAPTERS, apart)
            archive.writestr(ENTRY, json.dumps(meta))
        return content.getvalue()


def _model_to_bytes(network: Network, folder: Path, *, weights_only: bool) -> bytes:
    """An archive with what Keras saves of the model: all of it, or its weights."""
    file, weights = folder / "model.keras", folder / WEIGHTS
    if not weights_only and _save_model(network.whole, file):
        return file.read_bytes()
    try:
        network.whole.save_weights(weights)
    except RuntimeError as error:  # HDF5 says so in a message of many lines
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(weights)) from error
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(WEIGHTS, weights.read_bytes())
    return content.getvalue()


def _save_model(model: keras.Model, file: Path) -> bool:
    """Let Keras write the model; return False, with a warning, if it cannot serialize it."""
    try:
        model.save(file)
    except (NotImplementedError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        warnings.warn(
            "plain Keras will not be able to open the file, Trainer.load will: a model in it has "
            f"no usable get_config(). Keras says: {said[:150]}",
            stacklevel=6,
        )
        return False
    return True


def network_from_bytes(
    recipe: Callable[[Chosen], Recipe], task: Task, callbacks: Sequence[Any], content: bytes
) -> Network:
    """Rebuild the network from the content written by `to_bytes`.

    Args:
        recipe: returns how the estimator builds its network, given the architecture in the file.
        task: its kind of task.
        callbacks: those that may change the optimizer.
        content: of the file.

    Raises:
        ValueError: the content is damaged, or the weights do not fit build_model's network.
    """
    text, weights = archive.members(content)
    apart = archive.adapters(content)
    with archive.variables_within(*_size(weights, apart, len(content))):
        meta = _meta(text, len(content))
        return _network(recipe(_architecture(meta)), task, callbacks, meta, weights, apart)


def _size(weights: bytes, apart: bytes | None, length: int) -> tuple[int, int]:
    """The number of variables, and bytes in them, that a network from a file may have."""
    if weights:
        return archive.weights_size(weights)
    assert apart is not None  # one of both is in every file
    try:
        return adapters.size(apart, length)
    except Malformed as error:
        raise Malformed(f"{ADAPTERS}: {error}") from error


def _architecture(meta: dict[str, Any]) -> Chosen:
    try:
        return models.restore(meta.get("architecture"))
    except Malformed as error:
        raise Malformed(f"{ENTRY}: {error}") from error


def _network(
    recipe: Recipe,
    task: Task,
    callbacks: Sequence[Any],
    meta: dict[str, Any],
    weights: bytes,
    apart: bytes | None,
) -> Network:
    owner = recipe.owner
    try:
        inputs = Inputs.from_dict(meta["inputs"], recipe.architecture.encoding)
        blank_rows(inputs)
    except Malformed as error:
        raise Malformed(f"{ENTRY}: {error}") from error
    try:
        targets = task.restore(meta["targets"])
    except Malformed as error:
        raise Malformed(f"{ENTRY}: {error}") from error
    except Exception as error:  # a user-defined task need not validate what is in the file
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
    except Exception as error:  # build_model may raise anything, given the file's values
        large = archive.too_large(error)
        if large is not None:
            raise Malformed(f"{ENTRY}: {large}") from error
        raise _Misfit(
            f"{owner} cannot be rebuilt from the fields, inputs and targets in the file "
            f"({_first_line(error)}); has {owner} or the file been changed since?"
        ) from error
    try:
        _read_weights(network, weights, apart)
    except Malformed as error:
        raise Malformed(f"{ADAPTERS}: {error}") from error
    except adapters.OtherBase as error:
        raise _Misfit(str(error)) from error
    except ValueError as error:
        raise _Misfit(
            f"the weights in the file do not fit the model that {owner}.build_model makes now; "
            f"has it been changed since? Keras says: {_first_line(error)}"
        ) from error
    _read_seeds(network, meta.get("seeds"))
    return network


def _read_seeds(network: Network, found: Any) -> None:
    """Restore the states of random generators, which Keras does not save, to train further.

    Raises:
        Malformed: they are not states, or not as many as the model has.
    """
    states = seed_states(network.core)
    if found is None:
        return  # written by 0.1
    try:
        for state, numbers in zip(states, forms.items("seeds", found, len(states)), strict=True):
            pair = forms.items("seeds", numbers, 2)
            state.assign([forms.whole("seeds", number, 0, 2**63 - 1) for number in pair])
    except Malformed as error:
        raise Malformed(f"{ENTRY}: {error}") from error


def load_weights(network: Network, content: bytes) -> None:
    """Load weights and optimizer state written by `to_bytes` into a network.

    Raises:
        ValueError: they do not fit, or the content is damaged.
    """
    _, weights = archive.members(content)
    if weights:
        archive.weights_size(weights)
    _read_weights(network, weights, archive.adapters(content))


def _read_weights(network: Network, weights: bytes, apart: bytes | None) -> None:
    if not weights:
        assert apart is not None  # one of both is in every file
        with network.ambient():
            adapters.load(network.core, apart)
        return
    factors = adapters.first_factors(network.core)
    _read_by_keras(network, weights)
    with network.ambient():
        if apart is not None:
            adapters.load_lora(network.core, apart)
        else:
            # Of 0.1, or a network saved before it had LoRA: its kernels are right, and adapters
            # learn only if one of their factors is not zero.
            for variable, value in factors:
                variable.assign(value)


def _read_by_keras(network: Network, weights: bytes) -> None:
    # the filters of warnings belong to the process: one thread at a time changes them
    with tempfile.TemporaryDirectory() as folder, network.ambient(), safe_mode():
        file = Path(folder) / WEIGHTS
        file.write_bytes(weights)
        with warnings.catch_warnings(record=True) as caught:
            # Keras would silently keep the newly initialized weights
            warnings.filterwarnings("error", "Skipping nested container")
            warnings.filterwarnings("always", _OTHER_OPTIMIZER)
            try:
                network.whole.load_weights(file)
            except ValueError:
                raise
            except Exception as error:  # HDF5 raises OSError, RuntimeError, KeyError, ...
                raise ValueError(_first_line(error)) from error
    for warning in caught:
        if re.match(_OTHER_OPTIMIZER, str(warning.message)):
            warnings.warn(
                "the file's optimizer state does not fit the current optimizer, which starts "
                "fresh: an object in the field callbacks or optimizer was not saved, or was "
                "changed since. The weights were loaded",
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
    """An error's message, short and without control characters: it may quote the file."""
    said = "".join(c if c.isprintable() else " " for c in str(error))
    return said if len(said) <= 600 else f"{said[:600]}..."


def _as_path(path: Any) -> Path:
    if not isinstance(path, (str, Path)) or not str(path):
        raise TypeError(f"path={path!r}: must be the name of a file, such as 'model.keras'")
    return Path(path)


def _in_evaluate(name: str) -> str:
    """What a default in place of a field's value means for the numbers of `evaluate`."""
    return ", and evaluate computes that" if name in _EVALUATED else ""


def _written(value: Any) -> Any:
    """A field's value in JSON form, from which it comes back with the same functions.

    Raises:
        TypeError: it cannot be written so; _NoConfig for a Keras model.
    """
    form = to_json(value)
    if isinstance(form, (dict, list)):  # else there is no Keras object in it
        reason = cannot_be_named(value, form)
        if reason is not None and given.is_model(value):
            raise _NoConfig(f"<{type(value).__name__}> has no usable config ({reason})")
        if reason is not None:
            raise TypeError(reason)
    return form


def _can_be_written(value: Any) -> bool:
    try:
        _written(value)
    except TypeError:
        return False
    return True


def to_json(value: Any) -> Any:
    """Convert a field's value to JSON, including tuples and Keras objects."""
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
    if given.is_model(value):
        return _model_to_json(value)
    import keras

    keras_types = (
        keras.optimizers.Optimizer,
        keras.optimizers.schedules.LearningRateSchedule,
        keras.losses.Loss,
        keras.metrics.Metric,
    )
    if isinstance(value, keras_types) and type(value).__module__.startswith("keras."):
        try:
            config = keras.saving.serialize_keras_object(value)
        except NotImplementedError as error:  # it holds an object of a class without a config
            raise TypeError(f"{type(value).__name__}: {error}") from error
        compile.complete(config, value)
        json.dumps(config)  # raises TypeError for what JSON cannot hold
        if isinstance(value, keras.optimizers.Optimizer):
            return _with_exclusions({"keras": config}, value)
        return {"keras": config}
    if isinstance(value, keras.callbacks.Callback) and hasattr(value, "get_params"):
        # a registered plugin is written as a dict with its name and parameters
        name, fields = getattr(value, "name", None), value.get_params(deep=False)
        if name in callbacks.names() and callbacks.find(name) is type(value):
            return to_json({"name": name, **fields})
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


class _NoConfig(TypeError):
    """A Keras model that cannot be made from a file; the message says why."""


def _model_config(model: keras.Model) -> Any:
    """The config of a model, with what it was compiled with, as JSON.

    Raises:
        _NoConfig: it has none that a file may hold.
    """
    import keras

    name = f"<{type(model).__name__}>"
    try:
        form = keras.saving.serialize_keras_object(model)
        made = compiled.find(model)
        for name in ("loss", "metrics", "weighted_metrics") if made is not None else ():
            compile.complete((form.get("compile_config") or {}).get(name), getattr(made, name))
        text = json.dumps(form)
    except Exception as error:  # configs of user-defined layers may raise anything
        raise _NoConfig(f"{name} has no usable config ({_first_line(error)})") from error
    if '"__lambda__"' in text:
        raise _NoConfig(f"{name} has a Lambda layer, whose code no file may hold")
    return json.loads(text)


def _model_to_json(model: keras.Model) -> dict[str, Any]:
    form: dict[str, Any] = {"model": _model_config(model)}
    if frozen := given.frozen(model):
        form = {"freezing": {"of": form, "weights": frozen}}
    return _with_exclusions(form, model.optimizer, model.variables) if model.compiled else form


def _with_exclusions(form: dict[str, Any], optimizer: Any, variables: Any = ()) -> dict[str, Any]:
    """Add what an optimizer excludes from weight decay, which its config does not say.

    Raises:
        TypeError: It cannot be written.
    """
    if optimizer is None:  # the model's class compiles in a way of its own
        return form
    try:
        left_out = compile.excluded(optimizer, variables)
    except ValueError as error:
        raise TypeError(str(error)) from error
    if left_out is None:
        return form
    for text, _ in left_out:
        if text is not None and not _WORDS.fullmatch(text):
            raise TypeError(f"exclude_from_weight_decay(var_names=[{text!r}]): not plain words")
    return {"excluding": {"of": form, "weights": [list(each) for each in left_out]}}


def _freezing(form: Any, allowed: Allowed) -> Any:
    """Return a model of which some variables are not trained although their layers are."""
    form = forms.mapping("freezing", form, ("of", "weights"))
    made = _from_json(form["of"], allowed)
    if not given.is_model(made):
        raise forms.wrong("freezing", form["of"], "a model")
    for place in forms.items("weights", form["weights"]):
        forms.whole("weights", place, 0, len(made.variables) - 1)
        made.variables[place].trainable = False
    if made.compiled and made.optimizer is not None:  # Keras has built it for all of them
        made.optimizer = compile.without_exclusions(made.optimizer)
    return made


def _excluding(form: Any, allowed: Allowed) -> Any:
    """Return an optimizer, or a model that is compiled with one, which excludes weights."""
    given_form = forms.mapping("excluding", form, ("of", "weights"))
    made = _from_json(given_form["of"], allowed)
    variables = made.variables if given.is_model(made) else ()
    left_out: compile.Exclusions = []
    for pair in forms.items("weights", given_form["weights"]):
        text, places = forms.items("weights", pair, 2)
        if text is not None and not _WORDS.fullmatch(forms.text("weights", text)):
            raise forms.wrong("weights", text, "words, with | between them")
        for place in forms.items("weights", places):
            forms.whole("weights", place, 0, len(variables) - 1)
        left_out.append((text, places))
    optimizer = made.optimizer if given.is_model(made) else made
    try:
        optimizer = compile.without_exclusions(optimizer)  # Keras has built that of a model
        compile.exclude(optimizer, left_out, variables)
    except (AttributeError, TypeError, ValueError) as error:
        raise Malformed(f"excluding: {_first_line(error)}") from error
    if not given.is_model(made):
        return optimizer
    made.optimizer = optimizer
    return made


def _from_json(form: Any, allowed: Allowed) -> Any:
    if isinstance(form, list):
        return [_from_json(v, allowed) for v in form]
    if not isinstance(form, dict):
        return form
    kind = next(iter(form), None)
    kinds = ("keras", "tuple", "dict", "model", "excluding", "freezing")
    if len(form) != 1 or kind not in kinds:
        raise forms.wrong("a value", form, f"plain, or one of {', '.join(map(repr, kinds))}")
    if kind == "freezing":
        return _freezing(form["freezing"], allowed)
    if kind == "excluding":
        return _excluding(form["excluding"], allowed)
    if kind == "model":
        if form["model"] is None:
            raise Malformed(
                "its Keras model could not be written to the file, as a warning said when it was "
                "saved; open it with keras.models.load_model(path, safe_mode=False)"
            )
        return allowed.make_model(form["model"])
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
