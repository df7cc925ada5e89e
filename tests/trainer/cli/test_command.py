"""What a command is: its words and those of its program, its parser and its help."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.cli.command import Command, joined
from trainer.cli.signatures import Argument


def command(*arguments: Argument, **more: Any) -> Command:
    return Command(
        name="bake",
        summary="Bake a cake",
        example="trainer bake CAKE --heat 50",
        run=lambda given: None,
        arguments=lambda words: list(arguments),
        **more,
    )


CAKE = Argument("CAKE", str, "what to bake")
HEAT = Argument("heat", int, "how hot, in % of 300 degrees")
QUICK = Argument("quick", bool, "do not wait", False, flag=True)


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (["bake.py", "--heat", "3"], 1),
        (["--heat", "3", "bake.py", "--heat", "4"], 3),
        (["--heat=3", "--quick", "bake.py", "-x"], 3),
        (["--debug", "bake.py", "--debug"], 2),
        (["--heat", "3"], 2),
        ([], 0),
    ],
)
def test_the_words_after_a_program_are_the_programs_own(words: list[str], own: int) -> None:
    assert command(CAKE, HEAT, QUICK, program=True).parted(words) == (words[:own], words[own:])
    assert command(CAKE, HEAT, QUICK).parted(words) == (words, [])


def test_the_usage_has_what_a_call_needs_and_the_help_keeps_its_paragraphs() -> None:
    made = command(CAKE, HEAT, QUICK, description="First, 100% good.\n\nSecond.")
    text = made.parser([CAKE, HEAT, QUICK]).format_help()
    assert "usage: trainer bake CAKE --heat HEAT [options]" in text
    assert "Bake a cake.\n\nFirst, 100% good.\n\nSecond." in text
    assert "how hot, in % of 300 degrees" in text
    assert "example: trainer bake CAKE --heat 50" in text
    assert "--config" not in text
    launched = command(CAKE, program=True).parser([CAKE]).format_help()
    assert "usage: trainer bake [options] CAKE [words of the program]" in launched


def test_options_are_read_from_a_file_where_a_command_takes_one(tmp_path: Any) -> None:
    (tmp_path / "bake.yaml").write_text("heat: 200\n")
    parser = command(HEAT, config=True).parser([HEAT])
    found = parser.parse_args(["--config", str(tmp_path / "bake.yaml")])
    assert found.heat == 200
    assert parser.parse_args([f"--config={tmp_path / 'bake.yaml'}", "--heat", "5"]).heat == 5


def test_text_becomes_one_line() -> None:
    assert joined(" a\n  b\t c ") == "a b c"
