"""What notebooks show of a Trainer, its History and its Diagnosis, and the SVG within."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from trainer import Classifier, History
from trainer.utils.drawings import as_text, picture

ODD = "<script>alert(1)</script>"


def history(name: str = "loss") -> History:
    found = History()
    for epoch in (1, 2, 3):
        found.append(epoch, {name: 1 / epoch}, learning_rate=0.1, seconds=1.0)
    return found


def svg_of(shown: str) -> ElementTree.Element:
    (svg,) = re.findall(r"<svg.*?</svg>", shown, re.S)
    return ElementTree.fromstring(svg)


def test_a_history_shows_its_curves_and_its_last_epoch():
    shown = history()._repr_html_()
    assert "Learning curves of 3 epochs." in shown and "loss 0.3333" in shown
    assert svg_of(shown).attrib["aria-hidden"] == "true"
    assert "0 epochs" in History()._repr_html_()


def test_names_that_are_markup_are_text():
    shown = history(ODD)._repr_html_()
    assert "<script" not in shown and "&lt;script&gt;" in shown
    texts = [element.text for element in svg_of(shown).iter() if element.text]
    assert any(ODD in text for text in texts)
    assert as_text(ODD) == "<pre>&lt;script&gt;alert(1)&lt;/script&gt;</pre>"


@pytest.mark.parametrize("text", ['id="x"', "url(#x)", "<!-- x", "x -->", "中文"])
def test_a_label_is_drawn_as_it_is(text):
    from trainer.utils.figures import new_figure

    def draw():
        ax = new_figure((3, 2)).add_subplot()
        ax.set_title(text)
        return ax

    svg = ElementTree.fromstring(picture("t", "says", draw).svg)
    assert text in [element.text for element in svg.iter()]


def test_two_pictures_share_no_identifier():
    shown = [history("loss")._repr_html_(), history("error")._repr_html_()]
    one, other = (set(re.findall(r'\bid="([^"]*)"', text)) for text in shown)
    assert one and not one & other


def test_a_trainer_shows_how_its_training_went_once_it_is_fitted():
    x = np.arange(16, dtype="float32").reshape(8, 2)
    trainer = Classifier(epochs=2, model="mlp", random_state=0, verbose=0)
    before = trainer._repr_mimebundle_()["text/html"]
    assert "Learning curves" not in before
    trainer.fit(x, np.arange(8) % 2)
    after = trainer._repr_mimebundle_()["text/html"]
    assert "Learning curves of 2 epochs." in after and "optimizer" in after
    diagnosis = trainer.diagnose()
    assert diagnosis._repr_html_() == as_text(str(diagnosis))
