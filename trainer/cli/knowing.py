"""`trainer datasets`, `callbacks` and `completion`: names that a call may use."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from trainer.cli.command import Command
from trainer.cli.looking import table
from trainer.cli.signatures import Argument, summary_of


def _datasets(given: dict[str, Any]) -> None:
    from trainer.datasets import check

    found = check(timeout=given["timeout"])
    rows = [(str(name), str(row["state"]), str(row["note"])) for name, row in found.iterrows()]
    print(table([("name", "state", "note"), *rows]))


def _callbacks(given: dict[str, Any]) -> None:
    from trainer.callbacks import BUILT_IN, GROUP

    del given
    rows = [("name", "what it does")]
    for name, place in BUILT_IN.items():
        module, cls = place.split(":")
        rows.append((name, summary_of(f"trainer.callbacks.{module}", cls)))
    for entry in metadata.entry_points(group=GROUP):
        of = "" if entry.dist is None else f", of {entry.dist.name}"
        rows.append((entry.name, f"{entry.value}{of}"))
    print(table(rows))


def _completion(given: dict[str, Any]) -> None:
    from jsonargparse import ArgumentParser

    from trainer import cli

    whole = ArgumentParser(prog="trainer", default_env=False)
    commands = whole.add_subcommands(dest="command")
    for name in cli.names():
        command = cli.find(name)
        parser = command.parser(command.arguments(()))
        commands.add_subcommand(name, parser, help=command.summary)
    print(whole.get_completion_script(f"shtab-{given['SHELL']}"))


def _none(words: Sequence[str]) -> list[Argument]:
    del words
    return []


DATASETS = Command(
    name="datasets",
    summary="List the named data sets, and which of them can be loaded here",
    example="trainer datasets --timeout 5",
    run=_datasets,
    arguments=lambda words: [
        Argument("timeout", float, "how many seconds to wait for a host of data", 5.0)
    ],
    description="trainer fit --data NAME trains on one.",
)
CALLBACKS = Command(
    name="callbacks",
    summary="List the callbacks, which can be named in --callbacks",
    example="trainer callbacks",
    run=_callbacks,
    arguments=_none,
    description=(
        "trainer fit --callbacks '[early_stopping, {name: checkpoint, keep: 3}]' names two of them."
    ),
)
COMPLETION = Command(
    name="completion",
    summary="Print a script that completes commands and options in a shell",
    example="trainer completion bash",
    run=_completion,
    arguments=lambda words: [
        Argument("SHELL", str, "bash, zsh or fish", choices=("bash", "zsh", "fish")),
    ],
    description='For this shell alone: eval "$(trainer completion bash)".',
)
