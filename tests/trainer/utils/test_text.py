"""Names and messages from outside reach terminals, files, spreadsheets and pictures as text."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path
from typing import Any

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from trainer import Classifier, datasets, plots
from trainer.callbacks.display import Bar, Lines
from trainer.history import History
from trainer.utils import figures
from trainer.utils.text import from_cell, from_csv, printable, to_cell, to_csv

NASTY = {
    "colour": "loss\x1b[31m",
    "title": "\x1b]0;pwned\x07",
    "c1": "\x9b2J",
    "forged line": "a\n2026-01-01  finished",
    "return": "a\rb",
    "turned": "a\u202eb",
    "separator": "a\u2028b",
    "half": "\udc9b",
    "markup": "[red]x[/red] [link=http://x]y[/link]",
    "emoji": "a :warning: b",
    "formula": "=cmd|' /C calc'!A0",
    "formula behind a tab": "\t=1+1",
    "escape": "\\x1b[31m",
}
COMMANDS = ("\x1b", "\x07", "\x9b", "\r", "\u202e", "\u2028")


def assert_harmless(text: str, lines: int | None = None) -> None:
    assert not [c for c in COMMANDS if c in text], repr(text)
    text.encode()  # no half of a surrogate pair
    if lines is not None:
        assert len(text.splitlines()) == lines, repr(text)


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_printable_text_holds_no_command_of_a_terminal(text: str) -> None:
    assert_harmless(printable(text), 1)
    assert_harmless(printable(text, lines=True))


@pytest.mark.parametrize("text", ["val_loss", "f1[0]", "größe", "损失", "👩‍🔬", "a b", ""])
def test_ordinary_text_is_printed_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(st.text())
def test_a_cell_gives_back_its_text(text: str) -> None:
    assert from_cell(to_cell(text)) == text
    assert printable(to_cell(text)) == to_cell(text)


STARTS = "=+-@＝＋－＠\t\r\n"


@pytest.mark.parametrize("start", [*STARTS, " =", "\u00a0-", "  @", "\t =", "'=", "''"])
def test_no_text_cell_begins_as_a_formula(start: str) -> None:
    cell = to_cell(f"{start}1+1")
    assert cell.startswith("'")
    assert from_cell(cell) == f"{start}1+1"


@pytest.mark.parametrize("number", [-0.5, -3, float("-inf"), np.float64(-1.5), 0, None])
def test_numbers_of_a_table_stay_numbers(number: Any) -> None:
    assert to_cell(number) is number
    shown = to_csv(["a"], [[number]]).splitlines()[1]
    assert "'" not in shown


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1, max_size=4))
def test_a_table_gives_back_its_texts(cells: list[list[str]]) -> None:
    columns, rows = from_csv(to_csv(cells[0], cells[1:]))
    assert [columns, *rows] == cells


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_a_history_survives_its_table(name: str, tmp_path: Path) -> None:
    history = History()
    history.append(1, {name: -0.1, "x": float("nan")}, learning_rate=None, seconds=0.3)
    history.append(3, {name: float("-inf")}, learning_rate=1e-3, seconds=1 / 3)
    history.to_csv(tmp_path / "history.csv")
    content = (tmp_path / "history.csv").read_bytes().decode()
    assert_harmless(content, 3)
    for cell in next(csv.reader(io.StringIO(content))):
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    frame = pd.read_csv(tmp_path / "history.csv")
    assert frame.iloc[:, 1].tolist() == [-0.1, float("-inf")]  # numbers are not escaped
    found = History.from_csv(tmp_path / "history.csv")
    assert found == history
    assert [list(r) for r in found.records] == [list(r) for r in history.records]


@pytest.mark.parametrize(
    "content",
    [b"", b"a,b\n1,2\n", b"epoch,learning_rate,seconds\n1,2\n", b'epoch,"loss\n', b"\xff\xfe"],
)
def test_a_table_of_something_else_is_no_history(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"history\.csv'.*is not a history written by to_csv"):
        History.from_csv(path)


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_names_of_metrics_are_shown_as_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Lines(2).epoch_ends(0, {name: 0.5}, 1.0)
    assert_harmless(capsys.readouterr().out, 1)
    written = io.StringIO()
    # no terminal: all control characters in it would be the name's
    bar = Bar(2, Console(file=written, force_terminal=False, width=200))
    bar.epoch_begins(0, 10)
    bar.epoch_ends(0, {name: 0.5}, 1.0)
    bar.close()
    assert_harmless(written.getvalue())
    assert f"{printable(name)} 0.5" in written.getvalue()
    history = History()
    history.append(1, {name: 0.5}, learning_rate=None, seconds=1)
    assert_harmless(repr(history), 1)


LABELS = [*NASTY.values(), "$\\frac$", "$5 and $6", "\\$x$", "$x^{$", "100%", "_under"]


@pytest.mark.parametrize("name", LABELS)
def test_names_are_drawn_as_text_and_no_formula(name: str) -> None:
    text = figures.as_label(name)
    figure = figures.new_figure((2, 2))
    drawn = figure.text(0, 0, text)
    assert drawn._preprocess_math(text) == (printable(name), False)
    plt.close(figure)


def test_pictures_of_nasty_names_can_be_drawn(tmp_path: Path) -> None:
    name = "$\\frac$"
    history = History()
    history.append(1, {name: 0.5, f"val_{name}": float("nan")}, learning_rate=None, seconds=1)
    labels = np.array([name, "$5 and $6"] * 3)
    for axes in (
        plots.plot_history(history),
        plots.plot_history({name: history, "\x1b[31m": history}),
        plots.plot_confusion_matrix(labels, labels[::-1]),
        plots.plot_images(np.zeros((2, 4, 4)), labels[:2], labels[:2], rows=1, columns=2),
    ):
        np.ravel(axes)[0].figure.savefig(tmp_path / "picture.png")


class Named(keras.metrics.MeanMetricWrapper):
    """A metric with the name of a stranger."""

    def __init__(self, name: str) -> None:
        super().__init__(lambda y, p: keras.ops.ones(keras.ops.shape(y)[0]), name="own")
        self.name = name


def test_no_name_in_a_training_reaches_terminal_or_files_as_a_command(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    metric = "\x1b]0;pwned\x07\n=1+1"
    classes = np.array(["a\x1b[31m", "=b\x9b2J"] * 8)
    table = pd.DataFrame({"c\x1b]0;x\x07": np.arange(16.0), "d\n\r": ["x\x9b", "y"] * 8})

    class Text(Classifier):
        def configure_metrics(self) -> Any:
            return [Named(metric)]

        def build_model(self, spec: Any) -> keras.Model:
            layer = keras.layers.Dense(spec.n_outputs, "softmax")
            return keras.Sequential([keras.Input(spec.input_shape), layer])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = Text(
            epochs=2, run_dir=tmp_path / "run", verbose=2, random_state=0, callbacks=["statistics"]
        ).fit(table, classes)
        text = trainer.summary()
        assert_harmless(text)
        assert_harmless(str(trainer.diagnose()))
        assert_harmless(repr(trainer.history_), 1)
    for warned in caught:
        assert_harmless(str(warned.message))
    printed = capfd.readouterr()
    assert_harmless(printed.out)
    assert metric in trainer.history_
    files = [p for p in (tmp_path / "run").rglob("*") if p.suffix in (".csv", ".log", ".json")]
    assert {"history.csv", "statistics.csv", "run.log", "config.json"} <= {p.name for p in files}
    for path in files:
        assert_harmless(path.read_bytes().decode())
    assert len((tmp_path / "run" / "run.log").read_text().splitlines()) == 4
    read = History.from_csv(tmp_path / "run" / "history.csv")
    assert read.metrics == trainer.history_.metrics
    for wrong in (table.drop(columns=["d\n\r"]), table.rename(columns={"d\n\r": "\x1b[2Jother"})):
        with pytest.raises(ValueError) as refused:
            trainer.predict(wrong)
        assert_harmless(str(refused.value))
    with pytest.raises(ValueError) as refused:
        trainer.evaluate(table, np.array(["a\x1b[31m", "new\x1b[2J"] * 8))
    assert_harmless(str(refused.value))


def test_names_in_errors_of_data_files_are_text(tmp_path: Path) -> None:
    pd.DataFrame({"a\x1b]0;x\x07": [1.0], "b": [2.0]}).to_csv(tmp_path / "t.csv", index=False)
    np.savez(tmp_path / "t.npz", **{"a\x1b[2J": np.ones(3), "b": np.ones(3)})
    for path, target in (("t.csv", None), ("t.csv", "c"), ("t.npz", None), ("t.npz", "c")):
        with pytest.raises(ValueError) as refused:
            datasets.load(str(tmp_path / path), target=target)
        assert_harmless(str(refused.value))
