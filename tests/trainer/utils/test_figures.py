"""How long a picture's figure lives, and that nothing is shown unasked."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from trainer.history import History
from trainer.plots import plot_confusion_matrix, plot_history, plot_images, plot_residuals
from trainer.utils.figures import shortened, width_of

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


def two_epochs() -> History:
    history = History()
    for epoch, loss in ((1, 0.9), (2, 0.5)):
        history.append(epoch, {"loss": loss, "val_loss": 2 * loss}, learning_rate=0.1, seconds=1.0)
    return history


def test_many_plots_leave_one_figure_open_and_free_the_others() -> None:
    figures = []
    for _ in range(30):  # pyplot warns at 20, and a warning is an error here
        figures.append(weakref.ref(plot_residuals([1.0, 2.0], [1.5, 2.0]).figure))
    gc.collect()
    assert len(plt.get_fignums()) == 1
    assert [ref() is not None for ref in figures] == [False] * 29 + [True]


def test_axes_that_are_held_can_be_saved_after_other_plots(tmp_path: Path) -> None:
    first = plot_history(two_epochs())
    plot_residuals([1.0, 2.0], [1.5, 2.0])
    first[0].figure.savefig(tmp_path / "first.png")
    assert (tmp_path / "first.png").stat().st_size > 10_000


def test_pyplot_saves_the_newest_plot() -> None:
    ax = plot_images(np.zeros((1, 4, 4)), rows=1, columns=1)[0, 0]
    assert plt.gcf() is ax.figure


def test_figures_of_the_user_stay_open() -> None:
    own = plt.figure()
    for _ in range(3):
        plot_residuals([1.0, 2.0], [1.5, 2.0])
    assert own.number in plt.get_fignums()
    assert len(plt.get_fignums()) == 2


def test_where_figures_are_shown_all_of_them_stay_until_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As a notebook's: pyplot draws with it, and the notebook shows what pyplot holds.
    notebook = types.ModuleType("a_notebook_backend")
    notebook.FigureCanvas = FigureCanvasAgg  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_notebook_backend", notebook)
    plt.switch_backend("module://a_notebook_backend")
    try:
        axes = [plot_residuals([1.0, 2.0], [1.5, 2.0]) for _ in range(3)]
        assert [plt.figure(number) for number in plt.get_fignums()] == [ax.figure for ax in axes]
    finally:
        plt.close("all")
        plt.switch_backend("Agg")


def test_chinese_text_is_cut_by_its_width() -> None:
    assert shortened("猫" * 11, 22) == "猫" * 11
    assert shortened("猫" * 12, 22) == "猫" * 10 + "…"
    assert shortened("cats and dogs", 8) == "cats an…"
    assert shortened("猫cat", 5) == "猫cat"
    assert [width_of(text) for text in ("", "cat", "猫cat", "ﾈｺ", "고양이")] == [0, 3, 5, 2, 6]


def test_nothing_is_shown(monkeypatch: pytest.MonkeyPatch, png_size: Callable[[Axes], int]) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("show() was called")

    monkeypatch.setattr(plt, "show", refuse)
    monkeypatch.setattr(matplotlib.figure.Figure, "show", refuse)
    drawn = [
        plot_history(two_epochs())[0],
        plot_confusion_matrix([0, 1], [0, 1]),
        plot_images(np.zeros((1, 4, 4)), rows=1, columns=1)[0, 0],
        plot_residuals([1.0, 2.0], [1.5, 2.0]),
    ]
    assert all(png_size(ax) > 500 for ax in drawn)
