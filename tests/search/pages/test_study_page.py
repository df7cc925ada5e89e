"""The page of a study as text: its size, its policy, and that what is on it can be used."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from search import FunctionSearch, pages
from trainer import Choice, Float, Int

TRIALS, EPOCHS = 1_000, 100
NAMES = [f"parameter_{i}" for i in range(60)]


def loss(**params: float) -> dict[str, float]:
    return {"loss": params[NAMES[0]]}


def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: int) -> pages.Content:
    """What a search of few trials shows, with a thousand in their place and their curves."""
    found: list[pages.Content] = []
    space = {name: Float(1e-6, 1.0, log=True) for name in NAMES[:parameters]}
    fields: dict[str, Any] = {
        "max_trials": 2,
        "tuner": "random",
        "executor": "serial",
        "seed": 0,
        "verbose": 0,
    }
    search = FunctionSearch(loss, space, objective="loss", direction="min", **fields)
    search.fit()
    with monkeypatch.context() as patch:
        patch.setattr(pages, "write", lambda content, path: found.append(content))
        search.report(tmp_path / "page.html")
    draw = np.random.default_rng(0)
    trials = pd.concat([found[0].trials.iloc[:1]] * TRIALS, ignore_index=True)
    trials["trial"] = range(TRIALS)
    for name in space:
        trials[name] = 10 ** draw.uniform(-6, 0, TRIALS)
    trials["score"] = draw.random(TRIALS)
    epochs = pd.DataFrame(
        {
            "trial": np.repeat(range(TRIALS), EPOCHS),
            "fold": 0,
            "execution": 0,
            "epoch": np.tile(range(1, EPOCHS + 1), TRIALS),
            "loss": draw.random(TRIALS * EPOCHS),
        }
    )
    return dataclasses.replace(found[0], trials=trials, epochs=epochs)


@pytest.mark.parametrize("parameters", [8, len(NAMES)])
def test_a_thousand_trials_make_a_page_of_less_than_3_mb(
    parameters: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    html = pages.page(content(tmp_path, monkeypatch, parameters))
    assert len(html.encode()) < 3_000_000
    rows = re.findall(r'<tr data-t="\d+">', html)
    assert len(rows) == len(set(rows)) == TRIALS
    assert html.count('<path class="t') == TRIALS
    assert "The 150 shown are the best and a sample of 1,000." in html
    left_out = re.search(r"The table lacks (\d+) of the parameters", html)
    assert (left_out is None) == (parameters == 8)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a study some of whose trials failed for two reasons."""

    def function(x: float, width: int, kind: str) -> float:
        if width == 2:
            raise MemoryError("no memory for it")
        if width == 3:
            raise ValueError(f"no {kind} of this width")
        return x

    path = tmp_path_factory.mktemp("page") / "study.html"
    space = {"x": Float(0, 1), "width": Int(2, 6), "kind": Choice("plain", 'it\'s "odd"')}
    search = FunctionSearch(
        function,
        space,
        direction="min",
        tuner="random",
        max_trials=40,
        executor="serial",
        seed=0,
        verbose=0,
    )
    with pytest.warns(UserWarning, match="trials failed"):
        search.fit()
    return search.report(path).read_text("utf-8")


def test_the_policy_allows_the_script_of_the_page_and_nothing_else(page: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"] == f"'sha256-{digest}'"
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)


def test_failures_are_grouped_by_their_reason(page: str) -> None:
    (table,) = re.findall(r'<h2 id="failures">.*?</table>', page, re.S)
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)[1:]
    counts = [int(re.findall(r"<td[^>]*>(\d+)</td>", row)[0]) for row in rows]
    assert counts == sorted(counts, reverse=True)
    assert sum("no memory for it" in row for row in rows) == 1
    failed = len(re.findall(r"<td>failed</td>", page))
    assert sum(counts) == failed > 2


def test_the_best_configuration_is_python_and_yaml_that_can_be_read(page: str) -> None:
    blocks = re.findall(r'configuration in (?:Python|YAML)">(.*?)</pre>', page, re.S)
    unescape = {"&#34;": '"', "&#39;": "'", "&gt;": ">", "&lt;": "<", "&amp;": "&"}
    for escape, letter in unescape.items():
        blocks = [block.replace(escape, letter) for block in blocks]
    python, text = blocks
    compile(python, "page", "exec")
    assert {"x", "width", "kind"} <= set(yaml.safe_load(text))
