"""The command line: `trainer fit --data house.csv --target price`, and the other commands.

Responsible for finding a command, parsing its arguments, and for what a user sees of an error: one
line on stderr and an exit code. Not for what the commands do (the other modules).

A command's parser is built only when the command is called, and the modules of the commands import
nothing large before they run: `trainer --help` and `trainer fit --help` load no TensorFlow, pandas
or scikit-learn. Neither this module nor `examining` imports even NumPy, so that `trainer doctor`
works where these are broken.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import os
import re
import select
import sys
import warnings
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, TextIO

from trainer.cli.command import GROUP, Command, WrongCall, joined
from trainer.cli.signatures import Argument
from trainer.utils.text import printable

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

# In the order of the help text: the module of each command, which has a Command of this name.
BUILT_IN = {
    "fit": "training",
    "resume": "training",
    "evaluate": "using",
    "predict": "using",
    "report": "using",
    "export": "using",
    "serve": "using",
    "launch": "launching",
    "runs": "looking",
    "compare": "looking",
    "tensorboard": "looking",
    "datasets": "knowing",
    "callbacks": "knowing",
    "doctor": "examining",
    "completion": "knowing",
}
_ABOUT = """\
usage: trainer COMMAND [options]

Train Keras models on your own files, and use the trained models.

commands:
{commands}

trainer COMMAND --help has the options of a command, and an example.
With --debug, an error shows its traceback.

exit codes: 0 done; 1 it failed, or doctor found something broken; 2 the call is wrong: a flag, a
value or a file; 130 interrupted by Ctrl-C."""
_GIVEN = re.compile(r'Parser key "(?P<key>[^"]+)":(?P<why>.*)', re.S)
_VALUE = re.compile(r"(?:Given|Got) value: (.*?)(?= Given value|\n|$)", re.S)
# Mistakes in the call, such as a value that a field refuses, or a file that is not there.
_MISTAKES = (
    *(ValueError, TypeError, ImportError, FileNotFoundError, NotADirectoryError),
    *(IsADirectoryError, PermissionError, FileExistsError),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments after the program's name. None: those of this process.

    Returns:
        The exit code: 0 done, 1 it failed, 2 the call is wrong, 130 interrupted.
    """
    if argv is None:  # this process is ours alone
        # To look for garbage while TensorFlow is imported takes a tenth of a short fit's time.
        gc.set_threshold(50_000, 20)
    arguments = list(sys.argv[1:] if argv is None else argv)
    # what follows the file that a command runs is for that file
    own = arguments
    if arguments and arguments[0] in BUILT_IN:
        own = [arguments[0], *find(arguments[0]).parted(arguments[1:])[0]]
    debug = "--debug" in own
    arguments = [a for a in own if a != "--debug"] + arguments[len(own) :]
    warnings.showwarning = _one_line_warning
    flags: dict[str, str] = {}
    try:
        return _called(arguments, flags)
    except KeyboardInterrupt as error:
        if debug:
            raise
        return _said(str(error) or "interrupted", INTERRUPTED)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_has_left():
            # as in `trainer runs | head -1`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        if debug:
            raise
        text, code = _told(error)
        return _said(_with_flags(text, flags), code)


def _called(arguments: list[str], flags: dict[str, str]) -> int:
    """Run the command, and add to `flags` its options, by the name that an error has for each."""
    if not arguments:
        print(about(), file=sys.stderr)
        return WRONG
    name, *rest = arguments
    if name in ("-h", "--help"):
        print(about())
        return DONE
    if name == "--version":
        from trainer import __version__

        print(__version__)
        return DONE
    known = names()
    if name not in known:
        hint = _hint(name, known)
        raise WrongCall(f"{name!r}: there is no such command; {hint} trainer --help lists them")
    command = find(name)
    rest, words = command.parted(rest)
    accepted = command.arguments(rest)
    parser = command.parser(accepted)
    if {"-h", "--help"}.intersection(rest):
        parser.print_help()
        return DONE
    if command.config:
        _check_once(rest)
    given = _parsed(name, parser, accepted, rest)
    if command.program:
        given["words"] = words
    flags |= {a.name.replace("-", "_"): f"--{a.name}" for a in accepted if not a.name.isupper()}
    return command.run(given) or DONE


def _parsed(
    name: str, parser: ArgumentParser, accepted: Sequence[Argument], arguments: list[str]
) -> dict[str, Any]:
    from jsonargparse import ArgumentError

    try:
        return dict(parser.parse_args(arguments).as_dict())
    except ArgumentError as error:
        raise WrongCall(_in_words(str(error), name, accepted, arguments)) from error


def _check_once(arguments: Sequence[str]) -> None:
    """Refuse a file of `--config` that has a key twice, of which YAML would take the last."""
    import yaml

    for word, after in itertools.pairwise([*arguments, ""]):
        flag, equals, value = word.partition("=")
        path = value if equals else after
        if flag != "--config" or not os.path.isfile(path):
            continue
        try:
            with open(path, encoding="utf-8") as file:
                found = yaml.compose(file, yaml.SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError):
            continue  # which the parser says
        twice = _twice(found)
        if twice is not None:
            raise WrongCall(
                f"--config {path}: {twice.value}: is there twice, again in line "
                f"{twice.start_mark.line + 1}; leave one of them out"
            )


def _twice(node: Any) -> Any:
    """Return the first key of a YAML document that its mapping has already, or None."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return next(filter(None, map(_twice, node.value)), None)
    if not isinstance(node, yaml.MappingNode):
        return None
    seen = set()
    for key, value in node.value:
        if key.value in seen and isinstance(key, yaml.ScalarNode):
            return key
        seen.add(str(key.value))
        inner = _twice(value)
        if inner is not None:
            return inner
    return None


def _in_words(
    message: str, command: str, accepted: Sequence[Argument], arguments: Sequence[str]
) -> str:
    """Return jsonargparse's message as one line that says what to write instead."""
    see = f"trainer {command} --help has the options"
    kinds = {a.name: a.shown for a in accepted}
    found = _GIVEN.search(message)
    path = next((a for b, a in itertools.pairwise(arguments) if b == "--config"), "")
    flags = [f"--{name}" for name in kinds if not name.isupper()]
    if message.startswith("Problems parsing config"):
        return f"--config {path}: is not YAML ({joined(message)}); write lines such as epochs: 3"
    if message.startswith("Unexpected config:"):
        return f"--config {path}: has no options; write lines such as epochs: 3"
    if found is None:
        wrong = re.search(r"Option '([^']+)' is not accepted", message)
        if wrong is not None and path:
            hint = _hint(wrong[1], [flag.removeprefix("--") for flag in flags])
            return f"--config {path}: {wrong[1]}: there is no such option; {hint} {see}"
        unknown = re.search(r"[Uu]nrecognized arguments: (\S+)", message)
        if unknown is not None and unknown[1].startswith("--"):
            flag = unknown[1].partition("=")[0]
            return f"{flag}: there is no such option; {_hint(flag, flags)} {see}"
        if unknown is not None and "--data" in flags and "--data" not in arguments:
            return f"{joined(unknown[1])}: data are given by name; write --data FILE; {see}"
        return f"{joined(message)}; {see}"
    key = found["key"]
    key = next((name for name in kinds if name.replace("-", "_") == key), key)
    flag, values = key if key.isupper() else f"--{key}", _VALUE.findall(found["why"])
    kind = kinds.get(key)
    if not values or kind is None:
        return f"{flag}: {joined(found['why'])}; {see}"
    return f"{flag} {joined(values[-1])}: must be {kind}; {see}"


def _hint(name: str, known: Sequence[str]) -> str:
    from trainer.utils.checks import did_you_mean

    hint = did_you_mean(name, known)
    return hint if hint.endswith("?") else f"{hint};"


def names() -> list[str]:
    """Return the names of all commands: the built-in ones, then those of installed packages."""
    return [*BUILT_IN, *(name for name in sorted(_installed()) if name not in BUILT_IN)]


def find(name: str) -> Command:
    """Return a command.

    Args:
        name: One of `names()`.

    Raises:
        WrongCall: The package that brings the command cannot be imported.
    """
    if name in BUILT_IN:
        module = importlib.import_module(f"trainer.cli.{BUILT_IN[name]}")
        built_in: Command = getattr(module, name.upper())
        return built_in
    entry = _installed()[name]
    try:
        command = entry.load()
    except (ImportError, AttributeError) as error:
        raise WrongCall(
            f"{name}: the command of {entry.value!r} cannot be loaded ({error}); reinstall the "
            "package that brings it, or uninstall it"
        ) from error
    if not isinstance(command, Command):
        raise WrongCall(
            f"{name}: the entry point {entry.value!r} in the group {GROUP!r} is not a "
            "trainer.cli.command.Command"
        )
    return command


def about() -> str:
    """Return the text of `trainer --help`."""
    summaries = {}
    for name in names():
        try:
            summaries[name] = find(name).summary
        except WrongCall as error:
            summaries[name] = f"(cannot be loaded: {joined(str(error))})"
    width = max(map(len, summaries))
    lines = (f"  {name:<{width}}  {summary}" for name, summary in summaries.items())
    return _ABOUT.format(commands="\n".join(lines))


def _installed() -> dict[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=GROUP)}


def _told(error: Exception) -> tuple[str, int]:
    """Return the line for an error, and the exit code."""
    # TensorFlow that is broken raises all kinds of errors; some have a text of many lines
    at_import = isinstance(error, ImportError) or _while_importing(error)
    text = re.sub(r"^\[Errno -?\d+\] ", "", joined(str(error))) or type(error).__name__
    if isinstance(error, PermissionError) and text.startswith("Permission denied: "):
        text = f"{error.filename}: permission denied; name one that you may read and write"
    if at_import and _while_importing(error):
        return f"{_shortened(text)}; run trainer doctor to see what is wrong", FAILED
    data = sys.modules.get("trainer.datasets.cache")  # what it has not loaded, it did not raise
    if isinstance(error, _MISTAKES) or (data and isinstance(error, data.DataFileError)):
        return text, WRONG
    if isinstance(error, OSError):
        return text, FAILED
    return f"{type(error).__name__}: {_shortened(text)}; --debug shows where", FAILED


def _with_flags(text: str, flags: dict[str, str]) -> str:
    """Return an error that names arguments as Python does, with the options in their place."""
    if not flags:
        return text
    names = "|".join(map(re.escape, flags))
    name = re.compile(rf"(?<![\w.('\"-])({names})=(None(?=:))?")
    return name.sub(lambda found: flags[found[1]] + ("" if found[2] else " "), text)


def _reader_has_left() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # errors are reported in any case
        return bool(poll.poll(0))
    except (AttributeError, OSError, ValueError):  # a system without poll; not a file
        return False


def _while_importing(error: BaseException) -> bool:
    """Whether an error was raised while TensorFlow or Keras were imported."""
    place = error.__traceback__
    while place is not None:
        module = str(place.tb_frame.f_globals.get("__name__"))
        if place.tb_frame.f_code.co_name == "<module>" and module.split(".")[0] in (
            *("tensorflow", "keras", "tensorboard"),
        ):
            return True
        place = place.tb_next
    return False


def _shortened(text: str) -> str:
    return text if len(text) <= 400 else f"{text[:400]} ..."


def _said(text: str, code: int) -> int:
    print(f"trainer: {printable(joined(text))}", file=sys.stderr)
    return code


def _one_line_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Write a warning as one line, without the place in the code, which is not the user's."""
    del filename, lineno, line
    if issubclass(category, (DeprecationWarning, FutureWarning, ResourceWarning)):
        return  # for those who write the code
    print(f"warning: {printable(joined(str(message)))}", file=file or sys.stderr)


__all__ = ["BUILT_IN", "Command", "about", "find", "main", "names"]
