"""What is read of the source of the library's own classes."""

from __future__ import annotations

from trainer.callbacks import BUILT_IN
from trainer.cli import signatures


def test_the_summary_of_a_class_is_its_whole_first_sentence():
    for place in BUILT_IN.values():
        module, cls = place.split(":")
        text = signatures.summary_of(f"trainer.callbacks.{module}", cls)
        assert text and text.count("(") == text.count(")"), text
