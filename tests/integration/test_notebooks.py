"""A notebook that a real kernel has run shows what happened when it is opened again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from patience import WORK

nbformat = pytest.importorskip("nbformat", reason="nbformat (of nbclient) is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

pytestmark = pytest.mark.slow  # what all tests use is made by the first that runs
CELLS = {
    "fit": """
import numpy as np
from search import TunerSearch, load_study
from trainer import Choice, Classifier, Float, History
x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
y = np.where(x[:, 0] > 0, "<script>alert(1)</script>", "中文")
fields = {"model": "mlp", "batch_size": 8, "random_state": 0}
trainer = Classifier(epochs=12, **fields)
trainer.fit(x, y)
""",
    "history": "trainer.history_",
    "diagnosis": "trainer.diagnose()",
    "stopped": """
import keras
class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
Classifier(epochs=5, callbacks=[Stop()], **fields).fit(x, y)
""",
    "search": """
space = {"learning_rate": Float(0.001, 0.1, log=True), "epochs": Choice(1, 2)}
search = TunerSearch(
    Classifier(verbose=0, **fields), space, tuner="random", max_trials=3, workers=1, seed=0,
    directory="study",
)
search.fit(x, y)
""",
    "study": "load_study('study')",
    "quiet": "Classifier(epochs=1, verbose=0, **fields).fit(x, y).history_.metrics",
    "empty": "History()",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The outputs that a saved notebook has, by the cell."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = [nbformat.v4.new_code_cell(code.strip()) for code in CELLS.values()]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = nbclient.NotebookClient(
        notebook,
        timeout=WORK,
        kernel_name="python3",
        allow_errors=True,  # one of the cells is interrupted
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    nbformat.write(notebook, folder / "saved.ipynb")
    saved = nbformat.read(folder / "saved.ipynb", as_version=4)
    nbformat.validate(saved)
    return {name: cell.outputs for name, cell in zip(CELLS, saved.cells, strict=True)}


def shown(output: Any) -> str:
    """The HTML of an output, which may run nothing."""
    html: str = output.data["text/html"]
    assert "<script>alert" not in html
    return html


def test_a_fit_leaves_one_bar_in_its_last_state(outputs: dict[str, list[Any]]) -> None:
    bar, *streams, result = outputs["fit"]
    assert all(stream.output_type == "stream" for stream in streams)  # TensorFlow about a GPU
    html = shown(bar)
    assert '<progress value="1.0000" max="1"' in html and "ended after 12 of 12 epochs" in html
    assert "(2 earlier epochs are in history_)" in html
    assert re.findall(r"epoch (\d+)/12 ", html) == [str(i) for i in range(3, 13)]
    assert bar.data["text/plain"].endswith("ended after 12 of 12 epochs")
    assert "widget" not in "".join(bar.data)
    html = shown(result)
    assert "trained for 12 epochs" in html and "Learning curves of 12 epochs." in html
    assert "<svg" in html and "optimizer" in html


def test_a_history_and_a_diagnosis_show_themselves(outputs: dict[str, list[Any]]) -> None:
    (history,) = outputs["history"]
    assert "Learning curves of 12 epochs." in shown(history) and "<svg" in shown(history)
    (diagnosis,) = outputs["diagnosis"]
    assert shown(diagnosis).startswith("<pre>")
    (empty,) = outputs["empty"]
    assert "0 epochs" in shown(empty)


def test_a_fit_that_was_stopped_says_where(outputs: dict[str, list[Any]]) -> None:
    bar, error = outputs["stopped"]
    assert "ended after 1 of 5 epochs" in shown(bar) and 'value="0.2000"' in shown(bar)
    assert error.ename == "KeyboardInterrupt"


def test_a_search_and_its_study_show_their_trials(outputs: dict[str, list[Any]]) -> None:
    table, *others, result = outputs["search"]
    assert "3 of 3 ended" in shown(table) and '<progress value="1.0000"' in shown(table)
    assert not [each for each in others if each.output_type == "display_data"]
    (study,) = outputs["study"]
    for each in (result, study):
        html = shown(each)
        assert "Scores of 3 trials, and the best so far." in html and "<svg" in html
        assert "learning_rate" in html and "3 completed" in html


def test_what_is_to_be_quiet_shows_no_bar(outputs: dict[str, list[Any]]) -> None:
    (only,) = outputs["quiet"]
    assert only.output_type == "execute_result"
