"""`python -m benchmarks.ray_overhead`: what a trial costs on a Ray cluster, beside local processes.

Both sides have two workers and run the same trials: 0.2 seconds each, which are sent one by one,
and none at all, which are sent in batches. A study of many trials less one of few is what they take
after the start; the sides take turns. It starts a cluster of this machine, with no network.
"""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from statistics import median

from benchmarks import machine
from search import FunctionSearch
from trainer import Float

RESULTS = Path(__file__).parent / "results" / "ray_overhead.md"
WORKERS = 2
ROUNDS = 5
KINDS = {"trials of 0.2 s": (0.2, 10, 60), "trials of no work": (0.0, 200, 2_200)}


def taken(executor: str, seconds: float, trials: int) -> float:
    """Return how long a study takes, in seconds."""

    def work(a: float) -> float:
        time.sleep(seconds)
        return a

    search = FunctionSearch(
        work,
        {"a": Float(0, 1)},
        tuner="random",
        max_trials=trials,
        executor=executor,
        workers=WORKERS,
        seed=0,
        verbose=0,
    )
    began = time.perf_counter()
    search.fit()
    return time.perf_counter() - began


def main() -> None:
    """Measure, print the table and write it."""
    warnings.simplefilter("ignore")
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray then listens on loopback only
    import ray

    ray.init(num_cpus=WORKERS, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    lines = ["| | local processes | Ray | Ray's overhead |", "|---|---|---|---|"]
    for name, (seconds, few, many) in KINDS.items():
        found: dict[str, list[float]] = {"processes": [], "ray": []}
        for _ in range(ROUNDS):
            for executor, times in found.items():
                whole = taken(executor, seconds, many) - taken(executor, seconds, few)
                times.append(1e3 * whole / (many - few))
        local, remote = median(found["processes"]), median(found["ray"])
        extra = [ours - own for ours, own in zip(found["ray"], found["processes"], strict=True)]
        lines.append(
            f"| {name} | {local:.1f} ms | {remote:.1f} ms | {median(extra):.1f} ms "
            f"({min(extra):.1f} to {max(extra):.1f}) |"
        )
    ray.shutdown()
    about = ", ".join(f"{k} {v}" for k, v in machine.describe().items())
    head = [
        "# Trials on Ray",
        "",
        f"Time for each trial after the start, of `python -m benchmarks.ray_overhead`: {WORKERS} "
        f"workers, median of {ROUNDS} rounds in which the sides took turns.",
        "",
        f"{about}, ray {ray.__version__}.",
        "",
    ]
    print("\n".join(lines))
    RESULTS.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
