"""What a person sees of a search: on a terminal, in a notebook, in a file, and what it costs."""

from __future__ import annotations

import importlib.util
import io
import os
import pty
import re
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search import display
from search.display import Display, Lines, LiveTable
from search.store import Trial

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Study:
    """A study whose trials begin and end when a test says so, at the times that it says."""

    shown: Any
    directory: Path = Path("studies/a")
    objective: str = "f1[red]"
    maximize: bool = True
    workers: int = 2
    max_trials: int | None = 10
    max_seconds: float | None = None
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best(self) -> Trial | None:
        completed = [t for t in self.trials if t.state == "completed"]
        sign = 1 if self.maximize else -1
        return max(completed, key=lambda t: sign * (t.score or 0.0), default=None)

    def stop(self) -> None:
        raise AssertionError("a display does not stop a search")

    def begin(self, **more: Any) -> Trial:
        """A trial begins: now, unless `ago` says how many seconds ago."""
        number = len(self.trials)
        params = more.pop("params", {"units": number, "rate": 0.001})
        started = time.time() - more.pop("ago", 0.0)
        trial = Trial(number, str(number), params, 0, started=started, attempts=1)
        vars(trial).update(more)
        self.trials.append(trial)
        self.shown.on_trial_begin(self, trial)
        return trial

    def end(self, trial: Trial, score: float | None, took: float = 3.2, error: str = "") -> None:
        """It ends, after so many seconds."""
        trial.state = "failed" if score is None else "completed"
        trial.score, trial.error = score, error or None
        trial.ended = (trial.started or 0.0) + took
        self.shown.on_trial_end(self, trial)

    def run(self, *scores: float | None, **more: Any) -> None:
        """Trials, one after another."""
        for score in scores:
            self.end(self.begin(), score, **more)


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


def _lines(capsys: pytest.CaptureFixture[str], study: Study) -> list[str]:
    text = capsys.readouterr().out
    assert text.endswith("\n")
    return text.splitlines()


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


def test_the_table_is_drawn_a_few_times_a_second_and_no_more() -> None:
    study, console = _live(max_trials=None)
    began = time.perf_counter()
    while (seconds := time.perf_counter() - began) < 1.2:
        study.run(0.5)
    drawn = console.file.getvalue().count("search  highest")
    assert 2 <= drawn <= seconds / display.SECONDS_BETWEEN_DRAWINGS + 2
    assert len(study.trials) > 200, "what is not drawn costs next to nothing"
    study.shown.on_search_end(study)


def test_what_the_table_leaves_is_its_last_state_without_a_forecast() -> None:
    study, console = _live()
    study.run(0.5, 0.25)
    study.begin()
    study.seconds = 7.5
    study.shown.on_search_end(study)
    lines = [line.rstrip() for line in _frames(console)[-1].splitlines()]
    assert lines[1] == "trials  2 of 10 ended, 1 broken off"
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


# ---- plain lines ---------------------------------------------------------------------------------


def test_lines_say_what_is_searched_how_each_trial_ended_and_what_it_came_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = Study(Lines())
    study.shown.on_search_begin(study)
    study.run(0.5, 0.91234)
    study.end(study.begin(), None, took=65, error="ValueError: [red]\nTraceback")
    study.end(study.begin(attempts=2), 0.75)
    study.begin()
    study.seconds = 312.0
    study.shown.on_search_end(study)
    assert _lines(capsys, study) == [
        "search for the highest f1[red]: 10 trials, 2 workers, in studies/a",
        "[1/10] trial 0 completed in 3.2 s: f1[red] 0.5 (the best so far); units=0, rate=0.001",
        "[2/10] trial 1 completed in 3.2 s: f1[red] 0.9123 (the best so far); units=1, rate=0.001",
        "[3/10] trial 2 failed after 1 min 5 s: ValueError: [red]; units=2, rate=0.001",
        "[4/10] trial 3 completed in 3.2 s, attempt 2: f1[red] 0.75 (best 0.9123, trial 1); "
        "units=3, rate=0.001",
        "search ended after 5 min 12 s: 3 completed, 1 failed, 1 not ended; "
        "best f1[red] 0.9123, trial 1: units=1, rate=0.001",
    ]


def test_lines_of_a_resumed_study_count_its_earlier_trials(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = [Trial(i, str(i), {}, 0, state="completed", score=0.5 + i) for i in range(3)]
    before.append(Trial(3, "3", {}, 0, state="failed"))
    study = Study(Lines(), trials=before, workers=1, max_seconds=3600.0, maximize=False)
    study.shown.on_search_begin(study)
    study.run(0.75)
    study.max_trials = None
    study.run(0.25)
    assert _lines(capsys, study) == [
        "search for the lowest f1[red]: 10 trials, no trial begins after 1 h, 1 worker, "
        "in studies/a, going on after 3 completed, 1 failed",
        "[5/10] trial 4 completed in 3.2 s: f1[red] 0.75 (best 0.5, trial 0); units=4, rate=0.001",
        "[6] trial 5 completed in 3.2 s: f1[red] 0.25 (the best so far); units=5, rate=0.001",
    ]


def test_a_search_without_a_completed_trial_has_a_last_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = Study(Lines())
    study.shown.on_search_begin(study)
    study.run(None)
    study.shown.on_search_end(study)
    lines = _lines(capsys, study)
    assert "trial 0 failed after 3.2 s: no reason is known;" in lines[1]
    assert lines[2] == "search ended after 0 s: 0 completed, 1 failed"


def test_thousands_of_fast_trials_do_not_flood_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(Lines(), max_trials=2000)
    study.shown.on_search_begin(study)
    for i in range(2000):
        study.seconds = i / 20
        study.run(None if i % 400 == 399 else 2.0 if i == 1500 else 1.0 - (i > 0) * 0.5)
    lines = _lines(capsys, study)
    # 1 + 50 free ones + one for each ten of the 100 seconds + the first, the new best, 5 failures
    assert len(lines) == 1 + 50 + 10 + 2 + 5
    assert sum(" failed after " in line for line in lines) == 5
    assert sum("2 (the best so far)" in line for line in lines) == 1
    left_out = sum(int(n) for line in lines for n in re.findall(r"; (\d+) others", line))
    shown = len(lines) - 1
    assert shown + left_out == 2000, "and the lines say how many are missing"


def test_slow_trials_are_all_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(Lines(), max_trials=1000)
    study.shown.on_search_begin(study)
    for i in range(1000):
        study.seconds = (i // 4 + 1) * 60.0  # four workers, of which all end at the same time
        study.run(0.5)
    assert len(_lines(capsys, study)) == 1001


def test_a_character_that_the_output_cannot_write_ends_no_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", file)
    study = Study(Lines())
    study.shown.on_search_begin(study)
    study.end(study.begin(params={"kind": "größe"}), None, error="→ no")
    assert b"\\u2192 no; kind=gr\\xf6\\xdfe" in file.buffer.getvalue()


def test_a_program_without_an_output_can_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    study = Study(Display("auto"))
    study.shown.on_search_begin(study)
    study.run(0.5, None)
    study.shown.on_search_end(study)


# ---- which of them -------------------------------------------------------------------------------


class _Stdout(io.TextIOWrapper):
    def __init__(self, tty: bool, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


def _kind(verbose: Any, stdout: _Stdout, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a search of one trial writes to this output."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", stdout)
    study = Study(Display(verbose))
    study.shown.on_search_begin(study)
    study.run(0.5)
    study.shown.on_wait(study)
    study.shown.on_search_end(study)
    text = stdout.text()
    if not text:
        return "nothing"
    return "table" if "\x1b[?25l" in text else "lines" if "[1/10] trial 0" in text else text


KINDS = [
    ("auto", True, "table"),
    ("auto", False, "lines"),
    (1, True, "table"),
    (True, True, "table"),
    (1, False, "lines"),
    (2, True, "lines"),
    (2, False, "lines"),
    (0, True, "nothing"),
    (False, False, "nothing"),
]


@pytest.mark.parametrize(("verbose", "terminal", "kind"), KINDS)
def test_verbose_decides_with_the_output(
    verbose: Any, terminal: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _kind(verbose, _Stdout(terminal), monkeypatch) == kind


def test_lines_are_for_outputs_on_which_nothing_can_move(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _kind("auto", _Stdout(True, encoding="ascii"), monkeypatch) == "lines"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert _kind("auto", _Stdout(False), monkeypatch) == "lines", "colours do not make a terminal"
    monkeypatch.setenv("TTY_INTERACTIVE", "0")
    assert _kind("auto", _Stdout(True), monkeypatch) == "lines"


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_has_a_table_where_it_can_move_and_lines_elsewhere(
    widgets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setattr("builtins.get_ipython", lambda: shell, raising=False)
    monkeypatch.setattr("rich.console.get_ipython", lambda: shell, raising=False)
    monkeypatch.setattr(sys, "stdout", _Stdout(False))
    find = importlib.util.find_spec
    found = types.SimpleNamespace() if widgets else None
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: found if name == "ipywidgets" else find(name)
    )
    console = display._moving()
    assert (console is not None) == widgets
    assert console is None or console.is_jupyter


def test_in_a_notebook_the_output_is_left_to_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)  # rich then only warns
    stdout, stderr = sys.stdout, sys.stderr
    study = Study(LiveTable(Console(force_jupyter=True, file=io.StringIO())))
    with pytest.warns(UserWarning, match="ipywidgets"):
        study.shown.on_search_begin(study)
        assert (sys.stdout, sys.stderr) == (stdout, stderr), "rich's stream calls itself there"
        study.shown.on_search_end(study)


def test_another_verbose_is_refused() -> None:
    with pytest.raises(ValueError, match=r"verbose='Auto': must be one of 'auto', 0, 1, 2.*'auto'"):
        Display("Auto")


SCRIPT = """
import sys, time
from test_display import Study
from search.display import Display

study = Study(Display())
study.shown.on_search_begin(study)
try:
    for i in range(3):
        trial = study.begin()
        print("printed by trial", i)
        time.sleep(0.6)
        study.shown.on_wait(study)
        study.end(trial, 0.1 * i)
    raise KeyboardInterrupt
finally:
    study.shown.on_search_end(study)
"""


def _run(terminal: bool) -> str:
    """What a search that is interrupted, in a process of its own, writes to its output."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    folder = str(Path(__file__).parent)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONPATH": folder}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=theirs, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # a terminal whose last program ended
                break
            if not piece:
                break
            written += piece
    os.close(ours)
    assert process.returncode != 0, "the interrupt is not swallowed"
    return written.decode()


def test_an_interrupted_search_on_a_terminal_gives_it_back_with_its_last_table() -> None:
    written = _run(terminal=True)
    assert "\x1b[2K" in written, "the table is drawn anew in its place"
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), "the cursor is back"
    text = CODES.sub("", written)
    assert [f"printed by trial {i}" in text for i in range(3)] == [True] * 3
    assert "trials  3 of 10 ended" in text.splitlines()[-4]


def test_an_interrupted_search_in_a_pipe_writes_lines_and_no_codes() -> None:
    written = _run(terminal=False)
    assert "\x1b" not in written
    lines = written.splitlines()
    assert [line[:6] for line in lines[2::2]] == ["[1/10]", "[2/10]", "[3/10]"]
    assert lines[-1].startswith("search ended after 0 s: 3 completed, 0 failed; best f1[red] 0.2")
