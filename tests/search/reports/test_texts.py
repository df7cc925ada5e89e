"""Names, values and errors from outside are shown, kept and drawn by a search as text."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_study import FakeStudy
from light_estimators import Bowl
from light_searches import R, X, sklearn_search
from rich.console import Console

from search import plots
from search.executors import Crashed
from search.reports.display import Lines, LiveTable
from search.reports.results import table
from search.reports.summary import describe
from search.space import Space
from search.study.storage import Trial
from trainer import Choice, Float

CLEAR = "\x1b[2J"
TITLE = "\x1b]0;pwned\x07"
NASTY = f"{CLEAR}{TITLE}\x9b2J\u202e[red]a[/red]\n[9/9] trial 8 completed"


def assert_harmless(text: str) -> None:
    assert not [c for c in "\x1b\x07\x9b\u202e" if c in text], repr(text)


def _shown(shown: Any) -> FakeStudy:
    study = FakeStudy(shown, directory=NASTY, objective=NASTY)
    shown.on_search_begin(study)
    study.end(study.begin(params={NASTY: NASTY, "b": 2}), 0.5)
    study.end(study.begin(params={NASTY: 1}), None, error=f"ValueError: {NASTY}")
    study.begin(params={f"a__{NASTY}": NASTY})
    return study


def test_plain_lines_hold_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    study = _shown(Lines())
    study.shown.on_search_end(study)
    out = capsys.readouterr().out
    assert_harmless(out)
    assert len(out.splitlines()) == 4  # of which a name forged none
    assert "[red]a[/red]" in out


def test_a_live_table_holds_no_command() -> None:
    study = _shown(LiveTable(Console(file=io.StringIO(), force_terminal=True, width=300)))
    console = Console(file=io.StringIO(), color_system=None, force_terminal=False, width=300)
    for over in (False, True):
        console.print(study.shown._table(study, over))
    study.shown.on_search_end(study)
    assert_harmless(console.file.getvalue())
    assert "[red]a[/red]" in console.file.getvalue()


def test_a_summary_holds_no_command() -> None:
    trials = [
        Trial(i, str(i), {NASTY: NASTY, "b": 1.0}, 0, state="completed", score=float(i), ended=1.0)
        for i in range(3)
    ]
    trials += [
        Trial(3, "3", {NASTY: 1}, 0, state="failed", error=f"ValueError: {NASTY}", ended=1.0)
    ]
    for trial in trials:
        trial.started = 0.5
    folds = pd.DataFrame(columns=["trial", "fit_seconds", "score_seconds"], dtype=float)
    epochs = pd.DataFrame(columns=["trial", "fold", "execution", "epoch"], dtype=float)
    text = describe(
        table(trials, [NASTY, "b"], folds, epochs),
        [NASTY, "b"],
        objective=NASTY,
        maximize=True,
        directory=NASTY,
    )
    assert_harmless(text)
    assert "[red]a[/red]" in text


class Loud(Bowl):
    """Fails with what a stranger wrote."""

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
        if self.a > 0.5:
            raise ValueError(NASTY)
        return super().fit(x, y)


def test_the_errors_of_trials_are_kept_without_commands(tmp_path: Any) -> None:
    search = sklearn_search(
        Loud(), {"a": [0.1, 0.9]}, method="grid", directory=tmp_path / "study", refit=False
    )
    with pytest.warns(UserWarning, match="1 of 2 trials failed"):
        search.fit(X, R)
    (error,) = search.results_.error.dropna()
    assert_harmless(error)
    assert error.count("\n") > 3  # a traceback keeps its lines
    with pytest.raises(RuntimeError, match="none of 1 trials has a score") as refused:
        sklearn_search(Loud(), {"a": [0.9]}, method="grid", refit=False).fit(X, R)
    assert_harmless(str(refused.value))


def test_the_last_words_of_a_worker_hold_no_command() -> None:
    failure = Crashed(f"its process died of SIGKILL; it had printed:\n{NASTY}")
    assert_harmless(str(failure))
    assert "it had printed:\n" in str(failure)


def test_pictures_of_nasty_names_can_be_drawn(tmp_path: Any) -> None:
    name, other = "$\\frac$", "a__$x^{$"
    space = Space({name: Float(0, 1), other: Choice("$\\frac$", "$5", CLEAR)})
    rng = np.random.default_rng(0)
    params = [space.draw(rng) for _ in range(12)]
    trials = [
        Trial(i, str(i), p, 0, state="completed", score=p[name], started=0.0, ended=1.0)
        for i, p in enumerate(params)
    ]
    folds = pd.DataFrame(columns=["trial", "fit_seconds", "score_seconds"], dtype=float)
    epochs = pd.DataFrame(columns=["trial", "fold", "execution", "epoch"], dtype=float)
    results = table(trials, list(space.domains), folds, epochs)
    options: dict[str, Any] = {"maximize": True, "objective": name}
    for drawn in (
        plots.plot_slice(results, space, **options),
        plots.plot_parallel(results, space, **options),
        plots.plot_importance(results, space, objective=name),
        plots.plot_history(results, **options),
    ):
        np.ravel(drawn)[0].figure.savefig(tmp_path / "picture.png")
