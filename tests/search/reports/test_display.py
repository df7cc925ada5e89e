"""What a person sees of a search: on a terminal, in a notebook, in a file, and what it costs."""

from __future__ import annotations

import io
import re
import sys
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest
from fake_study import FakeStudy as Study
from rich.console import Console

from search.reports import display
from search.reports.display import Lines, LiveTable
from search.study.storage import Trial

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _terminal(width: int = 100, height: int = 30) -> Console:
    return Console(
        force_terminal=True, file=io.StringIO(), width=width, height=height, markup=False
    )


def _frames(console: Console) -> list[str]:
    """The pictures that were drawn, one over another, without colours."""
    erased = r"(?:\r?\x1b\[2K(?:\x1b\[1A)?)+"
    return [CODES.sub("", frame) for frame in re.split(erased, console.file.getvalue())]


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Study, Console]]:
    """A study on a terminal that draws everything that happens."""
    monkeypatch.setattr(display, "SECONDS_BETWEEN_DRAWINGS", 0.0)
    study, console = _live()
    yield study, console
    study.shown.on_search_end(study)


def _live(width: int = 100, height: int = 30, **more: Any) -> tuple[Study, Console]:
    console = _terminal(width, height)
    study = Study(LiveTable(console), **more)
    study.shown.on_search_begin(study)
    return study, console


# ---- the live table ------------------------------------------------------------------------------


def test_the_table_shows_aim_counts_best_and_the_running_trials(
    live: tuple[Study, Console],
) -> None:
    study, console = live
    study.run(0.5, 0.9123, 0.7)
    study.end(study.begin(), None, error="ValueError: [red] is no colour\nTraceback")
    study.begin(ago=75, attempts=2, params={"units": 30, "kind": None})
    study.seconds = 200
    study.shown.on_wait(study)
    study.begin(ago=5)
    lines = [line.rstrip() for line in _frames(console)[-1].splitlines()]
    assert lines[0] == "search  highest f1[red]"
    assert lines[1] == "trials  4 of 10 ended, 1 failed"
    assert lines[2].startswith("time    3 min 20 s, remaining: about ")
    assert lines[3:5] == ["best    0.9123, trial 1", "        units=1, rate=0.001"]
    assert lines[5] == ""
    assert lines[6].split() == ["trial", "running", "attempt", "parameters"]
    assert re.fullmatch(r"    4  1 min 1[56] s        2  units=30, kind=None", lines[7])
    assert re.fullmatch(r"    5         [56] s           units=5, rate=0.001", lines[8])
    assert lines[9:] == ["failed trial 3: ValueError: [red] is no colour"]


def test_the_number_of_attempts_is_shown_only_where_there_were_several(
    live: tuple[Study, Console],
) -> None:
    study, console = live
    study.begin()
    assert "attempt" not in _frames(console)[-1]


def test_the_table_shows_the_time_that_passes_while_nothing_else_happens(
    live: tuple[Study, Console],
) -> None:
    study, console = live
    study.begin(ago=10)
    study.seconds = 30
    study.shown.on_wait(study)
    assert "time    30 s, remaining: unknown" in _frames(console)[-1]


def test_the_last_reasons_of_failures_are_shown_in_a_line_each(
    live: tuple[Study, Console],
) -> None:
    study, console = live
    for i in range(5):
        study.end(study.begin(), None, error=f"ValueError: {i} " + "very long " * 50)
    lines = _frames(console)[-1].splitlines()
    assert [line[:29] for line in lines if line.startswith("failed")] == [
        f"failed trial {i}: ValueError: {i}" for i in (2, 3, 4)
    ]


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_a_narrow_terminal_cuts_parameters_and_wraps_no_row(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "SECONDS_BETWEEN_DRAWINGS", 0.0)
    study, console = _live(width, workers=4)
    params = {f"pipeline__trainer__parameter_{i}": 0.123456 for i in range(12)}
    study.end(study.begin(params=params), 0.5)
    study.end(study.begin(params=params), None, error="ValueError: " + "long " * 50)
    for _ in range(4):
        study.begin(params=params, ago=10_000)
    lines = _frames(console)[-1].splitlines()
    assert all(len(line) <= width for line in lines)
    rows = [line for line in lines if re.match(r" +\d  2 h 47 min", line)]
    assert len(rows) == 4
    assert all("parameter_0=0.1" in row or width == 30 for row in rows)
    study.shown.on_search_end(study)


def test_more_running_trials_than_the_terminal_has_lines_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(display, "SECONDS_BETWEEN_DRAWINGS", 0.0)
    study, console = _live(height=20, workers=64, max_trials=1000)
    study.run(0.5, None)
    for _ in range(64):
        study.begin()
    lines = _frames(console)[-1].splitlines()
    assert len(lines) < 20
    assert lines[-1].startswith("failed trial 1"), "what is below is not cut"
    rows = sum(bool(re.match(r" +\d+ +\d+ s", line)) for line in lines)
    assert rows >= 8
    assert lines[-2].strip() == f"and {64 - rows} more"
    study.shown.on_search_end(study)


def test_the_table_is_drawn_a_few_times_a_second_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    clock = types.SimpleNamespace(monotonic=lambda: now[0], time=time.time)
    monkeypatch.setattr(display, "time", clock)
    study, console = _live(max_trials=None)
    for _ in range(100):
        now[0] += 0.03
        study.run(0.5)
    drawn = console.file.getvalue().count("search  highest")
    assert drawn >= 3 / display.SECONDS_BETWEEN_DRAWINGS - 1
    assert drawn <= 3 / display.SECONDS_BETWEEN_DRAWINGS + 2
    study.shown.on_search_end(study)


def test_what_the_table_leaves_is_its_last_state_without_a_forecast() -> None:
    study, console = _live()
    study.run(0.5, 0.25)
    study.begin()
    study.seconds = 7.5
    study.shown.on_search_end(study)
    lines = [line.rstrip() for line in _frames(console)[-1].splitlines()]
    assert lines[1] == "trials  2 of 10 ended, 1 interrupted"
    assert lines[2] == "time    8 s"
    assert lines[3] == "best    0.5, trial 0"


def test_the_terminal_is_given_back() -> None:
    stdout, stderr = sys.stdout, sys.stderr
    study, console = _live()
    assert "\x1b[?25l" in console.file.getvalue(), "the cursor is hidden while the table moves"
    study.shown.on_search_end(study)
    study.shown.on_search_end(study)  # a second time is no harm
    written = console.file.getvalue()
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert sys.stdout is stdout
    assert sys.stderr is stderr


class _Broken(Study):
    """A study that cannot be looked at any more."""

    broken = False

    @property
    def best(self) -> Trial | None:
        if self.broken:
            raise RuntimeError("broken")
        return None


@pytest.mark.parametrize("when", ["begin", "end"])
def test_the_terminal_is_given_back_even_if_the_table_cannot_be_drawn(when: str) -> None:
    stdout, console = sys.stdout, _terminal()
    study = _Broken(LiveTable(console))
    study.broken = when == "begin"
    with pytest.raises(RuntimeError, match="broken"):
        study.shown.on_search_begin(study)
        study.broken = True
        study.shown.on_search_end(study)
    assert console.file.getvalue().count("\x1b[?25l") == console.file.getvalue().count("\x1b[?25h")
    assert sys.stdout is stdout


def test_what_the_program_prints_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", errors := io.StringIO())
    study, console = _live()
    print("a line with [brackets]")
    print("to a file", file=sys.stderr)
    print("begun [and] not ended", end="")
    study.shown.on_search_end(study)
    text = CODES.sub("", console.file.getvalue())
    assert "a line with [brackets]" in text
    assert "begun [and] not ended" in text
    assert errors.getvalue() == "to a file\n", "errors that go to a file stay there"


# ---- the remaining time --------------------------------------------------------------------------


def _remaining(study: Study) -> float | None:
    return study.shown.remaining(study)


def _silent(monkeypatch: pytest.MonkeyPatch, **more: Any) -> Study:
    # time that passes between two calls would make figures inexact
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    study = Study(Lines(), **more)
    study.shown.on_search_begin(study)
    return study


def test_the_remaining_time_follows_from_the_mean_and_the_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = _silent(monkeypatch, workers=2, max_trials=9)
    study.run(0.5, took=8)
    study.run(0.5, None, took=11)
    study.begin(ago=4)
    study.begin(ago=7)
    # the mean is 10; the workers are free in 3 and in 6 seconds, and 4 trials are to come
    assert _remaining(study) == pytest.approx(6 + 2 * 10)
    study.max_trials = 8
    assert _remaining(study) == pytest.approx(3 + 2 * 10)
    study.max_trials = 5
    assert _remaining(study) == pytest.approx(6)


def test_the_remaining_time_follows_from_how_often_trials_end_where_workers_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = _silent(monkeypatch, workers=2, max_trials=9)
    for seconds in (20, 23, 26):  # the first one is late, as the workers had to start
        study.seconds = seconds
        study.run(0.5, took=0.01)
    assert _remaining(study) == pytest.approx(6 * 3)


def test_the_remaining_time_is_unknown_before_a_trial_has_completed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [Trial(0, "0", {}, 0, state="completed", score=0.5, started=0.0, ended=9.0)]
    study = _silent(monkeypatch, trials=before)
    assert _remaining(study) is None, "another machine may have run those of an earlier call"
    study.run(None)
    assert _remaining(study) is None, "a trial that failed at once says nothing of the others"
    study.run(0.5)
    assert _remaining(study) is not None


def test_the_remaining_time_is_unknown_without_a_number_of_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = _silent(monkeypatch, max_trials=None)
    study.run(0.5)
    assert _remaining(study) is None


def test_the_remaining_time_is_unknown_while_the_last_trials_take_longer_than_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = _silent(monkeypatch, max_trials=2)
    study.run(0.5, took=3)
    study.begin(ago=20)
    assert _remaining(study) is None


def test_a_limit_of_time_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    study = _silent(monkeypatch, max_trials=1000, max_seconds=60.0)
    study.run(0.5, took=10)
    study.seconds = 45.0
    assert _remaining(study) == pytest.approx(15 + 10)
    study.seconds = 61.0
    study.begin(ago=4)
    assert _remaining(study) == pytest.approx(6)


def test_of_trials_in_rungs_only_the_limit_of_time_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = _silent(monkeypatch)
    study.end(study.begin(rung=0), 0.5, took=10)
    assert _remaining(study) is None
    study.max_seconds = 60.0
    assert _remaining(study) == pytest.approx(70)


def test_of_a_budget_of_epochs_only_the_limit_of_time_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = _silent(monkeypatch, max_trials=1000, max_epochs=50)
    study.run(0.5, 0.6)
    assert _remaining(study) is None
