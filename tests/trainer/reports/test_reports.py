"""The page about a run: what is on it, that it is safe, and that it warns of misleading data."""

from __future__ import annotations

import html.parser
import re

import numpy as np
import pandas as pd
import pytest

from trainer import Classifier, Regressor, datasets, reports
from trainer.reports import profile

ODD = "<script>alert(1)</script>"
QUOTED = "\"quoted\" & 'odd'"
CHINESE = "中文列"


class Page(html.parser.HTMLParser):
    """A page as a browser reads it.

    Attributes:
        tags: The elements with their attributes, in order.
        text: The text, without that of style elements.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def has(self, *words: str) -> bool:
        return all(word in self.text for word in words)


def check_safe(text: str) -> Page:
    """The page, which runs nothing, asks nobody, and names what it shows."""
    page = Page(text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "link", "img", "form", "base"}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name.endswith(("href", "src")):
                inside = value.startswith("data:image/png;base64,")  # which the policy allows
                assert inside or value.startswith("#"), (tag, name, value)
            if not name.startswith("xmlns"):
                assert "http:" not in (value or "") and "https:" not in (value or "")
    (policy,) = (
        attributes["content"]
        for tag, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert ("html", {"lang": "en"}) in page.tags
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)), "identifiers of different pictures differ"
    for _, attributes in page.tags:
        for name, value in attributes.items():
            if name.endswith("href") and value.startswith("#"):
                assert value[1:] in ids
    for found in re.findall(r"url\(#([^)]*)\)", text):
        assert found in ids
    svgs = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert svgs and all(each["aria-hidden"] == "true" for each in svgs)
    assert sum(tag == "figcaption" for tag, _ in page.tags) == len(svgs)
    assert len(text.encode()) < 3_000_000
    return page


@pytest.fixture(scope="module")
def table():
    """A table whose names and classes are markup, with a model of it."""
    draw = np.random.default_rng(0)
    n = 120
    frame = pd.DataFrame(
        {
            ODD: draw.normal(size=n),
            QUOTED: draw.choice(["a", "b", "<b>bold</b>"], n),
            CHINESE: draw.integers(0, 50, n),
        }
    )
    likely = frame[CHINESE] + 5 * frame[ODD] + draw.normal(size=n) * 8 > 25
    frame["y"] = np.where(likely, ODD, "良")
    data = datasets.load(frame, target="y")
    fields = {"epochs": 1, "model": "mlp", "random_state": 0, "verbose": 0}
    return Classifier(**fields).fit(*data.train, validation_data=data.valid), data


def test_names_and_classes_that_are_markup_show_as_text(table, tmp_path):
    trainer, data = table
    path = reports.write(
        trainer, data, tmp_path / "page.html", title=ODD, command="trainer fit <x>"
    )
    page = check_safe(path.read_text("utf-8"))
    assert page.has(ODD, QUOTED, CHINESE, "良", "<b>bold</b>", "trainer fit <x>")
    assert page.has("Learning curves", "Confusion matrix", "ROC", "Calibration", "accuracy")
    assert page.has(f"Dependence on {CHINESE}", "Which columns matter", "Worst mistakes")
    assert page.has("Model card", "Configuration", "Environment", "tensorflow", "random_state")


def test_a_page_is_the_same_each_time(table):
    trainer, data = table
    assert reports.page(trainer, data, title="t") == reports.page(trainer, data, title="t")


def test_a_regression_has_residuals_and_its_largest_errors():
    data = datasets.load("diabetes")
    trainer = Regressor(epochs=1, model="mlp", random_state=0, verbose=0).fit(*data.train)
    page = check_safe(reports.page(trainer, data, title="diabetes"))
    assert page.has("Residuals", "R squared", "predicted", "error", "Dependence on")
    assert page.has("loss, of the standardised target", "mae")


def test_columns_of_all_kinds_and_many_rows_make_a_small_page():
    draw = np.random.default_rng(0)
    n = 40_000
    frame = pd.DataFrame(
        {
            "nullable": pd.array(draw.integers(0, 9, n), dtype="Int64"),
            "category": pd.Categorical(draw.choice(["p", "q"], n)),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 99, n), "D"),
            "flag": draw.choice([True, False], n),
            "nothing": np.full(n, np.nan),
            7: draw.normal(size=n),
        }
    )
    frame["y"] = frame[7] + frame["flag"] + draw.normal(size=n)
    data = datasets.load(frame.rename(columns={7: "seven"}), target="y")
    trainer = Regressor(epochs=1, model="mlp", batch_size=4096, random_state=0, verbose=0)
    page = check_safe(reports.page(trainer.fit(*data.train), data, title="kinds"))
    assert page.has("seven", "nullable", "100.0%")


def test_images_are_shown_where_they_were_mistaken():
    data = datasets.load("digits")
    trainer = Classifier(epochs=1, model="mlp", random_state=0, verbose=0).fit(*data.train)
    text = reports.page(trainer, data, title="digits")
    mistakes = text[text.index("<h2>Worst mistakes") :]
    shown = mistakes.count("data:image/png;base64")
    places = len(re.findall(r'<g id="[^"]*axes_\d+"', mistakes))
    assert shown == 12 and places - shown < 6, "no row of the grid is empty"
    assert check_safe(text).has("Confusion matrix", "Worst mistakes", "probability")


@pytest.mark.parametrize("horizon", [1, 4])
def test_a_series_has_its_forecasts(horizon):
    steps = np.arange(200.0)
    series = pd.DataFrame({"<b>": np.sin(steps / 5), "time": pd.date_range("2024", periods=200)})
    data = datasets.windows(series, target="<b>", time="time", past=12, horizon=horizon)
    trainer = Regressor(epochs=1, random_state=0, verbose=0).fit(*data.train)
    page = check_safe(reports.page(trainer, data, title="series"))
    assert page.has("Forecast of the first window", "Forecast of the last window", "loss")


def test_texts_are_shown_where_they_were_mistaken():
    draw = np.random.default_rng(0)
    words = np.array(["good", "bad", "film", "<i>plot</i>", "ending"])
    x = np.array([" ".join(draw.choice(words, 6)) for _ in range(60)], dtype=object)
    parts = [slice(0, 36), slice(36, 48), slice(48, 60)]
    y = draw.integers(0, 2, 60)
    splits = [datasets.Split(x[part], y[part]) for part in parts]
    data = datasets.Dataset("texts", *splits, ["0", "1"], "classification", "Texts.", "a test")
    trainer = Classifier(epochs=1, random_state=0, verbose=0).fit(*data.train)
    page = check_safe(reports.page(trainer, data, title="texts"))
    assert page.has("<i>plot</i>", "Worst mistakes")


def test_no_dependence_is_drawn_on_texts_that_all_differ_and_that_on_dates_is_in_order():
    draw = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame({"day": [f"2024-01-{1 + i % 9:02d}" for i in draw.permutation(n)]})
    frame["said"] = [" ".join(draw.choice(["good", "bad", "film"], 12)) for _ in range(n)]
    frame["y"] = frame["said"].str.count("good") + draw.normal(size=n)
    data = datasets.load(frame, target="y")
    trainer = Regressor(epochs=1, random_state=0, verbose=0).fit(*data.train)
    text = reports.page(trainer, data, title="texts")
    assert "Dependence on said" not in text
    days = re.findall(r">(2024-01-0\d)</text>", text[text.index("Dependence on day") :])
    assert days == sorted(days) and len(days) == 9


def test_the_column_that_the_target_follows_from_matters_most(table):
    draw = np.random.default_rng(1)
    frame = pd.DataFrame({"noise": draw.normal(size=300), "cause": draw.normal(size=300)})
    frame["y"] = 3 * frame["cause"] + draw.normal(size=300) / 10
    data = datasets.load(frame, target="y")
    trainer = Regressor(epochs=5, model="mlp", random_state=0, verbose=0, learning_rate=0.01)
    trainer.fit(*data.train)
    from trainer.reports import examining

    (first, fall, _), (second, less, _) = examining.importance(
        trainer, data.test.x, np.asarray(data.test.y)
    )
    assert (first, second) == ("cause", "noise") and fall > 0.3 > abs(less)


def dataset(
    train: pd.DataFrame, test: pd.DataFrame, task: str, valid: pd.DataFrame | None = None
) -> datasets.Dataset:
    parts = (train, train.head(0) if valid is None else valid, test)
    splits = [datasets.Split(part.drop(columns="y"), part["y"]) for part in parts]
    return datasets.Dataset("made", *splits, None, task, "Made.", "a test")


def made(n: int, seed: int, **columns) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": draw.normal(size=n), "b": draw.choice(["u", "v"], n)})
    frame["y"] = frame["a"] + draw.normal(size=n)
    return frame.assign(**{name: make(frame) for name, make in columns.items()})


def test_a_rare_class_is_no_column_that_tells_the_target():
    parts = [made(3000, 0), made(100, 1)]
    train, test = (part.assign(y=part["y"] > 4.9, b=part["b"]) for part in parts)
    assert train["y"].mean() < 1 - profile.LEAK
    assert profile.warnings(dataset(train, test, "classification")) == []


def test_data_that_mislead_nobody_give_no_warning():
    assert profile.warnings(dataset(made(300, 0), made(100, 1), "regression")) == []


@pytest.mark.filterwarnings("error")
def test_a_target_that_never_varies_follows_from_no_column():
    train, test = (part.assign(y=5.5) for part in (made(300, 0), made(100, 1)))
    assert profile.warnings(dataset(train, test, "regression")) == []


def test_rows_in_two_splits_are_warned_of():
    train = made(300, 0)
    test = pd.concat([made(90, 1), train.head(10)])
    (said,) = profile.warnings(dataset(train, test, "regression"))
    assert said.startswith("10 test rows (10.0%) are in the training rows too")
    valid = pd.concat([made(45, 2), train.tail(5)])
    (said,) = profile.warnings(dataset(train, test.head(90), "regression", valid))
    assert said.startswith("5 validation rows (10.0%) are in the training rows too")


def test_texts_in_two_splits_are_warned_of():
    x = np.array([f"text {i}" for i in range(40)], dtype=object)
    y = np.arange(40) % 2
    parts = slice(0, 30), slice(30, 34), slice(28, 40)
    splits = [datasets.Split(x[part], y[part]) for part in parts]
    data = datasets.Dataset("texts", *splits, ["0", "1"], "classification", "Texts.", "a test")
    assert any(said.startswith("2 test rows (16.7%) are in the") for said in profile.warnings(data))


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_column_that_gives_the_target_away_is_warned_of(task):
    def leak(frame):
        return (
            np.exp(frame["y"]) if task == "regression" else frame["y"].map({True: "p", False: "q"})
        )

    parts = [made(300, 0), made(100, 1)]
    if task == "classification":
        parts = [part.assign(y=part["y"] > 0) for part in parts]
    train, test = (part.assign(leak=leak(part)) for part in parts)
    (said,) = profile.warnings(dataset(train, test, task))
    assert said.startswith("the column leak alone tells the target")


@pytest.mark.parametrize("column", ["a", "b"])
def test_a_column_that_drifts_is_warned_of(column):
    test = made(100, 1)
    test[column] = test[column] + 2 if column == "a" else "u"
    (said,) = profile.warnings(dataset(made(300, 0), test, "regression"))
    assert said.startswith(f"the column {column} differs between training and test rows")
