"""Saving a fitted Trainer: one .keras file that also holds what the estimator needs.

Responsible for the file's form. A .keras file is a zip archive; `trainer.json` in it holds
fields, inputs, targets and history. Loading rebuilds the network with build_model and reads the
weights: no code comes out of the file, and nothing is unpickled. Not for writing a file whole
(`files`), nor for the exact state of an unfinished run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import callbacks
from trainer import targets as targets_module
from trainer.arrays import Tree, map_named
from trainer.building import build
from trainer.checks import near_names
from trainer.files import write_whole
from trainer.history import History
from trainer.inputs import Inputs
from trainer.models import ModelSpec, map_shapes
from trainer.network import Network

if TYPE_CHECKING:
    import keras

    from trainer.base import Trainer

FORMAT = 1
ENTRY = "trainer.json"
WEIGHTS = "model.weights.h5"  # the name that Keras gives it


def save(trainer: Trainer, network: Network, path: str | Path) -> Path:
    """Write the file: see Trainer.save."""
    path = _as_path(path)
    if path.suffix != ".keras":
        raise ValueError(f"path={str(path)!r}: must end in .keras; write {str(path) + '.keras'!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(path.parent)!r}")
    kept: dict[str, Any] = {}
    for name, value in trainer.get_params(deep=False).items():
        try:
            kept[name] = to_json(value)
        except TypeError:
            warnings.warn(
                f"{name}={value!r} cannot be written to a file; the loaded "
                f"{type(trainer).__name__} will have the default instead",
                stacklevel=3,
            )
    try:
        content = to_bytes(trainer, network, fields=kept, weights_only=False)
    except OSError as error:
        raise OSError(
            error.errno,
            f"path={str(path)!r}: not written, since the temporary folder "
            f"{tempfile.gettempdir()!r} could not hold it ({error.strerror}), and what was there "
            "before is unchanged; make room, or set TMPDIR to a folder with room",
        ) from error
    write_whole(path, content)
    return path


def load(cls: type[Any], path: str | Path) -> Any:
    """Read the file: see Trainer.load."""
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
    content = path.read_bytes()
    try:
        meta = _meta(content)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        if content[:2] == b"PK":
            raise ValueError(
                f"path={str(path)!r}: is cut short or damaged ({error}); save it again, or copy "
                "it again from where it is whole"
            ) from error
        raise ValueError(
            f"path={str(path)!r}: is no file that {cls.__name__}.save wrote ({error}); write the "
            "name of one"
        ) from error
    except KeyError as error:
        raise ValueError(
            f"path={str(path)!r}: is no file that {cls.__name__}.save wrote, but an archive "
            f"without {error.args[0]}; load a plain Keras model with keras.models.load_model"
        ) from error
    if meta["format"] > FORMAT:
        raise ValueError(
            f"path={str(path)!r}: has format {meta['format']}, and this version reads up to "
            f"{FORMAT}; install the version of trainer that wrote it, or a newer one"
        )
    if meta["class"] != cls.__name__:
        raise ValueError(
            f"path={str(path)!r}: was saved by {meta['class']}, not {cls.__name__}; write "
            f"{meta['class']}.load({str(path)!r})"
        )
    known = set(cls._get_param_names())
    unknown = [name for name in meta["fields"] if name not in known]
    if unknown:
        raise ValueError(
            f"path={str(path)!r}: holds the field {unknown[0]!r}, which {cls.__name__} lacks; "
            "load it with the class as it was when it was saved"
        )
    trainer = cls(**{name: _from_json(value) for name, value in meta["fields"].items()})
    network = network_from_bytes(trainer, content)
    trainer._keep(network, History.from_dict(meta["history"]), meta["seed"])
    return trainer


def history_of(content: bytes) -> History:
    """The history in a file that `save` wrote.

    Raises:
        ValueError: it is no such file, or damaged.
    """
    try:
        return History.from_dict(_meta(content)["history"])
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"it is cut short or damaged ({error})") from error


def to_bytes(
    trainer: Trainer,
    network: Network,
    *,
    fields: dict[str, Any] | None = None,
    weights_only: bool = True,
) -> bytes:
    """The file's content.

    Args:
        trainer: whose class and history are written.
        network: its network.
        fields: its fields in JSON's form; None where they travel with a pickle.
        weights_only: leave out the architecture; it is rebuilt, and only plain Keras needs it.
    """
    meta = {
        "format": FORMAT,
        "class": type(trainer).__name__,
        "fields": fields or {},
        "seed": trainer.seed_,
        "precision": network.precision,
        "inputs": network.inputs.to_dict(),
        "targets": network.targets.to_dict(),
        "history": trainer.history_.to_dict(),
    }
    with tempfile.TemporaryDirectory() as folder, _one_optimizer(network):
        file = Path(folder) / "model.keras"
        if weights_only or not _save_model(network.whole, file):
            weights = Path(folder) / WEIGHTS
            network.whole.save_weights(weights)
            with zipfile.ZipFile(file, "w") as archive:
                archive.write(weights, WEIGHTS)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(ENTRY, json.dumps(meta))
        return file.read_bytes()


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


def network_from_bytes(trainer: Trainer, content: bytes) -> Network:
    """Rebuild the network that `to_bytes` wrote, with the trainer's build_model.

    Raises:
        ValueError: the weights do not fit what build_model makes.
    """
    meta = _meta(content)
    inputs = Inputs.from_dict(meta["inputs"])
    targets = targets_module.from_dict(meta["targets"])
    spec = ModelSpec(inputs.shapes, targets.n_outputs, targets.task)
    network = build(
        trainer,
        inputs,
        targets,
        spec,
        precision=meta["precision"],
        seed=meta["seed"],
        probe=_blank_rows(inputs),
        callbacks=callbacks.make_all(trainer.configure_callbacks()),
    )
    network.core.optimizer.build(network.core.trainable_variables)  # its state is in the file
    try:
        load_weights(network, content)
    except ValueError as error:
        raise ValueError(
            f"the weights in the file do not fit the model that "
            f"{type(trainer).__name__}.build_model makes now; was it changed since? "
            f"Keras says: {str(error).strip().splitlines()[0]}"
        ) from error
    return network


def load_weights(network: Network, content: bytes) -> None:
    """Give a network the weights, and its optimizer the state, that `to_bytes` wrote.

    Raises:
        ValueError: they do not fit.
    """
    with tempfile.TemporaryDirectory() as folder, _one_optimizer(network):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            file = archive.extract(WEIGHTS, folder)
        network.whole.load_weights(file)


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


def _meta(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"{broken} is damaged")
        for name in (ENTRY, WEIGHTS):
            if name not in archive.namelist():
                raise KeyError(name)
        found: dict[str, Any] = json.loads(archive.read(ENTRY))
    for key in ("format", "class", "fields", "seed", "precision", "inputs", "targets", "history"):
        if key not in found:
            raise KeyError(f"{key} in {ENTRY}")
    return found


def _as_path(path: Any) -> Path:
    if not isinstance(path, (str, Path)):
        raise TypeError(f"path={path!r}: must be the name of a file, such as 'model.keras'")
    return Path(path)


def _blank_rows(inputs: Inputs) -> Tree:
    dtypes: dict[str, str] = {}
    map_named(lambda name, d: dtypes.setdefault(name, d), inputs.dtypes)
    shapes = map_shapes(lambda s: np.zeros((2, *(d or 1 for d in s)), np.float32), inputs.shapes)
    return map_named(lambda name, a: a.astype(dtypes[name]), shapes) if dtypes else shapes


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


def _from_json(value: Any) -> Any:
    import keras

    if isinstance(value, list):
        return [_from_json(v) for v in value]
    if isinstance(value, dict):
        if "keras" in value:
            return keras.saving.deserialize_keras_object(value["keras"], safe_mode=True)
        if "tuple" in value:
            return tuple(_from_json(v) for v in value["tuple"])
        return {_from_json(k): _from_json(v) for k, v in value["dict"]}
    return value
