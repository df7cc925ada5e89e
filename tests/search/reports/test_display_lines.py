"""What a search writes where no table can move, and where it chooses which."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_study import FakeStudy as Study

from search.reports import display
from search.reports.display import Display, Lines
from search.study.storage import Trial

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _lines(capsys: pytest.CaptureFixture[str], study: Study) -> list[str]:
    text = capsys.readouterr().out
    assert text.endswith("\n")
    return text.splitlines()


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
        "search for the lowest f1[red]: 10 trials, no trial starts after 1 h, 1 worker, "
        "in studies/a, resuming after 3 completed, 1 failed",
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
    assert "trial 0 failed after 3.2 s: unknown reason;" in lines[1]
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


def test_a_notebook_has_a_table_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, float | None]] = []
    monkeypatch.setattr(display, "in_notebook", lambda: True)
    monkeypatch.setattr(display.Output, "show", lambda self, *state: shown.append(state))
    study = Study(Display())
    study.shown.on_search_begin(study)
    assert "0 of 10 ended" in shown[-1][0] and shown[-1][1] == 0.0
    study.run(0.5, None, error="ValueError: <b>no</b>")
    study.shown.on_search_end(study)
    text, share = shown[-1]
    assert "2 of 10 ended, 1 failed" in text and "failed trial 1: ValueError: <b>no</b>" in text
    assert "\x1b" not in text and share == 0.2


def test_another_verbose_is_refused() -> None:
    with pytest.raises(ValueError, match=r"verbose='Auto': must be one of 'auto', 0, 1, 2.*'auto'"):
        Display("Auto")


SCRIPT = """
import sys, time
from fake_study import FakeStudy as Study
from search.reports.display import Display

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
    folder = str(Path(__file__).parents[2] / "helpers")
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
