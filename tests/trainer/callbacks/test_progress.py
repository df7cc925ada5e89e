"""progress: the events of a fit reach the display that `verbose` and the output call for."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from sessions import session

from trainer import Regressor
from trainer.callbacks.display import Bar, Silence
from trainer.callbacks.progress import Progress


def watched(verbose: int | str) -> Progress:
    """Two epochs of three steps pass by."""
    progress = Progress(verbose=verbose)
    progress.session = session(epochs=2, feed=SimpleNamespace(steps=3))
    progress.setup(progress.session)
    for epoch in range(2):
        progress.on_epoch_begin(epoch)
        progress.on_chunk_end(3, {"loss": 0.75})
        progress.on_epoch_end(epoch, {"loss": 0.5 / (epoch + 1)})
    progress.teardown()
    return progress


def test_every_epoch_has_a_line_with_its_results_and_its_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watched(2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"epoch 1/2  \d+\.\d s  loss 0\.5", lines[0])
    assert re.fullmatch(r"epoch 2/2  \d+\.\d s  loss 0\.25", lines[1])


@pytest.mark.parametrize("verbose", [0, "auto"])
def test_nothing_is_shown_where_nobody_looks(
    verbose: int | str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type(watched(verbose)._display) is Silence
    assert capsys.readouterr().out == ""


def test_a_terminal_has_a_bar_that_is_gone_after_the_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    progress = watched("auto")
    assert isinstance(progress._display, Bar)
    assert not progress._display._bar.live.is_started
    assert "epoch 2/2" in capsys.readouterr().out


def test_an_epoch_without_logs_is_shown_and_no_state_is_saved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = watched(2)
    progress.on_epoch_end(1)
    assert capsys.readouterr().out.splitlines()[-1].startswith("epoch 2/2")
    assert progress.state_dict() == {}


@pytest.mark.parametrize("verbose", ["of", 5, None])
def test_another_verbose_is_refused_before_training(verbose: Any) -> None:
    fit = Regressor(epochs=1, callbacks=[{"name": "progress", "verbose": verbose}]).fit
    with pytest.raises(ValueError, match=f"verbose={verbose!r}: must be one of 'auto', 0, 1, 2"):
        fit([[0.0], [1.0]], [0.0, 1.0])
