"""What a command of the command line is.

Responsible for its name, help and parser. Other packages add commands with entry points in the
group `trainer.commands`, each of which names a Command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cli.signatures import REQUIRED, Argument

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

GROUP = "trainer.commands"


class WrongCall(ValueError):
    """The call of a command is wrong; the message says what to write instead."""


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        name: What follows `trainer`.
        summary: What it does, in one line.
        example: A whole call, which the tests run.
        run: Called with the parsed arguments by name; returns the exit code, or None for 0.
        arguments: Returns the arguments. It is called with the words of the call, because the
            fields of a class depend on which class is named there.
        config: Whether it takes `--config FILE` and `--print_config`.
        program: Whether a file that it runs follows its options: the words after it are the
            file's, and are given to `run` as "words".
        description: More about it, for its help.
    """

    name: str
    summary: str
    example: str
    run: Callable[[dict[str, Any]], int | None]
    arguments: Callable[[Sequence[str]], Sequence[Argument]]
    config: bool = False
    program: bool = False
    description: str = ""

    def parted(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the words of a call that are the command's own, and those of its program.

        Args:
            words: After the command's name.
        """
        if self.program:
            flags = {f"--{a.name}" for a in self.arguments(words) if a.flag or a.name.isupper()}
            flags |= {"-h", "--help", "--debug"}
            i = 0
            while i < len(words) and words[i].startswith("-"):
                alone = words[i] in flags or "=" in words[i]
                i += 1 if alone else 2
            return list(words[: i + 1]), list(words[i + 1 :])
        return list(words), []

    def parser(self, arguments: Sequence[Argument]) -> ArgumentParser:
        """Build the parser.

        Args:
            arguments: Those that `arguments` returned.
        """
        import jsonargparse
        from jsonargparse import ArgumentParser, DefaultHelpFormatter

        class Help(DefaultHelpFormatter):
            def _fill_text(self, text: str, width: int, indent: str) -> str:
                parts = text.split("\n\n")  # which argparse would make one paragraph of
                return "\n\n".join(super(Help, self)._fill_text(p, width, indent) for p in parts)

        text = "\n\n".join(filter(None, (f"{self.summary}.", self.description)))
        parser = ArgumentParser(
            prog=f"trainer {self.name}",
            usage=f"trainer {self.name} {self._usage(arguments)}",
            description=text,
            epilog=f"example: {self.example}",
            formatter_class=Help,
            exit_on_error=False,
            allow_abbrev=False,
            default_env=False,
        )
        if self.config:
            parser.add_argument(
                "--config",
                action=jsonargparse.ActionConfigFile,  # type: ignore[attr-defined]
                help="a YAML file with any of these options by name",
            )
        for argument in arguments:
            argument.add_to(parser)
        return parser

    def _usage(self, arguments: Sequence[Argument]) -> str:
        """Return the arguments that a call must have, in its order."""
        needed = [a.name for a in arguments if a.name.isupper()]
        needed += [
            f"--{a.name} {a.name.upper()}"
            for a in arguments
            if a.default is REQUIRED and not a.name.isupper()
        ]
        if self.program:
            return " ".join(["[options]", *needed, "[words of the program]"])
        return " ".join([*needed, "[options]"])


def file_to_write(out: str, *endings: str) -> Path:
    """Return the path of a file that a call asks for.

    Args:
        out: The value of `--out`.
        endings: Those that it may have, in small letters, such as ".csv".

    Raises:
        WrongCall: It has another ending, or its folder does not exist.
    """
    path = Path(out).expanduser()
    if path.suffix.lower() not in endings:
        *others, last = endings
        names = f"{', '.join(others)} or {last}" if others else last
        instead = path.with_suffix(endings[0]) if path.stem else Path(f"out{endings[0]}")
        raise WrongCall(f"--out {out}: must end in {names}; write --out {instead}")
    if not path.parent.is_dir():
        raise WrongCall(f"--out {out}: there is no folder {str(path.parent)!r}; make it first")
    return path


def joined(text: str) -> str:
    """Return text as one line."""
    return " ".join(text.split())
