"""Exports a saved Keras model with Keras' PyTorch backend, and runs the result.

Run as a script, in a process with KERAS_BACKEND=torch: Keras has one backend for a process. Imports
nothing of this package, whose models are TensorFlow's.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

MOST_ROWS = 1 << 20  # of a batch: torch.export wants a bound


def write(folder: Path, path: str) -> None:
    """Export `model.keras` of a folder.

    Args:
        folder: it has `rows.npz` too, a few rows by the names of the inputs, and `wanted.json`:
            `inputs`, their names; `keys` of the dict that the model takes, or None; `order`, the
            places of the outputs among those of the model; and `about`, the metadata.
        path: where to write the program.
    """
    import keras
    import torch

    wanted = json.loads((folder / "wanted.json").read_text(encoding="utf-8"))
    model = keras.models.load_model(folder / "model.keras", compile=False)
    with np.load(folder / "rows.npz") as rows:
        given = tuple(torch.from_numpy(rows[name][:2]) for name in wanted["inputs"])

    class Whole(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        """The model as a function of tensors in a row, to tensors in a row."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *flat: Any) -> Any:
            x: Any = flat[0] if len(flat) == 1 else list(flat)
            if wanted["keys"] is not None:
                x = dict(zip(wanted["keys"], flat, strict=True))
            found = _leaves(model(x, training=False))
            return tuple(found[place] for place in wanted["order"])

    rows_of_a_batch = torch.export.Dim("rows", min=1, max=MOST_ROWS)
    # all arguments are one, of forward(*flat)
    shapes = [tuple({0: rows_of_a_batch} for _ in given)]
    program = torch.export.export(Whole().eval(), given, dynamic_shapes=shapes, strict=False)
    about = {key: json.dumps(value) for key, value in wanted["about"].items()}
    torch.export.save(program, path, extra_files=about)


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in _leaves(value)]
    if isinstance(tree, (list, tuple)):
        return [leaf for value in tree for leaf in _leaves(value)]
    return [tree]


def run(folder: Path, path: str) -> None:
    """Run an exported program on each `rows_<i>.npz` of a folder; write `results_<i>.npz`."""
    import torch

    extra = {"inputs": "", "outputs": ""}
    program = torch.export.load(path, extra_files=extra).module()
    inputs, outputs = (json.loads(extra[key]) for key in ("inputs", "outputs"))
    for file in sorted(folder.glob("rows_*.npz")):
        with np.load(file) as rows, torch.no_grad():
            found = program(*(torch.from_numpy(rows[name]) for name in inputs))
        results = {n: leaf.numpy() for n, leaf in zip(outputs, _leaves(found), strict=True)}
        np.savez(folder / file.name.replace("rows", "results"), **results)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"write": write, "run": run}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
