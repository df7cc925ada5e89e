"""`python -m benchmarks.memory`: the peak memory of predict, evaluate and validation.

    python -m benchmarks.memory                       # writes benchmarks/results/memory.md
    python -m benchmarks.memory attention-predict     # only this one; prints only

Each figure is the highest resident memory of a process of its own that builds the model and the
data, and then does one thing with them: with Keras, or with a Trainer. The goal is at most 1.1
times Keras' peak.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "memory.md"
GOAL = 1.1
MODELS = ("attention", "upsampling", "recurrent", "perceptron")
TASKS = ("predict", "evaluate", "validation")
ROWS = {"attention": 512, "upsampling": 256, "recurrent": 2_048, "perceptron": 20_000}
SHAPES: dict[str, tuple[int, ...]] = {
    "attention": (200, 16),
    "upsampling": (32, 32, 3),
    "recurrent": (100, 8),
    "perceptron": (784,),
}


def network(name: str) -> Any:
    """Build the model of this name, with one output."""
    import keras
    from keras import layers

    x = inputs = keras.Input(SHAPES[name])
    if name == "attention":
        x = layers.MultiHeadAttention(8, 8)(x, x)
        x = layers.GlobalAveragePooling1D()(x)
    elif name == "upsampling":
        x = layers.UpSampling2D(4)(x)
        x = layers.Conv2D(16, 3, activation="relu")(x)
        x = layers.Conv2D(16, 3, activation="relu")(x)
        x = layers.GlobalAveragePooling2D()(x)
    elif name == "recurrent":
        x = layers.GRU(64, return_sequences=True)(x)
        x = layers.GlobalAveragePooling1D()(x)
    else:
        x = layers.Dense(300, "relu")(x)
    return keras.Model(inputs, layers.Dense(1)(x))


def work(side: str, name: str, task: str) -> float:
    """Do one thing, and return the peak memory of this process in MiB."""
    import numpy as np

    n = ROWS[name]
    few = 64 if task == "validation" else 32
    x = np.random.default_rng(0).normal(size=(n, *SHAPES[name])).astype("float32")
    y = np.zeros(n, "float32")
    if side == "keras":
        model = network(name)
        model.compile(optimizer="sgd", loss="mse")
        if task == "validation":
            model.fit(x[:few], y[:few], validation_data=(x, y), verbose=0)
        elif task == "evaluate":
            model.fit(x[:few], y[:few], verbose=0)
            model.evaluate(x, y, verbose=0)
        else:
            model.fit(x[:few], y[:few], verbose=0)
            model.predict(x, verbose=0)
    else:
        from trainer import Regressor

        class Own(Regressor):
            def build_model(self, spec: Any) -> Any:
                return network(name)

        trained = Own(epochs=1, optimizer="sgd", metrics=[], verbose=0)
        trained.fit(x[:few], y[:few], validation_data=(x, y) if task == "validation" else None)
        if task == "evaluate":
            trained.evaluate(x, y)
        elif task == "predict":
            trained.predict(x)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(side: str, name: str, task: str) -> float:
    """Return what `work` says in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", "--side", side, f"{name}-{task}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{side}, {name}-{task}: {done.stderr.strip()[-400:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and return 1 if a figure misses the goal."""
    known = [f"{name}-{task}" for name in MODELS for task in TASKS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="case", help=", ".join(known))
    parser.add_argument("--side", choices=("keras", "trainer"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    unknown = [case for case in given.only if case not in known]
    if unknown:
        parser.error(f"there is no case {unknown[0]!r}; write one of {', '.join(known)}")
    if given.side:
        name, task = given.only[0].split("-")
        print(json.dumps(work(given.side, name, task)))
        return 0
    lines = ["| case | Keras, MiB | Trainer, MiB | ratio |", "|---|---|---|---|"]
    print("\n".join(lines))
    missed = 0
    for case in given.only or known:
        name, task = case.split("-")
        theirs, ours = (measured(side, name, task) for side in ("keras", "trainer"))
        missed += ours > GOAL * theirs
        lines.append(f"| {case} | {theirs:,.0f} | {ours:,.0f} | {ours / theirs:.2f} |")
        print(lines[-1], flush=True)
    if not given.only:
        text = f"Peak memory of a process; the goal is a ratio of at most {GOAL}, missed by "
        RESULTS.write_text(f"# Memory\n\n{text}{missed}.\n\n" + "\n".join(lines) + "\n")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
