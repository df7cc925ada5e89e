"""Pages of runs and of a study in a real browser: seen, clicked, printed, and without faults.

The pictures of the pages stay in pytest's temporary folder, or in the one that PAGE_PICTURES names.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import Browser, program

from search import FunctionSearch
from trainer import Choice, Classifier, Float, Int, Regressor, datasets, reports

pytestmark = pytest.mark.slow  # what all tests use is made by the first that runs
AXE = Path(__file__).parents[1] / "browser" / "node_modules" / "axe-core" / "axe.min.js"
ODD = "<script>alert(1)</script>"
QUOTED = "\"quoted\" & 'odd'"
CHINESE = "中文列"
KINDS = ("classes", "numbers", "texts", "images", "study")
TRIALS = 200

needs_chromium = pytest.mark.skipif(
    program() is None, reason="no Chromium; install Debian's package chromium"
)
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="no axe-core; run npm ci in tests/browser")


def _function(x: float, width: int, 学习率: float, kind: str) -> dict[str, float]:
    if width == 7:
        raise ValueError(f"no such width in {ODD}")
    return {"loss": (x - 1) ** 2 + 学习率 + (kind == ODD), "size": width * 10.0}


def _study(folder: Path) -> None:
    space = {
        "x": Float(-2, 2),
        "width": Int(2, 8),
        "学习率": Float(1e-4, 1e-1, log=True),
        "kind": Choice("plain", ODD, QUOTED),
    }
    search = FunctionSearch(
        _function,
        space,
        objective=["loss", ("size", "min")],
        direction="min",
        tuner="random",
        max_trials=TRIALS,
        executor="serial",
        seed=0,
        verbose=0,
    )
    with pytest.warns(UserWarning, match="trials failed"):
        search.fit()
    search.report(folder / "study.html", title=ODD)


def _runs(folder: Path) -> None:
    draw = np.random.default_rng(0)
    few = {"epochs": 2, "random_state": 0, "verbose": 0}
    n = 120
    frame = pd.DataFrame(
        {
            ODD: draw.normal(size=n),
            QUOTED: draw.choice(["a", "b", "<b>bold</b>"], n),
            CHINESE: draw.integers(0, 50, n),
        }
    )
    likely = frame[CHINESE] + 5 * frame[ODD] + draw.normal(size=n) * 8 > 25
    classes = datasets.load(frame.assign(y=np.where(likely, ODD, "良")), target="y")
    numbers = datasets.load("diabetes")
    words = np.array(["good", "bad", "fine", "poor", ODD, CHINESE])
    told = [" ".join(draw.choice(words, 8)) for _ in range(n)]
    texts = datasets.load(
        pd.DataFrame({"text": told, "y": [CHINESE if "good" in t else "no" for t in told]}),
        target="y",
    )
    images = datasets.load("digits")
    for kind, trainer, data in (
        ("classes", Classifier(model="mlp", **few), classes),
        ("numbers", Regressor(model="mlp", **few), numbers),
        ("texts", Classifier(**few), texts),
        ("images", Classifier(model="mlp", **few), images),
    ):
        trainer.fit(*data.train, validation_data=data.valid)
        reports.write(trainer, data, folder / f"{kind}.html", title=ODD, command="trainer fit <x>")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    _runs(folder)
    _study(folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    made = Browser()
    made.ask("Network.enable")
    yield made
    made.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("PAGE_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _show(browser: Browser, page: Path, *, width: int = 1200, dark: bool = False) -> None:
    scheme = "dark" if dark else "light"
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.ask("Emulation.setEmulatedMedia", media="screen", features=media)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.ask("Emulation.setDeviceMetricsOverride", **size)
    browser.errors.clear()
    browser.requests.clear()
    browser.open(page)
    browser.wait(lambda: browser.run("document.readyState === 'complete'"), page.name)


def _whole(browser: Browser, path: Path) -> None:
    found = browser.ask("Page.captureScreenshot", captureBeyondViewport=True)
    path.write_bytes(base64.b64decode(found["data"]))
    assert path.stat().st_size > 10_000


@needs_chromium
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_shows_everything_in_light_and_dark_on_a_phone_and_on_paper(
    kind: str, pages: Path, browser: Browser, pictures: Path
) -> None:
    """It takes over 20 s for the first kind: four models are trained for the pages."""
    page = pages / f"{kind}.html"
    backgrounds = set()
    for dark in (False, True):
        for width in (1200, 390):
            _show(browser, page, width=width, dark=dark)
            assert browser.errors == []
            assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
            assert ODD in browser.run("document.querySelector('h1').textContent")
            wide = browser.run("document.documentElement.scrollWidth")
            assert wide <= width, f"{wide} pixels on a screen of {width}: it moves sideways"
            _whole(browser, pictures / f"{kind}-{'dark' if dark else 'light'}-{width}.png")
        backgrounds.add(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2
    printed = base64.b64decode(browser.ask("Page.printToPDF")["data"])
    (pictures / f"{kind}.pdf").write_bytes(printed)
    assert printed.startswith(b"%PDF")
    assert page.stat().st_size < 3_000_000


@needs_chromium
def test_red_titles_can_be_read_in_the_dark(pages: Path, browser: Browser) -> None:
    """axe-core does not look into pictures."""
    colours = "[...new Set([...document.querySelectorAll('figure svg text')]"
    colours += (
        ".filter(t => t.textContent.startsWith('true: ')).map(t => getComputedStyle(t).fill))]"
    )
    for dark, wanted in ((False, "rgb(192, 0, 0)"), (True, "rgb(255, 154, 146)")):
        _show(browser, pages / "images.html", dark=dark)
        assert browser.run(colours) == [wanted]


@needs_chromium
def test_odd_names_show_as_text(pages: Path, browser: Browser) -> None:
    for kind, names in (
        ("classes", (ODD, QUOTED, CHINESE, "良", "<b>bold</b>")),
        ("texts", (ODD, CHINESE)),
        ("study", (ODD, QUOTED, "学习率", f"no such width in {ODD}", "Pareto front")),
    ):
        _show(browser, pages / f"{kind}.html")
        text = browser.run("document.body.textContent")
        assert [name for name in names if name not in text] == []


@needs_chromium
@needs_axe
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_no_serious_fault(kind: str, pages: Path, browser: Browser) -> None:
    for dark in (False, True):
        _show(browser, pages / f"{kind}.html", dark=dark)
        browser.ask("Runtime.evaluate", expression=AXE.read_text("utf-8"))
        answer = browser.ask(
            "Runtime.evaluate",
            expression="axe.run().then(r => JSON.stringify(r.violations))",
            awaitPromise=True,
            returnByValue=True,
        )
        faults = json.loads(answer["result"]["value"])
        serious = [
            (fault["id"], [node["html"][:120] for node in fault["nodes"][:3]])
            for fault in faults
            if fault["impact"] in ("serious", "critical")
        ]
        assert serious == []


@needs_chromium
def test_a_click_on_a_heading_sorts_and_a_filter_leaves_rows_out(
    pages: Path, browser: Browser
) -> None:
    _show(browser, pages / "study.html")
    heads = browser.run("[...document.querySelectorAll('#trials-table th')].map(h => h.innerText)")
    place = next(i for i, name in enumerate(heads) if name.split()[0] == "x")
    for order in ("ascending", "descending"):
        _click(browser, f"document.querySelectorAll('#trials-table th button')[{place}]")
        values = _column(browser, place)
        assert len(values) == TRIALS
        assert values == sorted(values, reverse=order == "descending")
    box = f"document.querySelectorAll('#trials-table thead tr:nth-child(2) td')[{place}].firstChild"
    _click(browser, box)
    browser.ask("Input.insertText", text="0.5..1")
    shown = _column(browser, place)
    assert 0 < len(shown) < TRIALS
    assert all(0.5 <= value <= 1 for value in shown)
    assert f"{len(shown)} of {TRIALS}" in browser.run("document.querySelector('#shown').innerText")
    lines = browser.run("document.querySelectorAll('#parallel .t:not(.off)').length")
    assert lines == len(shown)
    _click(browser, "document.querySelector('#reset')")
    assert len(_column(browser, place)) == TRIALS


@needs_chromium
def test_dragging_along_an_axis_keeps_the_trials_that_pass_there(
    pages: Path, browser: Browser
) -> None:
    _show(browser, pages / "study.html")
    hit = "document.querySelectorAll('#parallel .hit')[0]"
    x, top, height = _box(browser, hit)
    _drag(browser, (x, top + height * 0.3), (x, top + height * 0.5))
    kept = browser.run("document.querySelectorAll('#parallel .t:not(.off)').length")
    rows = browser.run(
        "[...document.querySelectorAll('#trials-table tbody tr')].filter(r => !r.hidden).length"
    )
    assert 0 < kept == rows < TRIALS
    _drag(browser, (x, top + height * 0.8), (x, top + height * 0.8))  # a click takes it back
    assert browser.run("document.querySelectorAll('#parallel .t.off').length") == 0


@needs_chromium
def test_without_a_script_the_page_of_a_study_shows_the_same(pages: Path, browser: Browser) -> None:
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        _show(browser, pages / "study.html")
        rows = browser.run("document.querySelectorAll('#trials-table tbody tr').length")
        buttons = browser.run("document.querySelectorAll('#trials-table button').length")
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert (rows, buttons) == (TRIALS, 0)


def _column(browser: Browser, place: int) -> list[float]:
    cells: list[str] = browser.run(
        "[...document.querySelectorAll('#trials-table tbody tr')].filter(r => !r.hidden)"
        f".map(r => r.cells[{place}].dataset.v ?? r.cells[{place}].innerText)"
    )
    return [float(cell) for cell in cells]


def _box(browser: Browser, element: str) -> tuple[float, float, float]:
    """Scroll an element into view; return the x of its middle, its top and its height."""
    browser.run(f"{element}.scrollIntoView({{block: 'center', inline: 'center'}})")
    box: Any = browser.run(
        f"(({{x, y, width, height}}) => [x + width / 2, y, height])"
        f"({element}.getBoundingClientRect())"
    )
    return box[0], box[1], box[2]


def _click(browser: Browser, element: str) -> None:
    x, top, height = _box(browser, element)
    browser.click(x, top + height / 2)


def _drag(browser: Browser, start: tuple[float, float], end: tuple[float, float]) -> None:
    held = {"button": "left", "clickCount": 1}
    ask = "Input.dispatchMouseEvent"
    browser.move(*start)
    browser.ask(ask, type="mousePressed", x=start[0], y=start[1], **held)
    browser.ask(ask, type="mouseMoved", x=end[0], y=end[1], button="left", buttons=1)
    browser.ask(ask, type="mouseReleased", x=end[0], y=end[1], **held)
