"""`python -m benchmarks.search_quality`: how good the trials are that searches propose.

    python -m benchmarks.search_quality                      # 20 seeds; writes the results
    python -m benchmarks.search_quality --seeds 3            # a quick look; prints the table

Each method runs on each problem of `functions` with each seed, on two sides: ours and keras-tuner's
own (`search_sides`). The measure is simple regret: the lowest score of a full trial minus the
optimum (for the data sets: minus the lowest score of any run). Our methods that keras-tuner does
not have are compared with its random search.

The test: over the seeds, a one-sided Wilcoxon signed-rank test of whether our regret is greater, at
5 % after Holm's correction over the problems of a method.

The results also say how long asking takes (`asking`).
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import asking, machine
from benchmarks.search_sides import INITIAL, LEVELS, OWN, PAIRED, Run, run

RESULTS = Path(__file__).parent / "results"
TRIALS = 25
ALPHA = 0.05
HEADER = (
    "ours",
    "keras-tuner's",
    "problem",
    "trials",
    "regret, ours",
    "regret, theirs",
    "same points",
    "p",
)


def measure(seeds: int, trials: int, jobs: int) -> list[Run]:
    """Run all searches, `jobs` at a time, each on one thread."""
    from benchmarks.functions import PROBLEMS

    tasks = [
        (problem, method, seed, side, trials)
        # longest first
        for method in ("bayesian", "hyperband", *OWN, "random", "grid")
        for problem in PROBLEMS
        for seed in range(seeds)
        for side in ("ours", "theirs")
        if side == "ours" or method in PAIRED
    ]
    # read when a pool process imports NumPy
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    os.environ["PYTHONWARNINGS"] = "ignore"  # about fits that end at a bound of a length scale
    spawn = multiprocessing.get_context("spawn")
    runs = []
    with ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
        for i, future in enumerate(as_completed([pool.submit(run, *task) for task in tasks])):
            runs.append(future.result())
            if i % 100 == 99:
                print(f"{i + 1} of {len(tasks)} searches", file=sys.stderr, flush=True)
    return runs


def compare(runs: list[Run]) -> list[dict[str, Any]]:
    """Return one line per method and problem.

    Returns:
        method, peer, problem, trials (ours, median), ours and theirs (median simple regret), same
        (number of seeds with identical points), outside (trials outside the domains, ours and
        theirs), seeds, p (of the test), holm (corrected), worse (bool).
    """
    from scipy.stats import wilcoxon

    from benchmarks.functions import PROBLEMS

    of = {(r.problem, r.method, r.seed, r.ours): r for r in runs}
    seeds = sorted({r.seed for r in runs})
    lines = []
    for method in (*PAIRED, *OWN):
        peer = method if method in PAIRED else "random"
        group: list[dict[str, Any]] = []
        for problem in PROBLEMS.values():
            least = problem.optimum
            if least is None:
                least = min(r.best for r in runs if r.problem == problem.name)
            mine = [of[problem.name, method, seed, True] for seed in seeds]
            other = [of[problem.name, peer, seed, False] for seed in seeds]
            pairs = list(zip(mine, other, strict=True))
            excess = [a.best - b.best for a, b in pairs]
            p = float(wilcoxon(excess, alternative="greater").pvalue) if any(excess) else 1.0
            group.append(
                {
                    "method": method,
                    "peer": peer,
                    "problem": problem.name,
                    "trials": median(len(r.trials) for r in mine),
                    "ours": median(r.best for r in mine) - least,
                    "theirs": median(r.best for r in other) - least,
                    "same": sum(alike(a, b) for a, b in pairs),
                    "outside": [sum(r.outside for r in side) for side in (mine, other)],
                    "seeds": len(seeds),
                    "p": p,
                }
            )
        for line, corrected in zip(group, holm([x["p"] for x in group]), strict=True):
            lines.append(line | {"holm": corrected, "worse": corrected < ALPHA})
    return lines


def alike(a: Run, b: Run) -> bool:
    """Whether two searches tried the same points in the same order, to nine digits."""
    if len(a.trials) != len(b.trials):
        return False
    return all(
        x_epochs == y_epochs and x.keys() == y.keys() and all(_near(x[k], y[k]) for k in x)
        for (x, x_epochs, _), (y, y_epochs, _) in zip(a.trials, b.trials, strict=True)
    )


def _near(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return bool(a == b)


def holm(values: list[float]) -> list[float]:
    """Correct p-values for multiple tests (Holm 1979)."""
    corrected = [0.0] * len(values)
    least = 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        least = max(least, min(1.0, values[i] * (len(values) - rank)))
        corrected[i] = least
    return corrected


def markdown(report: dict[str, Any]) -> str:
    """Format a report made by `main` as a Markdown document."""
    from benchmarks.functions import EPOCHS, PROBLEMS

    lines, seeds, trials = report["lines"], report["seeds"], report["trials"]
    worse = [line for line in lines if line["worse"]]
    body = [
        "# Quality of searches",
        "",
        f"Command: `{report['command']}`. {seeds} seeds, {trials} trials a search; hyperband "
        f"follows its own plan with {EPOCHS} epochs, and halving begins with {3 * trials} "
        f"candidates, which cost as many epochs as {trials} full trials. Bayesian searches begin "
        f"with {INITIAL} random trials. A grid takes {LEVELS} values of each number and begins at "
        "another point with each seed.",
        "",
        "Machine: " + ", ".join(f"{k} {v}" for k, v in report["machine"].items()) + ".",
        "",
        f"Load of the machine before the run: {report['load']:.1f} processes; the run took "
        f"{report['minutes']:.0f} minutes with {report['jobs']} at a time.",
        "",
        "Simple regret: the least value of a full trial, less the optimum; of the data sets, less "
        'the least value that any run found. Medians over seeds; less is better. "Same points": '
        "with how many seeds ours tried exactly keras-tuner's points, in its order. p: Wilcoxon's "
        "signed-rank test over the seeds of whether ours has the greater regret, one-sided, after "
        "Holm's correction over the problems of a method.",
        "",
        (
            f"Ours is worse at {ALPHA:.0%}: "
            + "; ".join(f"{x['method']}, {x['problem']}" for x in worse)
            if worse
            else f"Ours is worse at {ALPHA:.0%} nowhere"
        )
        + ".",
        "",
        *_outside(lines),
        "| " + " | ".join(HEADER) + " |",
        "|" + "---|" * len(HEADER),
    ]
    for line in lines:
        cells = [
            line["method"],
            line["peer"],
            line["problem"],
            f"{line['trials']:.0f}",
            f"{line['ours']:.3g}",
            f"{line['theirs']:.3g}",
            f"{line['same']} of {line['seeds']}",
            f"{line['holm']:.3g}",
        ]
        body.append("| " + " | ".join(cells) + " |")
    body += ["", "Problems:", ""]
    body += [f"- {problem.name}: {problem.source}" for problem in PROBLEMS.values()]
    return "\n".join([*body, "", *asking.markdown(report["asking"])]) + "\n"


def _outside(lines: list[dict[str, Any]]) -> list[str]:
    found = [
        f"{side} in {line['outside'][i]} trials of {line['method']} on {line['problem']}"
        for line in lines
        if line["method"] in PAIRED
        for i, side in enumerate(("ours", "keras-tuner"))
        if line["outside"][i]
    ]
    if not found:
        return []
    return [
        "Points outside the domains were tried by " + "; ".join(found) + ". (keras-tuner's own "
        'Int with sampling="log" gives one above its maximum where a Gaussian process proposes '
        "the end of the range; ours gives the maximum, and the two searches part there.)",
        "",
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run, print and save the table; return 1 if ours is worse anywhere."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_quality")
    parser.add_argument("--seeds", type=_positive, default=20, help="per cell (default 20)")
    parser.add_argument(
        "--trials", type=_positive, default=TRIALS, help=f"per search (default {TRIALS})"
    )
    parser.add_argument("--jobs", type=_positive, default=os.cpu_count(), help="parallel searches")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for search_quality.md and .json; by default benchmarks/results for a run with "
        "the default seeds and trials, and none for another, which must not replace it",
    )
    given = parser.parse_args(arguments)
    complete = given.seeds == parser.get_default("seeds") and given.trials == TRIALS
    output = given.output or (RESULTS if complete else None)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)  # fail before the work, not after it
    versions = {name: metadata.version(name) for name in ("keras-tuner", "scipy")}
    report: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.search_quality", *(arguments or sys.argv[1:])]),
        "machine": machine.describe() | versions,
        "load": machine.load(),
        "seeds": given.seeds,
        "trials": given.trials,
        "jobs": given.jobs,
    }
    began = time.perf_counter()
    runs = measure(given.seeds, given.trials, given.jobs)
    report["minutes"] = (time.perf_counter() - began) / 60
    report["lines"] = compare(runs)
    report["runs"] = [
        {k: v for k, v in asdict(r).items() if k != "trials"} | {"best": r.best} for r in runs
    ]
    report["asking"] = asking.measure()
    text = markdown(report)
    if output is not None:
        (output / "search_quality.md").write_text(text, encoding="utf-8")
        kept = json.dumps(report, indent=1) + "\n"
        (output / "search_quality.json").write_text(kept, encoding="utf-8")
    print(text)
    return 1 if any(line["worse"] for line in report["lines"]) else 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
