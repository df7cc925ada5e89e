"""`trainer launch`: a script in several workers that train one model together."""

from __future__ import annotations

import signal
import sys
from typing import Any

from trainer.cli.command import Command, WrongCall
from trainer.cli.signatures import Argument


def _launch(given: dict[str, Any]) -> int:
    from trainer.launching import LaunchError, launch

    # as an exception, so that the workers have ended when this process ends
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        launch(
            given["SCRIPT"],
            *given["words"],
            workers=given["workers"],
            on=given["on"],
            hosts=given["hosts"],
            index=given["index"],
            resources=given["resources"],
            start_timeout=given["start_timeout"],
            restarts=given["restarts"],
        )
    except ValueError as error:
        late = _after_the_script(given["words"])
        if late and str(error).startswith("workers=None"):
            raise WrongCall(
                f"{late}: follows {given['SCRIPT']}, and so is for that program; write trainer "
                f"launch {late} {given['SCRIPT']}"
            ) from error
        raise
    except LaunchError as error:
        print(f"trainer: {error}", file=sys.stderr)
        if error.code is None:
            return 1
        return error.code if error.code > 0 else 128 - error.code
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _after_the_script(words: list[str]) -> str:
    """Return the option --workers as it is among the words of the program, or an empty string."""
    for number, word in enumerate(words):
        if word.partition("=")[0] == "--workers":
            return " ".join(words[number : number + (1 if "=" in word else 2)])
    return ""


LAUNCH = Command(
    name="launch",
    summary="Run a script in several workers that train one model together",
    example="trainer launch --workers 2 train.py --epochs 3",
    run=_launch,
    arguments=lambda words: [
        Argument("SCRIPT", str, "a Python file; the words after it are passed to it"),
        Argument("workers", int | None, "how many, on this machine or on Ray", None),
        Argument(
            "on",
            str | None,
            "where: local, hosts, tf_config, slurm or ray; null: what the call and the environment "
            "say, else local",
            None,
        ),
        Argument("hosts", str | None, "the addresses of all workers, as a:5000,b:5000", None),
        Argument("index", int | None, "which of the hosts this is, from 0", None),
        Argument("resources", Any, "what Ray reserves for each, as '{cpu: 2, gpu: 1}'", None),
        Argument("start-timeout", float, "seconds for all to come up, after the first", 60.0),
        Argument("restarts", int, "how many times to restart all of them after one has died", 0),
    ],
    program=True,
    description=(
        "Each worker finds the others in TF_CONFIG: give the Trainer strategy='multi_worker'. Its "
        "output is prefixed with its number. If one dies, the others are killed; the exit code is "
        "that of the worker that died, or 128 plus the number of the signal.\n\nTensorFlow listens "
        "on all interfaces, without authentication: use a network that you trust."
    ),
)
