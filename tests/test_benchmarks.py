"""The benchmarks run, and their table says what was measured. No test asserts a time."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The benchmarks are no part of what is installed."""
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def benchmark():
    """Two sides, of which the second needs a package that nobody has."""
    from benchmarks.case import Benchmark, Comparison, Side, Target

    return Benchmark(
        name="work",
        title="some work",
        unit="s",
        sides=(Side("ours", print), Side("theirs", print, needs="no_such_package")),
        comparisons=(Comparison("ours", "theirs", Target(ratio=2.0)),),
    )


def report(lines, **other):
    return {
        "machine": {"CPU": "one"},
        "command": "python -m benchmarks",
        "load": 0.0,
        "rounds": 3,
        "quick": False,
        "minutes": 1.0,
        "lines": lines,
        "failed": [],
        **other,
    }


def test_a_quick_run_writes_one_table_as_markdown_and_as_json(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "stream", "--quick", "--rounds", "2"]
        + ["--output", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "table.json").read_text())
    figures = written["figures"]["stream/epoch"]
    assert set(figures) == {"Trainer", "keras.Model.fit"}
    assert all(len(each) == 2 and min(each) > 0 for each in figures.values())
    (line,) = written["lines"]
    assert line["ours"] == "Trainer" and line["peer"] == "keras.Model.fit"
    for spread in (line["ours_figures"], line["peer_figures"], line["ratio"]):
        assert spread["min"] <= spread["median"] <= spread["max"]
    assert written["machine"]["cores"] and written["machine"]["tensorflow"]
    table = (tmp_path / "table.md").read_text()
    assert "python -m benchmarks stream --rounds 2 --quick" in table
    header, rule, row = (text for text in table.splitlines() if text.startswith("|"))
    assert header.count("|") == rule.count("|") == row.count("|")
    assert str(ROOT) not in table + json.dumps(written)
    assert table.strip() in done.stdout


def test_an_unknown_benchmark_is_named_with_those_there_are(capsys):
    from benchmarks.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(["perceptrn"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "'perceptrn'" in said and "perceptron" in said


@pytest.mark.parametrize("rounds", ["0", "-1", "many"])
def test_rounds_must_be_a_positive_number(rounds, capsys):
    from benchmarks.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(["cnn", "--rounds", rounds])
    assert ended.value.code == 2
    assert rounds in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "written"), [([], True), (["cnn"], False), (["--quick"], False)]
)
def test_only_a_complete_run_replaces_the_table(arguments, written, tmp_path, monkeypatch, capsys):
    from benchmarks import __main__ as program

    monkeypatch.setattr(program, "RESULTS", tmp_path)
    monkeypatch.setattr(program, "measure", lambda names, **options: report([]))
    assert program.main(arguments) == 0
    assert [file.name for file in sorted(tmp_path.iterdir())] == (
        ["table.json", "table.md"] if written else []
    )
    assert "# Benchmarks" in capsys.readouterr().out


def test_every_comparison_names_sides_of_its_benchmark():
    from benchmarks import cases

    for file in cases.FILES:
        found = cases.benchmarks(file)
        assert len({b.name for b in found}) == len(found) > 0
        for b in found:
            names = [side.name for side in b.sides]
            assert len(set(names)) == len(names)
            assert b.comparisons
            for comparison in b.comparisons:
                assert {comparison.ours, comparison.peer} <= {*names, None}, b.title
            for side in b.sides:
                assert cases.find_side(file, b.name, side.name) is side


def test_sides_take_turns_after_each_has_warmed_up(benchmark, monkeypatch):
    from benchmarks import running
    from benchmarks.case import Side

    asked = []

    class Recorder:
        def __init__(self, file, benchmark, side, count, quick):
            self.name, self.left = side.name, count

        def ask(self):
            asked.append(self.name)
            self.left -= 1
            return float(len(asked))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            assert self.left == 0

    monkeypatch.setattr(running, "_Process", Recorder)
    both = replace(benchmark, sides=(Side("ours", print), Side("theirs", print)))
    figures = running.run("file", both, rounds=3, quick=True)
    warm = running.WARM_UP
    assert asked == ["ours"] * warm + ["theirs"] * warm + ["ours", "theirs"] * 3
    assert figures == {
        "ours": [2 * warm + i for i in (1, 3, 5)],
        "theirs": [2 * warm + i for i in (2, 4, 6)],
    }
    asked.clear()
    running.run("file", replace(both, fresh=True, most_rounds=2), rounds=3, quick=True)
    assert asked == ["ours", "theirs"] * 2


def test_a_side_that_dies_is_named_with_its_last_words(benchmark):
    from benchmarks import running

    # a side that the other process cannot find
    with pytest.raises(running.SideFailed, match="stream, work: ours ended.*exit code 1") as failed:
        running.run("stream", benchmark, rounds=1, quick=True)
    assert "ValueError" in str(failed.value)


def test_a_benchmark_that_fails_does_not_stop_the_others(benchmark, monkeypatch, capsys):
    from benchmarks import __main__ as program
    from benchmarks import running, table

    def run(file, b, *, rounds, quick):
        if file == "bad":
            raise running.SideFailed("bad, work: ours ended without an answer\ndetails")
        return {"ours": [1.0], "theirs": [3.0]}

    monkeypatch.setattr(program.running, "run", run)
    monkeypatch.setattr(program.cases, "benchmarks", lambda file: (benchmark,))
    measured = program.measure(["bad", "good"], rounds=1, quick=True)
    assert measured["failed"] == ["bad, work: ours ended without an answer"]
    assert list(measured["figures"]) == ["good/work"]
    assert "details" in capsys.readouterr().err
    text = table.markdown(measured | {"command": "python -m benchmarks"})
    assert "- bad, work: ours ended without an answer" in text


def test_a_peer_that_is_not_installed_is_shown_as_such(benchmark):
    from benchmarks import running, table

    assert [running.installed(side) for side in benchmark.sides] == [True, False]
    (line,) = table.lines(benchmark, {"ours": [1.0, 2.0]})
    assert line["met"] is None and line["ratio"] is None
    assert "| theirs | not installed |" in table.row(line)


def test_the_ratio_is_the_median_of_the_rounds_own_ratios(benchmark):
    from benchmarks import table

    # of the medians it would be 6 / 2
    (line,) = table.lines(benchmark, {"ours": [1.0, 2.0, 4.0], "theirs": [2.0, 6.0, 8.0]})
    assert line["ratio"] == {"median": 2.0, "min": 2.0, "max": 3.0}
    assert line["met"] is True
    assert table.row(line) == (
        "| some work | s | ours | 2 (1–4) | theirs | 6 (2–8) | 2× (2–3) | at least 2×: yes |"
    )


@pytest.mark.parametrize(
    ("bound", "ours", "peer", "met"),
    [
        ({"ratio": 3.0}, 1.0, 3.0, True),
        ({"ratio": 3.0}, 1.0, 2.9, False),
        ({"within": 0.15}, 1.0, 1.14, True),
        ({"within": 0.15}, 1.0, 0.8, False),
        ({"value": 1.0}, 0.9, None, True),
        ({"value": 1.0}, 1.1, 9.0, False),
        ({"value": 0.0}, -0.5, 9.0, True),
        ({"excess": 500.0}, 1400.0, 1000.0, True),
        ({"excess": 500.0}, 1600.0, 1000.0, False),
    ],
)
def test_a_target_is_met_or_missed(benchmark, bound, ours, peer, met):
    from benchmarks import table
    from benchmarks.case import Comparison, Target

    comparison = Comparison("ours", None if peer is None else "theirs", Target(**bound))
    figures = {"ours": [ours]} | ({} if peer is None else {"theirs": [peer]})
    (line,) = table.lines(replace(benchmark, comparisons=(comparison,)), figures)
    assert line["met"] is met
    assert table.row(line).endswith(": yes |" if met else ": **no** |")


def test_rare_classes_of_a_csv_file_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np
    import pandas as pd

    from benchmarks import imbalance

    rng = np.random.default_rng(0)
    table = pd.DataFrame({"size": rng.normal(size=300), "town": rng.choice(["a", "b"], size=300)})
    table["left"] = np.where(table["size"] + 0.5 * rng.normal(size=300) > 1.5, "yes", "no")
    table.to_csv(tmp_path / "rare.csv", index=False)
    x, y = imbalance.read(tmp_path / "rare.csv", "left")
    assert list(x) == ["size", "town"]
    assert y.sum() == (table["left"] == "yes").sum()  # the less frequent is positive
    assert imbalance.main([str(tmp_path / "rare.csv"), "--target", "left", "--seeds", "1"]) in (
        0,
        1,
    )
    printed = capsys.readouterr().out
    assert "| mean |" in printed and "The area is" in printed


def test_single_rows_are_measured_on_every_side(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import single_rows

    assert single_rows.main(["--quick"]) == 0
    header, _, table, image = capsys.readouterr().out.splitlines()
    assert header.count("|") == table.count("|") == image.count("|")
    assert table.startswith("| table, 5 columns") and image.startswith("| image 28 x 28")


def test_the_service_under_load_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import serving

    assert serving.main(["--quick"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("| ours |") and line.endswith("| 0 | 0 | 0 |")


def test_the_benchmark_of_samplers_marks_what_is_worse_than_optuna(monkeypatch):
    from benchmarks import samplers

    monkeypatch.setattr(samplers, "BUDGETS", (12,))
    found = [samplers.search(("Branin", tuner, 0)) for tuner in ("cma-es", samplers.THEIRS)]
    for values in found:
        assert len(values) == 12 and values == sorted(values, reverse=True)
    worse = {"random": 2.0}
    made = {
        ("Branin", tuner, seed): [worse.get(tuner, 1.0) + seed / 100] * 12
        for tuner in (*samplers.TUNERS, samplers.THEIRS)
        for seed in range(6)
    }
    lines = samplers.table(made, 6)
    assert [line for line in lines if "*" in line] == ["| 12 | random | 1.63 * |"]


def test_the_model_of_exchanges_finds_what_made_the_times_and_foretells_others():
    from benchmarks import communication as model

    latency, bandwidth = 4e-4, 0.5e9
    two, three = (
        {size: model.on_loopback(n, size, latency, bandwidth) for size in model.SIZES}
        for n in (2, 3)
    )
    assert model.fitted(two) == pytest.approx((latency, bandwidth))
    lines = model.report(two, three)
    rows = [line for line in lines if line.startswith("| ") and line.endswith("| 1.00 |")]
    assert len(rows) == len(model.SIZES)
    # 1 GB over a link of 10 Gbit/s: each of 64 workers sends twice 63 / 64 of it
    assert model.on_network(64, 1000, 0.0, 1.25e9) == pytest.approx(2 * 63 / 64 / 1.25)
    assert model.on_network(64, 0.0, latency, 1.25e9) == pytest.approx(126 * latency)
