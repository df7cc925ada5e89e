"""Texts in plots whose characters the default font lacks."""

from __future__ import annotations

import io
import string
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.text import Text
from plotted import curves, drawn, table
from tiny_font import write_font

import search.plots
import trainer.plots
from search.space import Space
from trainer import Choice, Float
from trainer.history import History
from trainer.plots import plot_confusion_matrix, plot_history, plot_images, plot_residuals
from trainer.utils import fonts

pytestmark = pytest.mark.usefixtures("drawn_without_warnings", "fresh")

ANIMALS = ["猫", "狗"]
SPACE = Space({"学习率": Float(0.1, 1.0), "kind": Choice("猫", "狗")})
GOAL: Any = {"maximize": True, "objective": "猫"}
Install = Callable[[str, str], None]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has matplotlib's own fonts only, and drew nothing yet."""
    manager = font_manager.fontManager
    own = [each for each in manager.ttflist if "DejaVu" in each.name or "Last" in each.name]
    monkeypatch.setattr(manager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    monkeypatch.setattr(fonts, "_chosen", {})
    monkeypatch.setattr(fonts, "_refreshed", False)
    monkeypatch.setattr(fonts, "_hinted", set())
    manager._findfont_cached.cache_clear()
    yield
    manager._findfont_cached.cache_clear()


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Adds a font of these characters to those that matplotlib knows."""

    def add(family: str, letters: str) -> None:
        path = write_font(tmp_path / f"{family}.ttf", family, letters)
        font_manager.fontManager.addfont(path)

    return add


def families(figure: Any, letter: str) -> list[list[str]]:
    """The families of the texts that contain a character, once they are drawn."""
    figure.savefig(io.BytesIO(), format="png")
    return [text.get_fontfamily() for text in figure.findobj(Text) if letter in text.get_text()]


def history() -> History:
    made = History()
    for epoch in (1, 2):
        made.append(epoch, {"loss": 1 / epoch, "准确率": 0.5}, learning_rate=0.1, seconds=1.0)
    return made


DRAWN: dict[str, Callable[[], Any]] = {
    "confusion matrix": lambda: plot_confusion_matrix(["猫", "狗"], ["猫", "猫"]),
    "class names": lambda: plot_confusion_matrix([0, 1], [0, 0], class_names=ANIMALS),
    "images": lambda: plot_images(np.zeros((2, 4, 4)), ["猫", "狗"], ["狗", "狗"], rows=1)[0, 0],
    "history": lambda: plot_history({"猫": history(), "狗": history()})[0],
    "search history": lambda: search.plots.plot_history(table([0.5, 0.7]), **GOAL),
    "search parallel": lambda: search.plots.plot_parallel(drawn(12, SPACE), SPACE, **GOAL),
    "search slice": lambda: search.plots.plot_slice(drawn(12, SPACE), SPACE, **GOAL)[0],
    "search importance": lambda: search.plots.plot_importance(
        drawn(12, SPACE), SPACE, objective="猫"
    ),
    "search rungs": lambda: search.plots.plot_rungs(
        table([0.5, 0.7], rung=[0, 1], epochs=[1, 3], parent=[np.nan, 0]), **GOAL
    ),
    "search curves": lambda: search.plots.plot_curves(
        curves(2).rename(columns={"loss": "猫"}), metric="猫"
    ),
}


@pytest.mark.parametrize("plot", DRAWN)
def test_an_installed_font_with_the_characters_is_used(plot: str, install: Install) -> None:
    install("Some Font", "猫狗准确率学习")
    before = dict(matplotlib.rcParams)
    figure = DRAWN[plot]().figure
    used = families(figure, "猫")
    assert used
    assert all(each == ["sans-serif", "Some Font"] for each in used)
    assert dict(matplotlib.rcParams) == before


def test_a_metric_with_a_chinese_name_and_bold_text_are_drawn(install: Install) -> None:
    install("Some Font", "猫狗准确率")
    assert families(plot_history(history())[0].figure, "准") == [["sans-serif", "Some Font"]]
    wrong = plot_images(np.zeros((1, 4, 4)), ["猫"], ["狗"], rows=1, columns=1)[0, 0]
    assert families(wrong.figure, "猫") == [["sans-serif", "Some Font"]]
    assert wrong.title.get_fontweight() == "bold"


def test_texts_that_need_no_other_font_keep_theirs(install: Install) -> None:
    install("Some Font", "猫狗")
    ax = plot_confusion_matrix(["猫", "chat é"], ["猫", "猫"])
    assert ax.title.get_fontfamily() == ["sans-serif"]
    plain = plot_residuals([1.0, 2.0], [1.5, 2.0])
    assert {tuple(text.get_fontfamily()) for text in plain.figure.findobj(Text)} == {
        ("sans-serif",)
    }


def test_texts_of_the_user_in_the_same_figure_are_drawn_too(install: Install) -> None:
    install("Some Font", "猫狗")
    figure, axes = plt.subplots(1, 2)
    axes[0].bar(["猫", "b"], [1, 2])
    figure.suptitle("狗")
    plot_residuals([1.0, 2.0], [1.5, 2.0], ax=axes[1])
    assert families(figure, "猫")[0] == ["sans-serif", "Some Font"]
    assert families(figure, "狗") == [["sans-serif", "Some Font"]]


def test_without_such_a_font_one_warning_names_fonts_to_install() -> None:
    with pytest.warns(UserWarning, match=r"no .*'狗猫'.*Noto Sans CJK.*fonts-noto-cjk") as caught:
        ax = plot_confusion_matrix(["猫", "狗"], ["猫", "猫"])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    ax.figure.savefig(io.BytesIO())  # matplotlib does not warn of each character on top of it
    plot_confusion_matrix(["猫", "狗"], ["猫", "猫"])
    plot_confusion_matrix(["虎", "a"], ["虎", "a"]).figure.savefig(io.BytesIO())
    with pytest.warns(UserWarning, match="고양이|고이양"):
        plot_confusion_matrix(["고양이", "a"], ["고양이", "a"])


def test_only_the_characters_that_no_font_has_are_in_the_warning(install: Install) -> None:
    install("Some Font", "猫")
    with pytest.warns(UserWarning, match="characters '狗', so"):
        ax = plot_confusion_matrix(["猫", "狗"], ["猫", "猫"])
    assert families(ax.figure, "猫")[0][:2] == ["sans-serif", "Some Font"]


def test_a_font_that_was_installed_after_matplotlib_listed_them_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_font(tmp_path / "new.ttf", "New Font", "猫狗")
    (tmp_path / "broken.ttf").write_bytes(b"not a font")
    found = [str(tmp_path / "broken.ttf"), str(path)]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: found)
    ax = plot_confusion_matrix(["猫", "狗"], ["猫", "猫"])
    assert families(ax.figure, "猫")[0] == ["sans-serif", "New Font"]


def test_the_shapes_of_characters_are_those_of_the_language(install: Install) -> None:
    for language in ("SC", "JP", "KR"):
        install(f"Noto Sans CJK {language}", "直ねこ고양")
    install("A Font of Another Style", "直ねこ고양")
    for text, language in (("直", "SC"), ("直ねこ", "JP"), ("고양", "KR")):
        ax = plot_confusion_matrix([text, "a"], [text, "a"])
        assert families(ax.figure, text)[0] == ["sans-serif", f"Noto Sans CJK {language}"]


def test_several_fonts_share_the_characters_that_no_single_one_has(install: Install) -> None:
    install("One", "猫a")
    install("Two", "ก狗")
    ax = plot_confusion_matrix(["猫ก", "a"], ["猫ก", "a"])
    assert sorted(families(ax.figure, "猫")[0]) == ["One", "Two", "sans-serif"]


def test_a_font_of_the_user_that_has_the_characters_stays(install: Install) -> None:
    install("Some Font", "猫狗")
    install("Own Font", "猫狗" + string.printable[:95])
    with matplotlib.rc_context({"font.sans-serif": ["Own Font", "DejaVu Sans"]}):
        ax = plot_confusion_matrix(["猫", "狗"], ["猫", "猫"])
        assert families(ax.figure, "猫")[0] == ["sans-serif"]
        ax.figure.clear()


def test_a_file_that_is_gone_is_passed_over(install: Install, tmp_path: Path) -> None:
    install("Gone", "猫狗")
    (tmp_path / "Gone.ttf").unlink()
    install("Some Font", "猫狗")
    ax = plot_confusion_matrix(["猫", "狗"], ["猫", "猫"])
    assert families(ax.figure, "猫")[0] == ["sans-serif", "Some Font"]


def test_chinese_class_names_of_a_confusion_matrix_do_not_overlap(install: Install) -> None:
    install("Some Font", "猫狗类")
    names = [f"猫狗类猫狗类{i}" for i in range(6)]
    ax = plot_confusion_matrix(np.arange(6), np.arange(6), class_names=names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax.figure.savefig(io.BytesIO())
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {45}


@pytest.mark.parametrize("module", [trainer.plots, search.plots], ids=["trainer", "search"])
def test_all_plots_pass_through(module: Any) -> None:
    plots = [name for name in module.__all__ if name.startswith("plot_")]
    assert plots
    assert [name for name in plots if not hasattr(getattr(module, name), "__wrapped__")] == []
