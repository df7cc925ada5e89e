"""The summary of a study reads well: few trials or many, wide or narrow, whole or broken off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from search.reports.results import table
from search.reports.summary import describe, duration, number, one_line, reason, settings, value
from search.study.storage import Trial

TWO = {"units": lambda g: int(g.integers(8, 64)), "rate": lambda g: float(g.uniform(0, 1))}
TWELVE: dict[str, Callable[[Any], Any]] = {
    **{f"pipeline__trainer__parameter_{i}": lambda g: float(g.random()) for i in range(10)},
    "activation": lambda g: None,
    "name": lambda g: "a very long string that goes on\nand on [red]" * 3,
}


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def _results(
    n: int, params: dict[str, Any] = TWO, errors: dict[int, str] | None = None, begun: int = 0
) -> pd.DataFrame:
    """Trials with random scores, as the tables of a search are made; the last `begun` run."""
    generator = np.random.default_rng(0)
    trials = []
    for i in range(n):
        trial = Trial(i, str(i), {k: draw(generator) for k, draw in params.items()}, seed=i)
        trial.score, trial.started, trial.ended = float(generator.random()), 100.0, 110.0 + i
        trial.state = "completed"
        if i in (errors or {}):
            trial.state, trial.score, trial.error = "failed", None, (errors or {})[i]
        elif i >= n - begun:
            trial.state, trial.score, trial.ended = "running", None, None
        trials.append(trial)
    folds = pd.DataFrame(columns=["trial", "fit_seconds", "score_seconds"], dtype=float)
    epochs = pd.DataFrame(columns=["trial", "fold", "execution", "epoch"], dtype=float)
    return table(trials, list(params), folds, epochs)


def _text(results: pd.DataFrame, params: dict[str, Any] = TWO, **options: Any) -> str:
    told = {"objective": "accuracy", "maximize": True, "directory": "studies/a", **options}
    return describe(results, list(params), **told)


def test_the_best_trial_comes_first_with_its_parameters() -> None:
    results = _results(30)
    best = results.loc[results["score"].idxmax()]
    lines = _text(results).splitlines()
    assert lines[0] == f"best accuracy {best['score']:.4g}, trial {best['trial']}"
    assert lines[1].split() == ["units", str(best["units"])]
    assert lines[2].split() == ["rate", f"{best['rate']:.4g}"]


@pytest.mark.parametrize("maximize", [True, False])
def test_the_five_best_are_an_aligned_table_in_their_order(maximize: bool) -> None:
    results = _results(30, errors={3: "ValueError: no"})
    lines = _text(results, maximize=maximize).splitlines()
    start = lines.index("the 5 best of 29")
    assert lines[start + 1].split() == ["trial", "score", "units", "rate", "time"]
    rows = lines[start + 2 : start + 7]
    order = results.sort_values("score", ascending=not maximize)["trial"].head(5)
    assert [int(row.split()[0]) for row in rows] == list(order)
    end = lines[start + 1].index("units") + len("units")
    assert all(row[end - 1].isdigit() and row[end] == " " for row in rows), "right-aligned"
    assert lines[start + 7] == ""


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("n", [1, 2, 30])
@pytest.mark.parametrize("params", [TWO, TWELVE], ids=["two", "twelve"])
def test_no_line_is_wider_than_the_terminal(
    columns: int, n: int, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    errors = {0: "ValueError: " + "very long " * 30} if n > 2 else {}
    text = _text(_results(n, params, errors), params, directory="/a/long/folder/" * 9)
    assert max(map(len, text.splitlines())) <= columns
    for name in params:
        assert f"  {name} " in text, "the best trial's parameters have their whole names"


def test_a_table_that_is_too_wide_has_a_column_a_trial() -> None:
    results = _results(30, TWELVE)
    lines = _text(results, TWELVE).splitlines()
    start = next(i for i, line in enumerate(lines) if " best of 30" in line)
    shown = int(lines[start].split()[1])
    order = results.sort_values("score", ascending=False)["trial"].head(shown)
    assert lines[start + 1].split() == ["trial", *map(str, order)]
    names = [line.split()[0] for line in lines[start + 1 : lines.index("", start)]]
    short = [name.rsplit("__")[-1] for name in TWELVE]
    assert names == ["trial", "score", *short, "time"]
    assert 2 <= shown <= 5


def test_one_trial_has_no_table() -> None:
    text = _text(_results(1))
    assert text.startswith("best accuracy 0.0")
    assert "best of" not in text
    assert "trials       1: 1 completed" in text


def test_without_a_completed_trial_the_summary_says_why() -> None:
    text = _text(_results(2, errors={0: "ValueError: no\nTraceback", 1: "ValueError: no"}))
    assert text.startswith("no trial has completed\n")
    assert "trials       2: 2 failed" in text
    assert "2 x  ValueError: no" in text
    assert "Traceback" not in text


def test_a_study_without_trials_has_a_summary() -> None:
    assert "trials       none was started" in _text(_results(0))


def test_failures_are_grouped_by_their_first_line_the_most_frequent_first() -> None:
    errors = {i: f"took longer than 30 s\nof worker {i}" for i in range(4)}
    errors |= {4: "\x1b[1mValueError\x1b[0m: [red] is no colour"}
    lines = _text(_results(20, errors=errors, begun=2)).splitlines()
    start = lines.index("why trials failed")
    assert lines[start + 1].startswith("4 x  took longer than 30 s ")
    assert lines[start + 1].endswith("trials 0, 1, 2, ...")
    assert lines[start + 2].startswith("1 x  ValueError: [red] is no colour ")
    assert lines[start + 2].endswith("trial 4")
    assert "trials       20: 13 completed, 5 failed, 2 running" in lines


def test_of_many_different_reasons_the_rest_is_counted() -> None:
    text = _text(_results(30, errors={i: f"reason {i}" for i in range(20)}))
    assert text.count(" x  reason") == 8
    assert text.endswith("and 12 for 12 other reasons")


def test_it_says_what_the_search_took_and_how_to_go_on() -> None:
    text = _text(_results(4, begun=1), seconds=200.0)
    assert "time         3 min 20 s in the last call of fit" in text
    assert "worker time  33 s" in text, "10, 11 and 12 s, and nothing of the one that runs"
    assert "saved in     studies/a\n             the same search with this directory" in text
    kept_nowhere = _text(_results(4), directory=None)
    assert "no; write directory='studies/name'" in kept_nowhere
    assert "last call of fit" not in kept_nowhere, "it is not known"


def test_a_parameter_called_epochs_is_shown_once() -> None:
    params = {"epochs": lambda g: int(g.integers(1, 9))}
    header = _text(_results(9, params), params).splitlines()[4]
    assert header.split() == ["trial", "score", "epochs", "time"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.254, "0.25 s"),
        (3.24, "3.2 s"),
        (48.4, "48 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
        (86_399, "1 d"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_duration_is_said_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "None"),
        (True, "True"),
        (np.int64(123_456), "123456"),
        (np.float32(0.5), "0.5"),
        (0.00123456, "0.001235"),
        (123_456.7, "123457"),
        (float("nan"), "-"),
        ("re\nlu", "re lu"),
        ((32, 64), "(32, 64)"),
        ("x" * 30, "x" * 23 + "…"),
    ],
)
def test_a_value_is_short_and_in_one_line(found: Any, text: str) -> None:
    assert value(found) == text


def test_a_score_that_is_missing_is_a_dash() -> None:
    assert [number(None), number(0.12345)] == ["-", "0.1235"]


def test_nested_names_are_shortened_unless_two_would_be_the_same() -> None:
    params = {"a__rate": 0.1, "b__rate": 0.2, "b__units": 8, "kind": None}
    assert settings(params) == "a__rate=0.1, b__rate=0.2, units=8, kind=None"


def test_the_reason_of_a_failure_is_its_first_line_that_says_something() -> None:
    assert reason("\n\x1b[1m \x1b[0m\nValueError: no\nTraceback") == "ValueError: no"
    assert reason(None) == reason("") == "unknown reason"


def test_a_line_has_no_control_characters() -> None:
    assert one_line("a\r\tb\x07\x1b[31mc\x1b[0m") == "a b c"


def test_neither_the_summary_nor_the_display_imports_tensorflow() -> None:
    code = (
        "import sys, search.reports.display, search.reports.summary;"
        "print([m for m in ('tensorflow', 'keras', 'pandas', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
