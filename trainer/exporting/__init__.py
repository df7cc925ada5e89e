"""Exporting a fitted network for other runtimes.

Responsible for the order of events: check the arguments, make the model float32, convert it, run
the result with its own runtime, compare, and only then move it into place. Not for the formats
(`formats`), for the rows to compare on (`rows`), or for files (`places`).
"""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data import arrays
from trainer.data.targets import Classes
from trainer.exporting import places
from trainer.network.network import Network, has_only_a_step
from trainer.state.isolation import turn
from trainer.utils.checks import did_you_mean, warn

TOLERANCE = 1e-5  # relative to the largest value of an output
NAMES = ("tf_saved_model", "onnx", "litert", "openvino", "torch")
_OTHER_ENDINGS = {
    ".onnx": "onnx",
    ".tflite": "litert",
    ".xml": "openvino",
    ".pt2": "torch",
    ".keras": None,
    ".h5": None,
    ".pb": "tf_saved_model",
    ".pt": "torch",
}


@dataclass(frozen=True)
class Exported:
    """What `Trainer.export` wrote, and how near it is to ours. Print it.

    Attributes:
        path: the file or folder.
        format: its format.
        inputs: the inputs by name, such as {"x": "float32 [rows, 28, 28]"}.
        outputs: the outputs by name, alike. They are those of the network: probabilities, logits,
            or numbers in the units of y.
        classes: for a classifier, the labels in the order of the values of each output, by its
            name. A single value for two classes belongs to the second.
        meanings: for a classifier, what the values of each output are: "probabilities", "logits",
            or "scores" from -1 to 1.
        thresholds: the probability above which a label is predicted, by output and label; empty
            for the most probable class, and 0.5 for each of several labels.
        columns: for a DataFrame, the name of the column that each input takes, [rows, 1]: numbers
            as float64 with NaN for missing ones, dates as seconds since 1970, and categories as
            text, with "[missing]" for missing ones.
        runtime: what ran the exported model.
        rows: how many rows it was compared on.
        difference: the largest difference of its outputs from a float32 predict, as a share of the
            largest absolute value of the same output.
        difference_to_predict: the same from predict as it is: in the precision of the training.
        precision: the precision of the training; the export is always float32.
    """

    path: Path
    format: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    classes: Mapping[str, list[Any]] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, Mapping[Any, float]] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    runtime: str = ""
    rows: int = 0
    difference: float = 0.0
    difference_to_predict: float = 0.0
    precision: str = "float32"

    def __str__(self) -> str:
        """Return the report as text."""
        lines = [
            f"{self.path} ({self.format}), run by {self.runtime} on {self.rows} rows",
            f"  differs from predict by at most {self.difference_to_predict:.1e}, relative"
            + ("" if self.precision == "float32" else f"; trained in {self.precision}"),
        ]
        for kind, found in (("input", self.inputs), ("output", self.outputs)):
            lines += [f"  {kind} {name}: {form}" for name, form in found.items()]
        lines += [
            f"  {self.meanings.get(name, 'values')} of {name}: {', '.join(map(str, labels[:10]))}"
            + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")
            for name, labels in self.classes.items()
        ]
        return "\n".join(lines)


def export(
    network: Network,
    path: str | Path,
    *,
    format: str,
    owner: str,
    in_float32: Callable[[], Network],
) -> Exported:
    """Write a network in a format: see Trainer.export.

    Args:
        network: the network.
        path: where to write it.
        format: one of NAMES.
        owner: the name of the estimator, for errors and the metadata.
        in_float32: builds the same network in float32; called if it is in another precision.
    """
    path = _checked(path, format)
    from trainer.exporting import formats, graphs, rows

    chosen = formats.FORMATS[format]
    places.check(path, chosen.ending, formats.MARK)
    if has_only_a_step(network.core):
        raise ValueError(
            f"{owner}: {type(network.core).__name__} has train_step and no call, so that there is "
            "nothing to export; define call"
        )
    single = network if network.precision == "float32" else _rebuilt(in_float32)
    single.evidence = network.evidence
    folder = places.workspace(path)
    try:
        made = folder / f"model{chosen.ending}"
        with single.ambient(), formats.quietly():
            served = graphs.Served(single, rows.for_comparison(single))
            _check_finite(served.results, owner)
            about = _described(served)
            try:
                served.check_python()
                chosen.write(served, made, {"class": owner, **about})
            except graphs.Refused as error:
                raise ValueError(_refusal(owner, format, chosen.called, served, error)) from error
            except Exception as error:  # of the converter, which may raise anything
                raise ValueError(
                    f"format={format!r}: the converter fails ({graphs.in_a_line(error)}); nothing "
                    f"was written. {_hint(network, format)}"
                ) from error
            given, expected = [served.flat_rows], [served.results]
            if single.fixed_rows is None:  # another number of rows must do too
                given.append({name: leaf[:1] for name, leaf in served.flat_rows.items()})
                expected.append({name: leaf[:1] for name, leaf in served.results.items()})
            try:
                found = chosen.run(served, made, given)
            except Exception as error:  # of the runtime, which may raise anything
                raise ValueError(
                    f"format={format!r}: {chosen.version} cannot run what was exported "
                    f"({graphs.in_a_line(error)}); nothing was written. {_hint(network, format)}"
                ) from error
        pairs = zip(found, expected, strict=True)
        difference = max(_difference(theirs, ours, served.results) for theirs, ours in pairs)
        if not difference <= TOLERANCE:
            raise ValueError(
                f"format={format!r}: {chosen.version} computes something else than predict in "
                f"float32: the outputs differ by {difference:.1e} of the largest, and at most "
                f"{TOLERANCE:g} is accepted; nothing was written. " + _hint(network, format)
            )
        original = served.results if single is network else served.reference(network)
        places.move(made, path, chosen.ending, formats.MARK)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = Exported(
        path=path,
        format=format,
        **about,
        runtime=chosen.version,
        rows=len(next(iter(served.results.values()))),
        difference=difference,
        difference_to_predict=_difference(found[0], original, original),
        precision=network.precision,
    )
    if network.precision != "float32":
        warn(
            f"precision={network.precision!r}: the model is exported in float32, and its outputs "
            f"differ from predict by up to {report.difference_to_predict:.1e} of the largest"
        )
    return report


def _rebuilt(in_float32: Callable[[], Network]) -> Network:
    # the filters of warnings belong to the process: one thread at a time changes them
    with turn(), warnings.catch_warnings():
        # that of mixed_float16 scales the loss; an export has none
        warnings.filterwarnings("ignore", "the file's optimizer state does not fit")
        return in_float32()


def _checked(path: Any, format: Any) -> Path:
    """Return the path; refuse a bad format, ending, or place, and missing packages."""
    if format not in NAMES:
        raise ValueError(f"format={format!r}: {did_you_mean(format, NAMES)}")
    if not isinstance(path, (str, Path)):
        raise TypeError(f"path={path!r}: must be the name of a file or folder, such as 'model'")
    place = Path(path)
    from trainer.exporting import formats

    chosen = formats.FORMATS[format]
    other = _OTHER_ENDINGS.get(place.suffix, "")
    if chosen.ending and place.suffix != chosen.ending:
        bare = str(place.with_suffix("") if place.suffix in _OTHER_ENDINGS else place)
        instead = f"write {bare + chosen.ending!r}"
        raise ValueError(
            f"path={str(place)!r}: must end in {chosen.ending} with format={format!r}; {instead}"
            + (f", or format={other!r}" if other else "")
        )
    if not chosen.ending and other != "":
        instead = f", or format={other!r}" if other not in (None, format) else ""
        keras_too = "; save writes a .keras file" if place.suffix == ".keras" else ""
        raise ValueError(
            f"path={str(place)!r}: with format={format!r} it is a folder; write "
            f"{str(place.with_suffix(''))!r}{instead}{keras_too}"
        )
    missing = [name for name in chosen.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"format={format!r} needs {', '.join(missing)}; "
            f'pip install "exact-trainer[{chosen.extra}]"'
        )
    return place


def _check_finite(results: Mapping[str, np.ndarray], owner: str) -> None:
    bad = [name for name, leaf in results.items() if not np.isfinite(leaf).all()]
    if bad:
        raise ValueError(
            f"{owner}: the network's {bad[0]} is not finite on rows like those of training, so "
            "that nothing can be compared; write print(estimator.diagnose()), and fit again"
        )


def _described(served: Any) -> dict[str, Any]:
    network = served.network

    def form(dtype: str, shape: Any) -> str:
        inner = "".join(f", {'any' if d is None else d}" for d in tuple(shape)[1:])
        return f"{dtype} [{network.fixed_rows or 'rows'}{inner}]"

    labels = served.named(network.targets.labels) if isinstance(network.targets, Classes) else {}
    classes = {name: list(map(_plain, each.classes.tolist())) for name, each in labels.items()}
    thresholds = {}
    for name, each in labels.items():
        if each.thresholds is not None:
            several = each.kind == "multilabel"
            of = classes[name] if several else [classes[name][each.positive]]
            thresholds[name] = dict(zip(of, each.thresholds, strict=True))
    readings = network.readings
    parts = dict(
        zip(labels, (n for n, _ in arrays.leaves(network.spec.n_outputs, "")), strict=False)
    )
    meanings = {name: readings[part].meaning for name, part in parts.items() if part in readings}
    table = network.inputs.table
    columns = {} if table is None else {c["input"]: c["name"] for c in table.columns}
    return {
        "inputs": {name: form(s.dtype.name, s.shape) for name, s in served.specs.items()},
        "outputs": {name: form(a.dtype.name, a.shape) for name, a in served.results.items()},
        "classes": classes,
        "meanings": meanings,
        "thresholds": thresholds,
        "columns": {name: columns[name] for name in served.specs if name in columns},
    }


def _plain(label: Any) -> Any:
    return label if isinstance(label, (bool, int, float, str)) else str(label)


def _difference(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    scale: Mapping[str, np.ndarray],
) -> float:
    """Return the largest difference, as a share of the largest value of the same output.

    Args:
        found: the outputs of the exported model, by name.
        expected: ours.
        scale: ours on all rows, of which the largest is taken.
    """
    largest = 0.0
    for name, ours in expected.items():
        theirs = np.asarray(found[name], np.float64)
        if theirs.shape != ours.shape or not np.isfinite(theirs).all():
            return float("inf")
        most = np.abs(scale[name].astype(np.float64)).max(initial=0.0)
        apart = np.abs(theirs - ours.astype(np.float64)).max(initial=0.0)
        largest = max(largest, float(apart / most) if most else float(apart))
    return largest


def _refusal(owner: str, format: str, called: str, served: Any, error: Any) -> str:
    network = served.network
    encoded = network.inputs.table is not None or network.inputs.encoding is not None
    layers = f", which {_layers(error.layers)} needs" if error.layers else ""
    if error.instead is not None:
        return f"format={format!r}: {called} has no {error.lacks}{layers}; {error.instead}"
    instead = ""
    if format != "tf_saved_model":
        instead = "; write format='tf_saved_model', which holds everything"
        if encoded and format != "torch":  # Keras exports to torch only from torch
            instead += (
                ", or export the network after its encoder, "
                f"estimator.network_.core.export(path, format={format!r}), and feed it "
                f"estimator.network_.inputs.prepare(x, {owner!r})"
            )
    return f"format={format!r}: {called} has no {error.lacks}{layers}{instead}"


def _layers(names: list[str]) -> str:
    few = ", ".join(repr(name) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"the layer {few}" if len(names) == 1 else f"each of the layers {few}{more}"


def _hint(network: Network, format: str) -> str:
    import keras

    if type(network.core).predict_step is not keras.Model.predict_step:
        return (
            f"{type(network.core).__name__} has a predict_step of its own, and an exported model "
            "is its call; define call so that it does the same"
        )
    if format == "tf_saved_model":
        return "Does the call of a layer do something else each time, or in Python?"
    return "Write format='tf_saved_model'"
