"""A real table in an empty folder, as a newcomer would have it: fit, then predict."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import command_line
import numpy as np
import pytest

from trainer import Regressor
from trainer.datasets.table_files import read_columns

TABLE = Path(__file__).parents[4] / "shared" / "data" / "california_housing.csv.gz"
TARGET = "median_house_value"
pytestmark = pytest.mark.skipif(not TABLE.is_file(), reason=f"there is no {TABLE.name} here")


def variants(folder: Path) -> None:
    """Write tables of ten rows, which differ from those of the training in one way each."""
    with gzip.open(TABLE, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(10), strict=False)]
    text = next(n for n in rows[0] if not rows[0][n].replace(".", "").lstrip("-").isdigit())
    number = next(n for n in rows[0] if n not in (text, TARGET))
    made = {
        "same": rows,
        "unseen": [{**row, text: "ON THE MOON"} for row in rows],
        "missing": [{**row, number: "", text: ""} for row in rows],
        "more": [{**row, "a column more": "1"} for row in rows],
        "less": [{n: v for n, v in row.items() if n != number} for row in rows],
        "text": [{**row, number: "many"} for row in rows],
    }
    for name, found in made.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(found[0]))
            writer.writeheader()
            writer.writerows(found)


def test_a_real_table_in_an_empty_folder_gets_a_report_and_predictions(tmp_path):
    variants(tmp_path)
    # fewer epochs, and a smaller network, than the default, for the time of a test
    quick = ["--epochs", "2", "--model", "mlp", "--batch_size", "512", "--random_state", "0"]
    fit = ["fit", "--data", TABLE, "--target", TARGET, "--verbose", "0", *quick]
    odd = ("unseen", "missing", "more", "less", "text")
    run = "runs/california_housing-1"
    done, predicted, *others = command_line.several(
        [
            fit,
            ["predict", run, "--data", TABLE, "--out", "p.csv"],
            *(["predict", run, "--data", f"{n}.csv", "--out", f"{n}_p.csv"] for n in odd),
        ],
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "task: regression" in done.stdout and done.stdout.endswith("report.html\n")
    page = (tmp_path / run / "report.html").read_text("utf-8")
    assert "Residuals" in page and "Which columns matter" in page
    score = json.loads((tmp_path / run / "evaluation.json").read_text())["score"]["value"]
    assert score > 0.4, "it has learnt something in two epochs"
    assert predicted.returncode == 0, predicted.stderr
    x, _ = read_columns(TABLE, TARGET)
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        found = np.array([float(row["prediction"]) for row in csv.DictReader(file)])
    # the command has more threads than the tests, and on some CPUs that rounds otherwise
    np.testing.assert_allclose(found, Regressor.load(tmp_path / run).predict(x), rtol=1e-6)
    said = dict(zip(odd, others, strict=True))
    for name in ("unseen", "missing"):
        assert said[name].returncode == 0, said[name].stderr
        with (tmp_path / f"{name}_p.csv").open(encoding="utf-8") as file:
            values = [float(row["prediction"]) for row in csv.DictReader(file)]
        assert len(values) == 10 and np.isfinite(values).all()
    for name in ("more", "less", "text"):
        lines = [n for n in said[name].stderr.splitlines() if not n.startswith("warning: ")]
        assert said[name].returncode == 2 and len(lines) == 1, said[name].stderr
        assert lines[0].startswith(f"trainer: --data {name}.csv: ")
