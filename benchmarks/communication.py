"""`python -m benchmarks.communication`: how long workers exchange gradients, and a model of it.

    python -m benchmarks.communication            # writes benchmarks/results/communication.md
    python -m benchmarks.communication --quick    # two workers, small tensors; prints only

The model is that of a ring all-reduce (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce
algorithms for clusters of workstations"): N workers pass pieces of the gradients to their
neighbours in 2 (N - 1) rounds, so that each sends 2 (N - 1) / N times their bytes B. With a latency
a for a round, and links of b bytes a second,

    t = 2 (N - 1) a + 2 (N - 1) / N  B / b        where each worker has a link of its own
    t = 2 (N - 1) a + 2 (N - 1)      B / b        where all share one, as the memory is on loopback

The two unknowns are fitted to two processes on loopback, and then foretell three, which are
measured as well. On a network, the latency is taken as the larger of the measured one and that of
the network, and the bandwidth as the smaller of the link's and of what one process has sent here.
Each time is the lower quartile of the repeats: other load of the machine makes some of them longer.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import machine
from trainer import launch

RESULTS = Path(__file__).parent / "results" / "communication.md"
MEGABYTE = 1e6
SIZES = (0.004, 0.1, 1.0, 4.0, 16.0, 64.0)  # megabytes of gradients
QUICK_SIZES = (0.004, 0.1)
REPEATS = 24
# float32 gradients of well-known networks, in megabytes
NETWORKS = {
    "perceptron 784-300-100-10 (0.27 million weights)": 1.07,
    "ResNet-50 (25.6 million)": 102.4,
    "BERT base (110 million)": 440.0,
}
LINKS = {"10 Gbit/s": 10e9 / 8, "100 Gbit/s": 100e9 / 8}
NETWORK_LATENCY = 30e-6  # seconds from one process to another over TCP in a data centre, assumed
MANY = 64


def reduced(sizes: tuple[float, ...], repeats: int) -> dict[float, float]:
    """Return the seconds of an all-reduce by its megabytes; every worker calls it.

    Args:
        sizes: Megabytes of one float32 tensor.
        repeats: How often each is measured; the result is their lower quartile.
    """
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    @tf.function(autograph=False, reduce_retracing=False)
    def exchange(values: tf.Tensor) -> tf.Tensor:
        def replica(given: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            # computed there, as gradients are: a tensor needs a device
            own = tf.identity(given)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

        return strategy.run(replica, (values,))

    found = {}
    for size in sizes:
        values = tf.ones(max(1, int(size * MEGABYTE / 4)))
        seconds = []
        for turn in range(repeats + 3):
            began = time.perf_counter()
            exchange(values)[:1].numpy()
            if turn >= 3:  # the first ones trace, connect and allocate
                seconds.append(time.perf_counter() - began)
        found[size] = float(np.quantile(seconds, 0.25))
    return found


def fitted(found: dict[float, float]) -> tuple[float, float]:
    """Return the latency of a round and the bandwidth of loopback, from two workers' seconds.

    Args:
        found: Seconds by megabytes.
    """
    sizes, seconds = np.array(list(found)), np.array(list(found.values()))
    # relative errors count: otherwise the largest tensor alone would decide
    matrix = np.stack([np.full_like(sizes, 2.0), 2.0 * sizes * MEGABYTE], axis=1)
    latency, inverse = np.linalg.lstsq(
        matrix / seconds[:, None], np.ones_like(seconds), rcond=None
    )[0]
    return float(latency), 1.0 / float(inverse)


def on_loopback(workers: int, size: float, latency: float, bandwidth: float) -> float:
    """Return the seconds that the model foretells where all workers share one link."""
    return 2 * (workers - 1) * (latency + size * MEGABYTE / bandwidth)


def on_network(workers: int, size: float, latency: float, bandwidth: float) -> float:
    """Return the seconds that the model foretells where each worker has a link of its own."""
    rounds = 2 * (workers - 1)
    return rounds * latency + rounds / workers * size * MEGABYTE / bandwidth


def report(two: dict[float, float], three: dict[float, float]) -> list[str]:
    """Return the tables: the model beside what was measured, and what it says of many workers."""
    latency, bandwidth = fitted(two)
    lines = [
        f"Fitted to two processes: {1e3 * latency:.2f} ms a round, {bandwidth / 1e9:.2f} GB/s.",
        "",
        "| gradients, MB | 2 measured, ms | model | 3 measured, ms | model | measured / model |",
        "|---|---|---|---|---|---|",
    ]
    for size, seconds in two.items():
        pairs = [(seconds, on_loopback(2, size, latency, bandwidth))]
        if size in three:
            pairs.append((three[size], on_loopback(3, size, latency, bandwidth)))
        cells = [f"{1e3 * value:.2f}" for pair in pairs for value in pair]
        lines.append(f"| {size:g} | {' | '.join(cells)} | {pairs[-1][0] / pairs[-1][1]:.2f} |")
    off = [t / on_loopback(3, size, latency, bandwidth) - 1 for size, t in three.items()]
    if off:
        lines += [
            "",
            f"For three processes the model is off by {min(off):+.0%} to {max(off):+.0%}. Where "
            "they are more than the cores, a round also waits for its process to get one.",
        ]
    slow, own = max(latency, NETWORK_LATENCY), bandwidth / 2  # of two that share it
    lines += [
        "",
        f"What it says of {MANY} workers. A process with one core of this machine has sent "
        f"{own / 1e9:.2f} GB/s ({own * 8 / 1e9:.1f} Gbit/s) through TensorFlow's transport, gRPC, "
        "which is slower than both links. So there are two figures: with the latency and the "
        "bandwidth that were measured here, and with the link alone, at an assumed "
        f"{1e6 * NETWORK_LATENCY:.0f} µs a round, which workers with more cores and a better "
        "transport (NCCL on GPUs) approach. The last two columns are how long the computation of a "
        "step must take to be 90% of the step: nine times the exchange.",
        "",
        "| network | link | exchange as measured here, ms | link alone, ms "
        "| computation for 90%, as measured here, ms | link alone, ms |",
        "|---|---|---|---|---|---|",
    ]
    for name, size in NETWORKS.items():
        for link, most in LINKS.items():
            here = on_network(MANY, size, slow, min(own, most))
            alone = on_network(MANY, size, NETWORK_LATENCY, most)
            lines.append(
                f"| {name} | {link} | {1e3 * here:.0f} | {1e3 * alone:.1f} "
                f"| {9e3 * here:.0f} | {9e3 * alone:.0f} |"
            )
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the tables, and write them unless the run is a quick one."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of the workers, too
    parser = argparse.ArgumentParser(prog="python -m benchmarks.communication")
    parser.add_argument("--quick", action="store_true", help="checks that it runs; prints only")
    given = parser.parse_args(arguments)
    if given.quick:
        lines = report(launch(reduced, QUICK_SIZES, 3, workers=2), {})
    else:
        two, three = (launch(reduced, SIZES, REPEATS, workers=n) for n in (2, 3))
        lines = report(two, three)
    print("\n".join(lines))
    if not given.quick:
        where = ", ".join(f"{name} {value}" for name, value in machine.describe().items())
        text = (
            "# Exchanging gradients\n\nFrom `python -m benchmarks.communication`, processes "
            f"of one machine over loopback. {where}; load {machine.load():.1f}. The model is that "
            "of a ring all-reduce: see the head of benchmarks/communication.py.\n\n"
        )
        RESULTS.write_text(text + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
