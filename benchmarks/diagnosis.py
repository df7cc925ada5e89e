"""`python -m benchmarks.diagnosis`: how often `Trainer.diagnose` names the fault of a training.

    python -m benchmarks.diagnosis                # 3 seeds; writes benchmarks/results/diagnosis.md
    python -m benchmarks.diagnosis --seeds 1      # a quick look; prints only
    python -m benchmarks.diagnosis raw_wine       # only these, with what was found

Each training of `trainings` is fitted and diagnosed. A faulty one counts as found if one of the
findings names its fault; a training in which only other things are found, a healthy one included,
is a false alarm. Recall is found / faulty, precision is found / (found + false alarms).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "diagnosis.md"


def names(fit: object, seed: int) -> list[str]:
    """Fit, and return the names of the findings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained = fit(seed)  # type: ignore[operator]
        return [finding.name for finding in trained.diagnose()]


def main(arguments: list[str] | None = None) -> int:
    """Fit and diagnose all, and print the table."""
    from benchmarks.trainings import FAULTY, HEALTHY

    parser = argparse.ArgumentParser(prog="python -m benchmarks.diagnosis", description=__doc__)
    parser.add_argument("only", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(arguments)
    known = {**{name: fit for name, (_, fit) in FAULTY.items()}, **HEALTHY}
    wanted = given.only or list(known)
    found = alarms = faults = 0
    lines = []
    for name in wanted:
        for seed in range(given.seeds):
            right = FAULTY.get(name, (frozenset(), None))[0]
            seen = names(known[name], seed)
            faults += bool(right)
            hit = bool(right & set(seen))
            found += hit
            alarms += bool(seen) and not hit
            verdict = "found" if hit else "silent" if not seen else "false alarm"
            if verdict != ("found" if right else "silent") or given.only:
                lines.append(f"| {name} | {seed} | {verdict} | {', '.join(seen)} |")
                print(lines[-1], flush=True)
    text = (
        f"recall {found}/{faults} = {found / max(1, faults):.2f}, precision {found}/"
        f"{found + alarms} = {found / max(1, found + alarms):.2f}, "
        f"{len(FAULTY)} faulty and {len(HEALTHY)} healthy trainings, {given.seeds} seeds"
    )
    print(text)
    if not given.only and given.seeds == 3:
        head = "| training | seed | verdict | findings |\n|---|---|---|---|\n"
        RESULTS.write_text(
            f"# Diagnoses\n\n{text}\n\n## What went wrong\n\n{head}" + "\n".join(lines) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
