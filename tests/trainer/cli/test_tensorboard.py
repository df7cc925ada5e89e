"""`trainer tensorboard` in a browser: a run that was killed and resumed, images, and a study."""

from __future__ import annotations

import csv
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import browser
import command_line
import numpy as np
import pytest
import warm
from PIL import Image

pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
pytestmark = pytest.mark.skipif(
    browser.program() is None, reason="there is no Chromium to open the page with"
)

EPOCHS, BATCHES = 6, 12  # of 36 training rows, 3 a batch
FIT = [
    *("fit", "--data", "house.csv", "--target", "price", "--random_state", "0", "--verbose", "0"),
    *("--model", "mlp", "--batch_size", "3", "--epochs", str(EPOCHS), "--save_steps", "1"),
    *("--callbacks", "[{name: tensorboard, every_n_batches: 1}]", "--run_dir", "runs/house"),
]
STUDY = """\
data: house.csv
target: price
space:
  learning_rate: {low: 0.001, high: 0.1, log: true}
  batch_size: [8, 16]
  model: [mlp, {name: mlp, hidden: [4]}]
fields: {epochs: 2, verbose: 0}
tuner: random
max_trials: 6
workers: 1
seed: 0
verbose: 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a run that was killed in an epoch and resumed, one on images, and a study."""
    path = tmp_path_factory.mktemp("house")
    command_line.houses(path / "house.csv", 60)
    (path / "study.yaml").write_text(STUDY)
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (path / "photos" / name).mkdir(parents=True)
        for i in range(8):
            pixels = draw.integers(0, 255, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(path / "photos" / name / f"{i}.png")
    kill_within_an_epoch(path)
    board = "[{name: tensorboard, image_freq: 1, histogram_freq: 1}]"
    photos = [
        *("fit", "--data", "photos", "--epochs", "1", "--verbose", "0", "--model", "mlp"),
        *("--callbacks", board, "--run_dir", "runs/pictures"),
    ]
    calls = [["resume", "runs/house"], photos, ["search", "--config", "study.yaml"]]
    for done in command_line.several(calls, path):
        assert done.returncode == 0, done.stderr
    log = (path / "runs" / "house" / "run.log").read_text()
    assert "resumes from epoch" in log and ", step " in log, "killed within an epoch"
    return path


def kill_within_an_epoch(path: Path) -> None:
    """Start the fit, and kill it by SIGKILL after five batches of the third epoch."""
    logged = "trainer.callbacks.tensorboard:TensorBoard.on_chunk_end"
    started = command_line.start_held(*FIT, cwd=path, at=logged, calls=2 * BATCHES + 5)
    os.kill(started.pid, signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def chromium() -> Iterator[browser.Browser]:
    found = browser.Browser()
    yield found
    found.close()


@pytest.fixture(scope="module")
def board(folder, chromium) -> Iterator[Callable[[str, str], browser.Browser]]:
    """`board(FOLDER, page)` opens a page of the TensorBoard that the command starts there."""
    started: dict[str, warm.Started] = {}

    def show(name: str, page: str) -> browser.Browser:
        if name not in started:
            started[name] = command_line.start("tensorboard", name, "--port", "0", cwd=folder)
        process = started[name]
        while "http://" not in process.error():
            assert process.poll() is None, process.error()
            time.sleep(0.05)
        address = next(w for w in process.error().split() if w.startswith("http://"))
        assert address.startswith("http://127.0.0.1:")
        chromium.open("about:blank")
        chromium.errors.clear()
        chromium.open(f"{address}#{page}")
        return chromium

    yield show
    for process in started.values():
        if process.poll() is None:
            assert command_line.ctrl_c(process) == 0, process.error()


# The points that each chart draws, as the corners of its lines.
LINES = """all('tf-scalar-card').map(card => [
  card.tag,
  all('path.line', card.shadowRoot).map(line => line.getAttribute('d') || '')
    .filter(d => d.includes('L'))  // the run of one epoch has a point alone
])"""
OUTLIERS = """(() => {
  const box = all('paper-checkbox').find(e => e.innerText.includes('Ignore outliers'))
    .getBoundingClientRect();
  return [box.x + 8, box.y + box.height / 2];
})()"""
PLACES = """all('tf-scalar-card vz-line-chart2, tf-scalar-card').map(card => {
  const box = card.getBoundingClientRect();
  return [card.tag, box.x, box.y, box.width, box.height];
})"""
TIP = """all('table tr').filter(row => row.getBoundingClientRect().height)
  .map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText))
  .filter(row => row.length > 5)"""


def corners(line: str) -> np.ndarray:
    """The corners of a line, as rows of x and y."""
    return np.array([part.split(",") for part in line[1:].split("L")], float)


def values_at(page: browser.Browser, tag: str) -> dict[str, dict[int, str]]:
    """The values by run and step that the chart shows in its tooltip, from left to right."""
    _, x, y, width, height = next(place for place in page.run(PLACES) if place[0] == tag)
    found: dict[str, dict[int, str]] = {}
    for i in range(60):
        page.move(x + width * i / 60, y + height / 2)
        for _, run, _, value, step, *_ in page.run(TIP):
            found.setdefault(run, {})[int(step)] = value
    return found


def test_the_page_shows_a_killed_and_resumed_run_as_one_line_without_a_jump(board, folder):
    page = board("runs", "scalars&tagFilter=_loss&_smoothingWeight=0")
    page.wait_for("epoch_loss", "batch_loss", "Toggle All Runs")
    x, y = page.run(OUTLIERS)
    page.click(x, y)  # which are cut off otherwise
    wanted = {"epoch_loss": EPOCHS, "batch_loss": EPOCHS * BATCHES}

    def whole():
        lines = {tag: [corners(line)[:, 0] for line in found] for tag, found in page.run(LINES)}
        counts = {tag: {len(x) for x in lines.get(tag, [])} for tag in wanted}
        assert all(max(counts[tag], default=0) <= wanted[tag] for tag in wanted), "none twice"
        return counts == {tag: {count} for tag, count in wanted.items()} and lines

    lines = page.wait(whole, "a line with a corner for each epoch, and one for each batch")
    for x in (x for tag in wanted for x in lines[tag]):
        np.testing.assert_allclose(np.diff(x), x[1] - x[0], rtol=1e-3, err_msg="a jump")
    with (folder / "runs" / "house" / "history.csv").open(encoding="utf-8") as file:
        history = list(csv.DictReader(file))
    shown = values_at(page, "epoch_loss")
    for run, name in (("train", "loss"), ("validation", "val_loss")):
        values = shown[f"house/tensorboard/{run}"]
        assert sorted(values) == list(range(EPOCHS))
        for epoch, row in enumerate(history):
            assert float(values[epoch]) == pytest.approx(float(row[name]), rel=1e-3)
    assert page.errors == []


def test_the_page_shows_histograms_and_pictures_of_predictions(board):
    page = board("runs", "images")
    page.wait_for("pictures/tensorboard/train", "tag: predictions")
    size = "all('img').map(image => [image.naturalWidth, image.naturalHeight]).filter(s => s[0])"
    ((width, height),) = page.wait(lambda: page.run(size), "the picture")
    assert width > 600 and height > 300
    page = board("runs", "histograms")
    page.wait_for("kernel/histogram")
    assert page.errors == []


def test_the_page_compares_the_trials_of_a_study(board, folder):
    from search import load_study

    study = load_study(folder / "studies" / "house")
    page = board("studies/house", "hparams")
    text = page.wait_for("TABLE VIEW", *(f"trial {i}" for i in range(6)))
    lines = text.split("\n")
    head = lines[lines.index("Trial ID") : lines.index("trial 0")]
    assert {*study.space.domains, "val_loss (lower is better)"} <= set(head)
    for trial in study.trials:
        row = lines[lines.index(f"trial {trial.id}") :][1:]
        row = row[: row.index(f"trial {trial.id + 1}")] if trial.id < 5 else row
        numbers = [trial.params["batch_size"], trial.params["learning_rate"], trial.score]
        shown = [float(cell) for cell in row if cell.replace(".", "").replace("e-", "").isdigit()]
        for number in numbers:
            assert any(cell == pytest.approx(number, rel=1e-3) for cell in shown), (number, row)
        assert ("mlp" in row) == (trial.params["model"] == "mlp")
    assert page.errors == []


def test_folders_and_ports_that_do_not_work_are_one_line(folder):
    (folder / "empty").mkdir()
    calls = [["tensorboard", name, "--port", "0"] for name in ("studies", "empty", "none")]
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        calls += [["tensorboard", "runs", "--port", port] for port in (taken, "65536")]
        several, empty, none, used, large = command_line.several(calls, folder)
    assert (used.returncode, len(used.stderr.splitlines())) == (1, 1)
    assert used.stderr.startswith(f"trainer: --port {taken}: cannot be listened on (Address alr")
    assert "--port 65536: must be from 0" in large.stderr
    said = "holds several studies, of which one is shown at a time; write trainer tensorboard"
    assert said in several.stderr and "studies/house" in several.stderr
    assert "holds no logs of TensorBoard" in empty.stderr
    assert "there is no such folder" in none.stderr
    assert {done.returncode for done in (several, empty, none, large)} == {2}
