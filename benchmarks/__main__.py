"""`python -m benchmarks`: run all benchmarks, or the named ones, and write one table."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import cases, machine, running, table

RESULTS = Path(__file__).parent / "results"
ROUNDS = 5


def main(arguments: list[str] | None = None) -> int:
    """Run, print and save the table; return 1 if a benchmark could not be run.

    Missed targets do not change the exit code: they depend on the machine.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(cases.FILES))
    parser.add_argument("--rounds", type=_positive, help=f"figures per side (default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="tiny data, to check that it runs")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for table.md and table.json; by default benchmarks/results for a complete "
        "run, and none for a partial or quick one, which must not replace it",
    )
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in cases.FILES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; write one of {', '.join(cases.FILES)}")
    names = given.names or list(cases.FILES)
    output = given.output or (RESULTS if not given.names and not given.quick else None)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)  # fail before the work, not after it
    rounds = given.rounds or (2 if given.quick else ROUNDS)

    report = measure(names, rounds=rounds, quick=given.quick)
    report["command"] = " ".join(["python -m benchmarks", *_options(given)])
    text = table.markdown(report)
    if output is not None:
        (output / "table.md").write_text(text, encoding="utf-8")
        (output / "table.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(text)
    return 1 if report["failed"] else 0


def measure(names: list[str], *, rounds: int, quick: bool) -> dict[str, Any]:
    """Run the benchmarks of the named files.

    Returns:
        machine, load, rounds, quick, minutes; figures: all figures of every side; lines: the
        comparisons, as returned by `table.lines`; failed: what could not be run, and why.
    """
    started = time.perf_counter()
    report: dict[str, Any] = {
        "machine": machine.describe(),
        "load": machine.load(),
        "rounds": rounds,
        "quick": quick,
        "figures": {},
        "lines": [],
        "failed": [],
    }
    for file in names:
        for benchmark in cases.benchmarks(file):
            began = time.perf_counter()
            try:
                figures = running.run(file, benchmark, rounds=rounds, quick=quick)
            except running.SideFailed as error:
                print(error, file=sys.stderr)
                report["failed"].append(str(error).splitlines()[0])
                continue
            report["figures"][f"{file}/{benchmark.name}"] = figures
            lines = table.lines(benchmark, figures)
            report["lines"] += lines
            took = time.perf_counter() - began
            print(f"{file}, {benchmark.name}: {took:.0f} s", file=sys.stderr)
            for line in lines:
                print("  " + table.row(line), file=sys.stderr, flush=True)
    report["minutes"] = (time.perf_counter() - started) / 60
    return report


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return number


def _options(given: argparse.Namespace) -> list[str]:
    rounds = [f"--rounds {given.rounds}"] if given.rounds else []
    return [*given.names, *rounds, *["--quick"] * given.quick]


if __name__ == "__main__":
    sys.exit(main())
