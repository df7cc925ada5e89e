"""The formats: what each writes, what runs it, and what it cannot hold.

Responsible for converting the graph with the converter of each format, for running the result with
the runtime of that format, and for errors that name what the format lacks. Not for where the files
end up (`places`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.exporting import onnx_operations
from trainer.exporting.graphs import Flat, Refused, Served, in_a_line, listed

OPSET = 17  # of ONNX: since 2022, read by every runtime in use
MARK = "exact_trainer.json"  # with the metadata; in a SavedModel it also says that we wrote it
_WORKER = Path(__file__).with_name("torch_worker.py")


@dataclass(frozen=True)
class Format:
    """A format of exported models.

    Attributes:
        called: its name in sentences.
        ending: that of its path; "" for a folder.
        packages: the modules that it needs, besides TensorFlow.
        extra: the extra of this package that installs them; "" if it needs none.
        runtime: the distribution that runs it.
        write: converts, and writes to a path; the last argument is the metadata.
        run: reads the path with the format's own runtime; runs it on each of several sets of rows.
    """

    called: str
    ending: str
    packages: tuple[str, ...]
    extra: str
    runtime: str
    write: Callable[[Served, Path, Mapping[str, Any]], None]
    run: Callable[[Served, Path, list[Flat]], list[Flat]]

    @property
    def version(self) -> str:
        """The runtime and its version."""
        return f"{self.runtime} {metadata.version(self.runtime)}"


# ---- TensorFlow ------------------------------------------------------------------------------


def _write_saved_model(served: Served, path: Path, about: Mapping[str, Any]) -> None:
    served.write_saved_model(str(path))
    extra = path / "assets.extra"  # where a SavedModel may hold files of others
    extra.mkdir()
    (extra / MARK).write_text(json.dumps(about, indent=1), encoding="utf-8")


def _run_saved_model(served: Served, path: Path, rows: list[Flat]) -> list[Flat]:
    loaded = tf.saved_model.load(str(path))
    return [served.named(loaded.serve(served.structured(each))) for each in rows]


# ---- ONNX ------------------------------------------------------------------------------------


def _write_onnx(served: Served, path: Path, about: Mapping[str, Any]) -> None:
    import onnx
    import tf2onnx
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    served.check_size()
    frozen = served.frozen()
    patch_tf2onnx()  # tf2onnx uses names that NumPy 2 has dropped
    renamed = {tensor: name for name, tensor in frozen.inputs.items()}
    renamed |= {tensor: name for name, tensor in frozen.outputs.items()}
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.graph,
        input_names=list(frozen.inputs.values()),
        output_names=list(frozen.outputs.values()),
        opset=OPSET,
        shape_override=frozen.shapes,
        tensors_to_rename=renamed,
        custom_op_handlers=onnx_operations.handlers(frozen.lookups),
        extra_opset=[onnx.helper.make_opsetid("ai.onnx.ml", 3)],
    )
    unknown = [
        node for node in _onnx_nodes(model.graph) if not onnx.defs.has(node.op_type, node.domain)
    ]
    if unknown:
        raise Refused(
            f"operation {listed(sorted(node.op_type for node in unknown))}",
            (served.layer_of(node.name) for node in unknown),
        )
    onnx.helper.set_model_props(model, {k: json.dumps(v) for k, v in about.items()})
    path.write_bytes(model.SerializeToString())


def _onnx_nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _onnx_nodes(attribute.g)


def _run_onnx(_served: Served, path: Path, rows: list[Flat]) -> list[Flat]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(names, each), strict=True)) for each in rows]


# ---- LiteRT ----------------------------------------------------------------------------------


def _write_litert(served: Served, path: Path, _about: Mapping[str, Any]) -> None:
    served.check_size()
    _check_litert(served)
    folder = path.with_suffix(".saved_model")
    served.write_flat_saved_model(str(folder))
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    # The operations of TensorFlow itself (SELECT_TF_OPS) are not in the runtime.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.experimental_enable_resource_variables = True
    try:
        content = converter.convert()
    except Exception as error:  # ConverterError, which is not public
        said = str(error)
        found = re.findall(r"'tf\.(\w+)' op", said)
        places = re.findall(r'"([\w./-]+)@__inference', said)
        if not found:
            raise Refused(f"form of it: {in_a_line(said)}") from error
        raise Refused(
            f"operation {listed(found)} of this kind", map(served.layer_of, places)
        ) from error
    path.write_bytes(content)


def _check_litert(served: Served) -> None:
    """Refuse what LiteRT is known to lack: its converter would print pages of C++ about it."""
    named = {tf.string.as_datatype_enum: "text", tf.float64.as_datatype_enum: "float64"}
    found: dict[str, set[str]] = {}
    layers: set[str | None] = set()
    for node in served.frozen().nodes():
        kinds = {named.get(node.attr[key].type) for key in ("T", "Tin", "SrcT") if key in node.attr}
        if node.op in ("TensorListReserve", "TensorListFromTensor"):
            kinds = {"loops over a batch of any size"}
        for kind in kinds - {None}:
            found.setdefault(str(kind), set()).add(node.op)
            layers.add(served.layer_of(node.name))
    if found:
        each = (f"{listed(sorted(ops))} ({kind})" for kind, ops in found.items())
        raise Refused(f"operation {', '.join(each)}", layers)


def _run_litert(_served: Served, path: Path, rows: list[Flat]) -> list[Flat]:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(path)).get_signature_runner()
    return [runner(**each) for each in rows]


# ---- OpenVINO --------------------------------------------------------------------------------


def _write_openvino(served: Served, path: Path, about: Mapping[str, Any]) -> None:
    import openvino

    text = [
        (node.op, served.layer_of(node.name))
        for node in served.frozen().nodes()
        if any(
            node.attr[key].type == tf.string.as_datatype_enum
            for key in ("T", "Tin", "dtype")
            if key in node.attr
        )
        or node.op.startswith("String")
    ]
    if text:
        ops = sorted({op for op, _ in text} - {"Const", "Placeholder", "Identity"})
        raise Refused(f"text, which {listed(ops)} read", (layer for _, layer in text))
    try:
        model = openvino.convert_model(served.concrete())
    except Exception as error:  # of several kinds, which are not public
        said = str(error)
        ops = re.findall(r"(?:operations|failed for): ([\w, ]+)", said)
        if not ops:
            raise Refused(f"form of it: {in_a_line(said)}") from error
        raise Refused(f"operation {', '.join(ops)}") from error
    for given in model.inputs:
        called = next(n for n in served.specs if n in (s.split(":")[0] for s in given.names))
        given.tensor.set_names({called})
        given.get_node().set_friendly_name(called)
    for name, output in zip(sorted(served.results), model.outputs, strict=True):
        output.tensor.set_names({name})
    for key, value in about.items():
        model.set_rt_info(json.dumps(value), ["exact_trainer", key])
    openvino.save_model(model, str(path), compress_to_fp16=False)


def _run_openvino(served: Served, path: Path, rows: list[Flat]) -> list[Flat]:
    import openvino

    # a CPU with instructions for bfloat16 would compute in it
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", options)
    found = map(compiled, rows)
    return [{name: np.array(each[name]) for name in served.results} for each in found]


# ---- PyTorch ---------------------------------------------------------------------------------


def _write_torch(served: Served, path: Path, about: Mapping[str, Any]) -> None:
    whole = served.network.whole
    foreign = {
        layer.name: type(layer).__name__
        for layer in (whole, *whole._flatten_layers())
        if not type(layer).__module__.startswith("keras.")
    }
    if foreign:
        raise Refused(
            f"form of {listed(sorted(foreign.values()))} (only Keras' own layers are made again "
            "on PyTorch)",
            foreign,
        )
    if any(spec.dtype == tf.string for spec in served.specs.values()):
        raise Refused("text")
    served.frozen()  # refuses what a call changes
    folder = path.with_suffix(".work")
    folder.mkdir()
    whole.save(folder / "model.keras")
    wanted = {
        "inputs": list(served.specs),
        "keys": list(served.rows) if isinstance(served.rows, Mapping) else None,
        "order": served.order_of_outputs(),
        "about": about,
    }
    (folder / "wanted.json").write_text(json.dumps(wanted), encoding="utf-8")
    _save(folder / "rows.npz", served.flat_rows)
    _torch_worker("write", str(folder), str(path))


def _run_torch(served: Served, path: Path, rows: list[Flat]) -> list[Flat]:
    folder = path.with_suffix(".run")
    folder.mkdir()
    for i, each in enumerate(rows):
        _save(folder / f"rows_{i}.npz", each)
    _torch_worker("run", str(folder), str(path))
    found = []
    for i in range(len(rows)):
        with np.load(folder / f"results_{i}.npz") as results:
            found.append({name: results[name] for name in served.results})
    return found


def _save(path: Path, rows: Flat) -> None:
    held: dict[str, Any] = dict(rows)
    np.savez(path, **held)


def _torch_worker(*arguments: str) -> None:
    # A process of its own: Keras has one backend for a process, and ours is TensorFlow.
    done = subprocess.run(
        [sys.executable, str(_WORKER), *arguments],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        errors = re.findall(r"^[\w.]*(?:Error|Exception)\b.*$", done.stderr, re.M)
        raise Refused(f"form of it: {in_a_line(errors[-1] if errors else done.stderr)}")


FORMATS = {
    "tf_saved_model": Format(
        "a SavedModel", "", (), "", "tensorflow", _write_saved_model, _run_saved_model
    ),
    "onnx": Format(
        "ONNX",
        ".onnx",
        ("tf2onnx", "onnx", "onnxruntime"),
        "onnx",
        "onnxruntime",
        _write_onnx,
        _run_onnx,
    ),
    "litert": Format(
        "LiteRT",
        ".tflite",
        ("ai_edge_litert",),
        "litert",
        "ai-edge-litert",
        _write_litert,
        _run_litert,
    ),
    "openvino": Format(
        "OpenVINO",
        ".xml",
        ("openvino",),
        "openvino",
        "openvino",
        _write_openvino,
        _run_openvino,
    ),
    "torch": Format("PyTorch", ".pt2", ("torch",), "torch", "torch", _write_torch, _run_torch),
}


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the converters from logging what an error of ours says, and from their own warnings."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx", "absl")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
