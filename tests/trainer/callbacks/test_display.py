"""What a person sees of a training: on a terminal, in a file, in a notebook."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import time
import types
from typing import Any

import pytest
from rich.console import Console

from trainer.callbacks import display
from trainer.callbacks.display import Bar, Lines, NotebookBar, Silence, make_progress

LOGS = {"loss": 0.123456, "f1[red]": 0.5}
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _terminal(width: int = 120) -> Console:
    return Console(force_terminal=True, file=io.StringIO(), width=width)


def _text(console: Console) -> str:
    return CODES.sub("", console.file.getvalue())


def _without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "REFRESH_SECONDS", 0.0)


def test_the_bar_shows_epoch_step_rate_remaining_time_and_metrics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _without_pause(monkeypatch)
    console = _terminal()
    bar = Bar(7, console)
    bar.epoch_begins(2, 400)
    for step in (100, 200, 300):
        time.sleep(0.02)
        bar.chunk_ends(step, LOGS)
    bar.close()
    last = [line for line in re.split("[\r\n]", _text(console)) if "300/400" in line][-1]
    assert last.startswith("epoch 3/7")
    assert re.search(r"300/400 [\d,]+ steps/s 00:0\d loss 0.1235  f1\[red\] 0.5", last)


def test_a_slow_step_is_shown_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_pause(monkeypatch)
    console = _terminal()
    bar = Bar(1, console)
    bar.epoch_begins(0, 10)
    bar._began -= 6.0
    bar.chunk_ends(2, LOGS)
    bar.close()
    assert "2/10 3.0 s/step" in _text(console)


def test_an_unknown_number_of_steps_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_pause(monkeypatch)
    console = _terminal()
    bar = Bar(2, console)
    bar.epoch_begins(0, None)
    bar.chunk_ends(30, LOGS)
    bar.epoch_ends(0, LOGS, 1.0)
    bar.epoch_begins(1, 40)
    bar.chunk_ends(30, LOGS)
    bar.close()
    assert "30/?" in _text(console)
    assert "30/40" in _text(console)


def test_every_epoch_leaves_one_whole_line_however_narrow_the_terminal() -> None:
    console = _terminal(width=30)
    bar = Bar(50, console)
    logs = {f"a_long_name_of_a_metric_{i}": i / 7 for i in range(5)}
    for epoch in range(50):
        bar.epoch_begins(epoch, 3)
        bar.chunk_ends(3, logs)
        bar.epoch_ends(epoch, logs, 1.25)
    bar.close()
    lines = [line for line in re.split("[\r\n]", _text(console)) if "1.2 s" in line]
    assert [line.split("  ")[0] for line in lines] == [f"epoch {i}/50" for i in range(1, 51)]
    assert all(line.endswith("a_long_name_of_a_metric_4 0.5714") for line in lines)


def test_a_closed_bar_gives_the_terminal_back() -> None:
    console = _terminal()
    bar, stdout = Bar(1, console), sys.stdout
    bar.epoch_begins(0, 3)
    assert "\x1b[?25l" in console.file.getvalue(), "the cursor is hidden while the bar moves"
    bar.close()
    assert console.file.getvalue().rindex("\x1b[?25h") > console.file.getvalue().rindex("\x1b[?25l")
    assert sys.stdout is stdout


def test_the_bar_is_drawn_a_few_times_a_second_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(display, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    console = _terminal()
    bar = Bar(1, console)
    bar.epoch_begins(0, 100_000)
    for step in range(3_000):
        now[0] += 0.001
        bar.chunk_ends(step, LOGS)
        bar.epoch_ends(0, LOGS, 0.1)
    bar.close()
    shown = console.file.getvalue().count("steps/s")
    drawings = 3 / display.REFRESH_SECONDS
    assert drawings <= shown <= 2 * (drawings + 2)  # the lines above it, and the bar below them


def test_lines_are_plain(capsys: pytest.CaptureFixture) -> None:
    lines = Lines(3)
    lines.epoch_begins(1, 10)
    lines.chunk_ends(10, LOGS)
    lines.epoch_ends(1, LOGS, 2.04)
    lines.close()
    assert capsys.readouterr().out == "epoch 2/3  2.0 s  loss 0.1235  f1[red] 0.5\n"


class _Stdout(io.StringIO):
    def __init__(self, tty: bool) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


KINDS = [
    ("auto", True, Bar),
    ("auto", False, Silence),
    (0, True, Silence),
    (False, True, Silence),
    (1, True, Bar),
    (True, True, Bar),
    (1, False, Lines),
    (2, True, Lines),
    (2, False, Lines),
]


@pytest.mark.parametrize(("verbose", "terminal", "kind"), KINDS)
def test_verbose_decides_with_the_output(
    verbose: Any, terminal: bool, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", _Stdout(terminal))
    assert type(make_progress(verbose, 3)) is kind


def test_a_program_without_an_output_is_not_shown_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert type(make_progress("auto", 3)) is Silence


def test_a_notebook_has_a_bar_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = types.SimpleNamespace(kernel=object())
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(sys, "stdout", _Stdout(False))
    assert type(make_progress("auto", 3)) is type(make_progress(1, 3)) is NotebookBar
    assert type(make_progress(2, 3)) is Lines
    assert type(make_progress(0, 3)) is Silence
    shell.kernel = None  # IPython on a terminal, its output in a pipe
    assert type(make_progress("auto", 3)) is Silence


def test_the_bar_of_a_notebook_stays_small_and_ends_with_what_was_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[tuple[str, float | None]] = []
    monkeypatch.setattr(display.Output, "show", lambda self, *state: shown.append(state))
    bar = NotebookBar(100)
    bar.epoch_begins(0, 4)
    assert shown == [("epoch 1/100", 0.0)]
    monkeypatch.setattr(display, "REFRESH_SECONDS", 0.0)
    bar.chunk_ends(2, {"loss": 0.5})
    text, share = shown[-1]
    assert text.startswith("epoch 1/100  2/4  ") and text.endswith("  loss 0.5")
    assert share == 0.005
    for epoch in range(30):
        bar.epoch_begins(epoch, None)
        bar.epoch_ends(epoch, {"<b>": 1.0}, 1.0)
    bar.close()
    lines = shown[-1][0].splitlines()
    assert lines[0] == "(20 earlier epochs are in history_)" and len(lines) == 12
    assert lines[-1] == "ended after 30 of 100 epochs" and shown[-1][1] == 0.3


SCRIPT = """
import sys, time
import numpy as np
import keras
from trainer import Regressor

x = np.zeros((64, 4), "float32")
pause = keras.callbacks.LambdaCallback(on_train_batch_end=lambda i, logs: time.sleep(0.1))
for options in eval(sys.argv[1]):
    print("fit", flush=True)
    options = {"epochs": 2, "batch_size": 8, "random_state": 0, "callbacks": [pause]} | options
    Regressor(**options).fit(x, x[:, 0])
"""


def _run(arguments: str, terminal: bool) -> str:
    """What a fit in a process of its own writes to its standard output."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, arguments],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=environment,
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
    assert process.returncode == 0
    return written.decode()


def test_a_fit_on_a_terminal_shows_a_bar_and_leaves_its_lines() -> None:
    written = _run("[{}]", terminal=True)
    assert "\x1b[2K" in written, "the bar is drawn anew in its place"
    text = CODES.sub("", written)
    assert re.search(r"epoch 1/2 \S+ \d/8 \d+ steps/s \S+ loss [\d.e-]+  mae", text)
    assert re.findall(r"epoch (\d)/2  [\d.]+ s  loss", text) == ["1", "2"]
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), "the cursor is back"


def test_a_fit_in_a_pipe_writes_plain_lines_or_nothing() -> None:
    written = _run("[{}, {'verbose': 1}, {'verbose': 2}]", terminal=False)
    assert "\x1b" not in written
    auto, one, two = (part.splitlines() for part in written.split("fit\n")[1:])
    assert auto == []
    for lines in (one, two):
        assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
        assert all(re.fullmatch(r"epoch \d/2  \S+ s  loss \S+  mae \S+", s) for s in lines)
