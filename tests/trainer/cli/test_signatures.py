"""Arguments of commands: their types in words, and fields read from source and from classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentError, ArgumentParser

from trainer import Classifier
from trainer.callbacks import BUILT_IN
from trainer.cli import signatures
from trainer.cli.signatures import REQUIRED, Argument


@pytest.mark.parametrize(
    ("kind", "choices", "said"),
    [
        (int, None, "a whole number"),
        (float | None, None, "a number or null"),
        (int | float | str, None, "a whole number or a number or text"),
        (bool, None, "true or false"),
        (str, ("a", "b"), "one of a, b"),
    ],
)
def test_a_type_is_told_in_words(kind: Any, choices: Any, said: str) -> None:
    assert Argument("x", kind, "", choices=choices).shown == said


def test_fields_from_source_are_those_of_the_class_without_importing_it() -> None:
    places = ("trainer.base", "Trainer"), ("trainer.estimators", "Classifier")
    found = {a.name: a for a in signatures.of_source(*places)}
    of_class = {a.name: a for a in signatures.of_class(Classifier)}
    assert set(found) == set(of_class)
    assert {name: a.default for name, a in found.items()} == {
        name: a.default for name, a in of_class.items()
    }
    assert all(a.help for a in found.values()), "each field is told in the docstring"


@dataclasses.dataclass
class Net:
    """A net.

    Attributes:
        depth: How deep,
            in layers: at least 1.
        file: Where it is.
        sizes: Of each layer.

    More about it.
    """

    depth: int | None = None
    file: Path = Path("a")
    sizes: list[int] = dataclasses.field(default_factory=lambda: [3, 2])
    width: int = dataclasses.field(default=1)


def test_the_fields_of_a_class_have_defaults_and_help_and_a_type_that_can_be_parsed() -> None:
    depth, file, sizes, width = signatures.of_class(Net)
    assert depth == Argument("depth", int | None, "How deep, in layers: at least 1.", None)
    assert (file.kind, file.help) == (str, "Where it is.")
    assert (sizes.kind, sizes.default) == (Any, [3, 2])
    assert width.help == ""


def test_a_docstring_without_sections_describes_nothing() -> None:
    assert signatures.described("Only a sentence: no more.") == {}
    assert signatures.described("A.\n\nArgs:\n    a: One.\n\nReturns:\n    b: Two.") == {
        "a": "One."
    }


def test_a_summary_is_the_first_sentence_of_the_class() -> None:
    said = signatures.summary_of("trainer.callbacks.throughput", "Throughput")
    assert said and "\n" not in said and not said.endswith(".")


def test_an_argument_is_added_as_what_it_is() -> None:
    parser = ArgumentParser(exit_on_error=False)
    for each in (
        Argument("FILES", str, "many", many=True),
        Argument("mode", str, "50%", "fast", choices=("fast", "slow")),
        Argument("loud", bool, "a switch", False, flag=True),
        Argument("n", int, "needed", REQUIRED),
        Argument("shape", Any, "a tuple", (1, 2)),
    ):
        each.add_to(parser)
    found = parser.parse_args(["a", "b", "--n", "3", "--loud"])
    assert (found.FILES, found.mode, found.loud, found.n) == (["a", "b"], "fast", True, 3)
    assert found.shape == [1, 2]
    for wrong in (["--n", "x"], ["--n", "1", "--mode", "other"], ["a"]):
        with pytest.raises(ArgumentError):
            parser.parse_args(wrong)


def test_arguments_and_lists_of_them_become_one_list() -> None:
    a, b, c = (Argument(name, int, "") for name in "abc")
    assert signatures.words(a, [b, c], []) == [a, b, c]


def test_the_summary_of_a_class_is_its_whole_first_sentence():
    for place in BUILT_IN.values():
        module, cls = place.split(":")
        text = signatures.summary_of(f"trainer.callbacks.{module}", cls)
        assert text and text.count("(") == text.count(")"), text
