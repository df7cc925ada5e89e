"""`python -m benchmarks.imbalance`: how well rare classes are found, with a threshold and without.

    python -m benchmarks.imbalance                          # 3 seeds; writes the results
    python -m benchmarks.imbalance --seeds 1                # a quick look; prints only
    python -m benchmarks.imbalance data.csv --target left   # a table of two classes; prints only

Of each table 60% of the rows are to train on, 20% to tune a threshold on, and 20% to test on, in
strata. One side is `Classifier(decision_threshold="balanced_accuracy")`, otherwise by default; the
other is scikit-learn's HistGradientBoostingClassifier by default, on the rows to train and to tune
on. Both are scored by the area under the ROC curve. The balanced accuracy of our side is given with
its threshold, and with 0.5 for the same network.

Wanted: an area of at least 0.97 of the other side's, and a higher balanced accuracy than with 0.5,
both in the mean of the seeds.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "imbalance.md"
RATIO = 0.97  # of the areas


def made(seed: int) -> tuple[Any, Any]:
    """Return a table of 5,000 rows, 8% of them positive."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        5_000,
        20,
        n_informative=8,
        n_redundant=4,
        n_clusters_per_class=3,
        weights=[0.92],
        flip_y=0.0,
        class_sep=0.8,
        random_state=seed,
    )
    return x, y


def read(path: Path, target: str) -> tuple[Any, Any]:
    """Return a CSV file's columns and its target, as 0 and 1 for the more and the less frequent."""
    import pandas as pd

    table = pd.read_csv(path).dropna(subset=[target])
    counts = table[target].value_counts()
    if len(counts) != 2:
        raise SystemExit(f"--target {target}: has {len(counts)} classes; name a column with two")
    return table.drop(columns=target), (table[target] == counts.index[-1]).to_numpy().astype(int)


def compare(x: Any, y: Any, seed: int) -> dict[str, float]:
    """Fit both sides and score them."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score
    from sklearn.model_selection import train_test_split

    from trainer import Classifier

    rest, x_test, y_rest, y_test = train_test_split(
        x, y, test_size=0.2, stratify=y, random_state=seed
    )
    ours = Classifier(
        decision_threshold="balanced_accuracy", validation_split=0.25, random_state=seed, verbose=0
    )
    began = time.perf_counter()
    ours.fit(rest, y_rest)
    seconds = time.perf_counter() - began
    if hasattr(rest, "select_dtypes"):
        words = rest.select_dtypes(exclude="number").columns
        rest, x_other = (t.astype(dict.fromkeys(words, "category")) for t in (rest, x_test))
    else:
        x_other = x_test
    began = time.perf_counter()
    other = HistGradientBoostingClassifier(
        categorical_features="from_dtype", random_state=seed
    ).fit(rest, y_rest)
    others = time.perf_counter() - began
    p = ours.predict_proba(x_test)[:, 1]
    return {
        "positive": float(np.mean(y)),
        "auc": float(roc_auc_score(y_test, p)),
        "auc of boosting": float(roc_auc_score(y_test, other.predict_proba(x_other)[:, 1])),
        "threshold": float(ours.decision_threshold_ or 0.5),  # type: ignore[arg-type]
        "balanced accuracy": float(balanced_accuracy_score(y_test, ours.predict(x_test))),
        "with 0.5": float(balanced_accuracy_score(y_test, p > 0.5)),
        "seconds": seconds,
        "seconds of boosting": others,
    }


def main(arguments: list[str] | None = None) -> int:
    """Compare, and print the table; 1 if what is wanted is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imbalance", description=__doc__)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--target")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(arguments)
    if (given.table is None) != (given.target is None):
        parser.error("write both, the path of a CSV file and --target with the name of a column")
    rows = []
    for seed in range(given.seeds):
        x, y = made(seed) if given.table is None else read(given.table, given.target)
        rows.append(compare(x, y, seed))
        print(seed, {name: round(value, 4) for name, value in rows[-1].items()}, flush=True)
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    ratio = means["auc"] / means["auc of boosting"]
    good = ratio >= RATIO and means["balanced accuracy"] > means["with 0.5"]
    lines = [
        "| seed | " + " | ".join(means) + " |",
        "|---|" + "---|" * len(means),
        *(
            f"| {name} | " + " | ".join(f"{value:.3f}" for value in row.values()) + " |"
            for name, row in [*enumerate(rows), ("mean", means)]
        ),
    ]
    text = "\n".join(lines) + (
        f"\n\nThe area is {ratio:.3f} of the other's (wanted: {RATIO}), and the threshold gains "
        f"{means['balanced accuracy'] - means['with 0.5']:+.3f} in balanced accuracy.\n"
    )
    print(text)
    if given.table is None and given.seeds == 3:
        RESULTS.write_text(f"# Rare classes\n\n`python -m benchmarks.imbalance`\n\n{text}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
