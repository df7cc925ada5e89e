"""The text of Trainer.summary.

Not for plots (`plots`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.data import arrays
from trainer.data.arrays import is_shape, map_shapes
from trainer.utils.notebooks import displays_dropped
from trainer.utils.text import printable

if TYPE_CHECKING:
    from trainer.history import History
    from trainer.network.network import Network


def describe(owner: str, network: Network, history: History, seed: int) -> str:
    """Describe inputs, outputs, optimizer, decisions, the last epoch, and the model's layers.

    Args:
        owner: The name of the estimator's class.
        network: The trained network.
        history: The history of the training.
        seed: The seed of the training.
    """
    lines: list[str] = []
    with displays_dropped():
        network.core.summary(print_fn=lambda text, **_: lines.append(text), line_length=80)
    entries = {
        "class": owner,
        "inputs": _inputs_text(network),
        "outputs": _outputs(network),
        "optimizer": _optimizer(network),
        "precision": f"{network.precision}, seed {seed}",
    }
    if network.plan is not None:
        entries["decisions"] = str(network.plan)
    entries |= _architecture(network)
    records = history.records
    if records:
        last = records[-1]
        shown = "  ".join(f"{printable(k)} {v:.4g}" for k, v in last.items() if k not in ("epoch",))
        entries[f"epoch {last['epoch']:.0f}"] = shown
    width = max(map(len, entries))
    head = "\n".join(f"{name:<{width}}  {printable(value)}" for name, value in entries.items())
    return printable("\n".join([head, *lines]), lines=True)


def _architecture(network: Network) -> dict[str, str]:
    """Return which architecture was chosen, and the values of the fields that may be None."""
    chosen, values = network.architecture, network.architecture.values
    said = [
        f"epochs {values.epochs}",
        f"batch_size {values.batch_size}",
        f"validation_split {values.validation_split:g}",
    ]
    if values.schedule is not None:
        said.append(f"learning rate {values.schedule.get('shape', values.schedule['name'])}")
    if values.early_stopping is not None:
        said.append("best epoch kept")
    found = {"values": ", ".join(said)}
    if chosen.architecture is not None:
        about = chosen.architecture.describe(chosen)
        options = [f"{name}={value!r}" for name, value in chosen.options.items()]
        taken = _taken_for(chosen.name, network.spec.input_shape)
        parts = filter(None, [chosen.name, *options, about, taken])
        found = {"architecture": "; ".join(parts), **found}
    return found


def _taken_for(name: str | None, shape: Any) -> str:
    """Return what rows with two axes are taken for, which may be images or steps of a series."""
    if not is_shape(shape) or len(shape) != 2:
        return ""
    if name == "sequence":
        return f"rows of shape {shape} are taken for {shape[0]} steps of {shape[1]} columns"
    kind = "images" if name == "cnn" else "vectors"
    return f"rows of shape {shape} are taken for {kind}; for a series write model='sequence'"


def _optimizer(network: Network) -> str:
    optimizer = network.core.optimizer
    if not getattr(optimizer, "built", False):
        return "the model's own"
    return f"{optimizer.name}, learning rate {float(optimizer.learning_rate):g}"


def _inputs_text(network: Network) -> str:
    inputs = network.inputs
    if inputs.table is not None:
        kinds = [c["kind"] for c in inputs.table.columns]
        others = {
            "ordered": "ordered",
            "date": "date",
            "text": "text" if inputs.reads_text else "text (left out)",
            "identifier": "identifier (left out)",
        }
        said = [f"{kinds.count(kind)} {text}" for kind, text in others.items() if kind in kinds]
        also = f" (also {', '.join(said)})" if said else ""
        return (
            f"table of {kinds.count('number')} numeric and {kinds.count('category')} categorical "
            f"columns{also}, encoded as {_widths(inputs.shapes)} values"
        )
    inputs = getattr(inputs.encoding, "given", None) or inputs
    shapes: list[Any] = []
    map_shapes(lambda s: shapes.append(s), inputs.shapes)
    dtypes = dict(arrays.leaves(inputs.dtypes))
    names = [n for n, _ in arrays.leaves(inputs.dtypes)]
    kinds = ["text" if dtypes[n] == "object" else s for n, s in zip(names, shapes, strict=True)]
    scaled = [
        f"{n} {kind}{' normalised' if n in inputs.scaling else ''}"
        for n, kind in zip(names, kinds, strict=True)
    ]
    return ", ".join(scaled)


def _widths(shapes: Any) -> str:
    found: list[str] = []
    map_shapes(lambda s: found.append(" x ".join(map(str, s))), shapes)
    return " + ".join(found)


def _outputs(network: Network) -> str:
    widths = [w for _, w in arrays.leaves(network.spec.n_outputs, "y")]
    labels = dict(arrays.leaves(getattr(network.targets, "labels", None), ""))
    positive = [
        f"; {labels[name].classes[reading.positive].item()!r}"
        f" is positive{f' in y{name}' if name else ''}{_threshold(labels[name])}"
        for name, reading in network.readings.items()
        if reading.positive is not None
    ]
    several = [
        f"; labels predicted{f' in y{name}' if name else ''}{_threshold(label)}"
        for name, label in labels.items()
        if getattr(label, "kind", "") == "multilabel" and label.thresholds is not None
    ]
    end = "".join([*positive, *several])
    return f"{network.spec.task}, width {', '.join(map(str, widths))}{end}"


def _threshold(label: Any) -> str:
    """Return where a label is predicted, if not above 0.5."""
    if label.thresholds is None:
        return ""
    shown = ", ".join(f"{value:.4g}" for value in label.thresholds[:8])
    return f", above {shown}{', ...' if len(label.thresholds) > 8 else ''} (decision_threshold)"
