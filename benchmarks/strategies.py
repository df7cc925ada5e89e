"""`python -m benchmarks.strategies`: what several workers gain, and what a step costs them.

    python -m benchmarks.strategies               # both tables, three rounds
    python -m benchmarks.strategies --rounds 1

The network is two dense layers of equal width. The first table has larger and larger batches, until
computing dominates: steps a second of one process with two threads, and of two workers on this
machine with one thread each, in turns, the best of the rounds. Required: at least 0.9 of the one
process.

The second table has batches of two rows, so that a step of two workers is little but the exchange
of gradients: its seconds against the bytes exchanged, and those of one process for comparison.
Writes benchmarks/results/strategies.md.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks import machine
from trainer import launch

RESULT = Path(__file__).parent / "results" / "strategies.md"
REQUIRED = 0.9
WIDTH = 1_024
BATCHES = {2_048: 12, 8_192: 4, 32_768: 2}  # rows of a step: steps of an epoch
WIDTHS = (32, 128, 256, 512)


def seconds_a_step(width: int, batch: int, steps: int, strategy: str | None) -> dict[str, Any]:
    """Train for a few epochs in this process; return the seconds of a step in the fastest epoch.

    Args:
        width: Of both layers.
        batch: Rows of a step, over all workers.
        steps: Of an epoch.
        strategy: As the field.

    Returns:
        "seconds", and "bytes" of the gradients.
    """
    import keras
    import numpy as np

    from trainer import Trainer

    class Dense(Trainer):
        def build_model(self, spec: Any) -> Any:
            hidden = [keras.layers.Dense(width, "relu") for _ in range(2)]
            return keras.Sequential(
                [keras.Input(spec.input_shape), *hidden, keras.layers.Dense(10, "softmax")]
            )

    generator = np.random.default_rng(0)
    x = generator.normal(size=(batch * steps, width)).astype("float32")
    y = generator.integers(0, 10, batch * steps)
    trained = Dense(
        strategy=strategy,
        optimizer="sgd",
        loss="sparse_categorical_crossentropy",
        batch_size=batch,
        epochs=4,
        jit=False,
        random_state=0,
        verbose=0,
    ).fit(x, y)
    seconds = [record["seconds"] for record in trained.history_.records][1:]  # without tracing
    weights = sum(int(np.prod(w.shape)) for w in trained.model_.trainable_weights)
    return {"seconds": min(seconds) / steps, "bytes": 4 * weights}


def compare(width: int, batch: int, steps: int, rounds: int) -> tuple[float, float, int]:
    """Return the seconds of a step of one process and of two workers, and the bytes exchanged."""
    one, two = [], []
    for _ in range(rounds):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            one.append(alone.submit(seconds_a_step, width, batch, steps, None).result())
        two.append(launch(seconds_a_step, width, batch, steps, "multi_worker", workers=2))
    fastest = [min(found["seconds"] for found in each) for each in (one, two)]
    return fastest[0], fastest[1], int(one[0]["bytes"])


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and save; return 1 if the required figure is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strategies", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="figures per side")
    parser.add_argument("--quick", action="store_true", help="tiny, to check that it runs")
    given = parser.parse_args(arguments)
    width, batches = (32, {64: 3}) if given.quick else (WIDTH, BATCHES)
    rates = []
    for batch, steps in batches.items():
        alone, together, size = compare(width, batch, steps, given.rounds)
        share = alone / together
        rates.append(f"| {batch:,} | {1 / alone:.2f} | {1 / together:.2f} | {share:.2f} |")
    found = machine.describe()
    lines = [
        "# Two workers on one machine",
        "",
        "; ".join(f"{name}: {value}" for name, value in found.items()),
        "",
        f"Two dense layers of {width:,}, {size / 2**20:.1f} MB of gradients, steps a second:",
        "",
        "| batch | one process, two threads | two workers, one thread each | share |",
        "|---|---|---|---|",
        *rates,
        "",
        f"With the largest batch two workers reach {share:.2f} of one process (required: "
        f"{REQUIRED}); the exchange of gradients takes as long with a small one.",
        "",
        "Batches of two rows:",
        "",
        "| width | bytes exchanged a step | one process, ms a step | two workers, ms a step |",
        "|---|---|---|---|",
    ]
    for each in WIDTHS[:1] if given.quick else WIDTHS:
        alone, together, size = compare(each, 2, 10 if given.quick else 300, given.rounds)
        lines.append(f"| {each} | {size:,} | {alone * 1e3:.2f} | {together * 1e3:.2f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if not given.quick:
        RESULT.write_text(text, encoding="utf-8")
    return 0 if share >= REQUIRED or given.quick else 1


if __name__ == "__main__":
    raise SystemExit(main())
