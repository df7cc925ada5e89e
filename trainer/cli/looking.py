"""`trainer runs`, `compare` and `tensorboard`: runs and their results, side by side."""

from __future__ import annotations

import importlib.util
import math
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from trainer.cli.command import Command, WrongCall, file_to_write
from trainer.cli.signatures import Argument
from trainer.cli.training import EVALUATION, FOLDER_OF_RUNS, existing
from trainer.utils.text import printable

# Entry points of this group are called with the folder that the call names and an empty one; they
# write logs there if the first is one that they know, and return whether they have.
LOGS = "trainer.tensorboard"
_HOST = "127.0.0.1"
_FOLDER = Argument("FOLDER", str, "a folder with runs", FOLDER_OF_RUNS)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns of text; the first row is the header."""
    from trainer.utils.figures import width_of

    plain = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(width_of, column)) for column in zip(*plain, strict=True)]
    return "\n".join(
        "  ".join(
            cell + " " * (width - width_of(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in plain
    )


def _runs(given: dict[str, Any]) -> None:
    folder = Path(given["FOLDER"]).expanduser()
    if not folder.is_dir():
        raise WrongCall(
            f"FOLDER {folder}: there is no such folder; trainer fit writes runs to "
            f"{FOLDER_OF_RUNS}/, and for others write trainer runs FOLDER"
        )
    found = sorted(path.parent for path in folder.glob("*/config.json"))
    if not found and (folder / "config.json").exists():
        found = [folder]
    if not found:
        print(f"there are no runs in {folder}")
        return
    rows = [("name", "data", "score", "time", "state")]
    print(table([*rows, *map(_row, found)]))


def _row(run: Path) -> tuple[str, str, str, str, str]:
    from trainer.runs.directory import RunError, configuration

    try:
        config = configuration(run)
    except RunError as error:
        return run.name, "", "", "", f"cannot be read: {error}"
    state = "running" if _is_held(run) else config["status"]
    if config.get("stopped_by") and state == "stopped":
        state = f"stopped by {config['stopped_by']}"
    data = config.get("source", {}).get("data")
    return (
        run.name,
        Path(str(data)).name if data else "(from Python)",
        _score(run),
        _time(run),
        state,
    )


def _is_held(run: Path) -> bool:
    """Whether a process of this machine trains the run; it is not locked to find out."""
    import psutil

    from trainer.runs.lock import HOLDER
    from trainer.utils import forms

    try:
        holder = forms.mapping(HOLDER, forms.read(run / HOLDER))
        process = forms.whole("process", holder.get("process"), 1)
    except (OSError, forms.Malformed):
        return False
    return holder.get("machine") == platform.node() and psutil.pid_exists(process)


def _score(run: Path) -> str:
    """Return the score on the test rows, or else the best validation loss."""
    from trainer.utils import forms

    try:
        content = forms.mapping(EVALUATION, forms.read(run / EVALUATION), ("score",))
        score = forms.mapping("score", content["score"], ("name", "value"))
        return f"{forms.text('name', score['name'])} {forms.number('value', score['value']):.4g}"
    except (OSError, forms.Malformed):
        pass  # a run from Python, or one that has not ended
    history = _history(run)
    if history is None:
        return ""
    name = next((n for n in ("val_loss", "loss") if n in history), None)
    values = [] if name is None else [v for v in history[name] if math.isfinite(v)]
    return f"{name} {min(values):.4g}" if values else ""


def _time(run: Path) -> str:
    history = _history(run)
    if history is None:
        return ""
    seconds = sum(history["seconds"])
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _history(run: Path) -> Any:
    """Return the history of a run, or None if it has none that can be read."""
    from trainer.history import History

    try:
        found = History.from_csv(run / "history.csv")
    except (OSError, ValueError):
        return None  # not an epoch has ended, or the file was edited
    return found if len(found) else None


def _compared(given: dict[str, Any]) -> None:
    from trainer.runs import code
    from trainer.runs.directory import configuration, differences, packages

    if len(given["RUNS"]) < 2:
        raise WrongCall("RUNS: two or more are needed; write trainer compare runs/a runs/b")
    out = file_to_write(given["out"], ".png", ".svg", ".pdf")
    folders = [existing(name) for name in given["RUNS"]]
    configs = [configuration(folder) for folder in folders]
    first, *others = zip(folders, configs, strict=True)
    for folder, config in others:
        found = differences(first[1], config)
        found += _of_source(first[1], config)
        if "code" in first[1] and "code" in config:
            found += code.changes(first[1]["code"], config["code"])
        before, now = packages(first[0]), packages(folder)
        found += [
            f"{name} was {before.get(name)}, is {now.get(name)}"
            for name in dict.fromkeys([*before, *now])
            if before.get(name) != now.get(name)
        ]
        if first[1]["seed"] != config["seed"]:
            found.append(f"the seed was {first[1]['seed']}, is {config['seed']}")
        print(f"from {first[0]} to {folder}:")
        print("\n".join(f"  {printable(line)}" for line in found) or "  nothing differs")
    rows = [("name", "data", "score", "time", "state"), *map(_row, folders)]
    print(f"\n{table(rows)}")
    histories = {str(folder): _history(folder) for folder in folders}
    _draw({name: history for name, history in histories.items() if history is not None}, out)


def _of_source(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    a, b = before.get("source", {}), now.get("source", {})
    return [
        f"{name} was {a.get(name)!r}, is {b.get(name)!r}"
        for name in dict.fromkeys([*a, *b])
        if name not in ("fields", "trainer", "mark", "test") and a.get(name) != b.get(name)
    ]


def _draw(histories: dict[str, Any], out: Path) -> None:
    import io

    import matplotlib

    matplotlib.use("Agg")
    from trainer.history import plot_history
    from trainer.utils.files import write_whole

    if not histories:
        print("there are no curves: not an epoch has ended")
        return
    picture = io.BytesIO()
    figure: Any = plot_history(histories)[0].figure
    figure.savefig(picture, format=out.suffix[1:].lower(), dpi=120)
    write_whole(out, picture.getvalue())
    print(f"curves: {out}")


def _tensorboard(given: dict[str, Any]) -> int:
    folder = Path(given["FOLDER"]).expanduser()
    if not folder.is_dir():
        raise WrongCall(
            f"FOLDER {folder}: there is no such folder; write that of a run or of a study, or one "
            "with runs"
        )
    _check_port(given["port"])
    if importlib.util.find_spec("tensorboard") is None:
        raise WrongCall("the package tensorboard is not installed; write pip install tensorboard")
    with tempfile.TemporaryDirectory() as place:
        if any(entry.load()(folder, Path(place)) for entry in metadata.entry_points(group=LOGS)):
            return _show(Path(place), given["port"])
        if any(folder.rglob("events.out.tfevents.*")):
            return _show(folder, given["port"])
    raise WrongCall(
        f"FOLDER {folder}: holds no logs of TensorBoard; write them with "
        "trainer fit --callbacks [tensorboard] ..."
    )


def _check_port(port: int) -> None:
    """Check that TensorBoard may listen there, which would say it in many lines."""
    if not 0 <= port <= 65535:
        raise WrongCall(f"--port {port}: must be from 0, for a free one, to 65535")
    if port:
        try:
            with socket.create_server((_HOST, port)):
                pass
        except OSError as error:
            raise OSError(
                error.errno,
                f"--port {port}: cannot be listened on ({os.strerror(error.errno or 0)}); write "
                "--port 0 for a free one",
            ) from error


def _show(folder: Path, port: int) -> int:
    """Run TensorBoard until it ends, or until Ctrl-C or SIGTERM ends it."""
    # this package keeps TensorFlow, which TensorBoard imports, from writing lines about itself
    code = "import sys, trainer\nfrom tensorboard.main import run_main\nsys.exit(run_main())"
    call = [sys.executable, "-c", code, "--logdir", str(folder)]
    call += ["--host", _HOST, "--port", str(port)]
    # so that TensorBoard ends with this process, and not only if it has the same terminal
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    started = subprocess.Popen(call, env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ})
    try:
        return started.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        started.terminate()
        started.wait()


RUNS = Command(
    name="runs",
    summary="List the runs in a folder, with their scores",
    example="trainer runs",
    run=_runs,
    arguments=lambda words: [_FOLDER],
    description=(
        "The score is that of the test rows, which trainer fit computes at the end; of a run from "
        "Python it is the best validation loss. The time is that of all epochs."
    ),
)
COMPARE = Command(
    name="compare",
    summary="Say how runs differ, and draw their curves in one picture",
    example="trainer compare runs/house-1 runs/house-2 --out comparison.png",
    run=_compared,
    arguments=lambda words: [
        Argument("RUNS", str, "the folders of two or more runs", many=True),
        Argument("out", str, "the picture to write: .png, .svg or .pdf", "comparison.png"),
    ],
)
TENSORBOARD = Command(
    name="tensorboard",
    summary="Start TensorBoard on this machine, for the logs of runs or the trials of a study",
    example="trainer tensorboard runs --port 6006",
    run=_tensorboard,
    arguments=lambda words: [
        Argument("FOLDER", str, "a folder with runs, or of a run or a study", FOLDER_OF_RUNS),
        Argument("port", int, "the port; 0 for a free one", 6006),
    ],
    description=(
        "It listens on 127.0.0.1 alone, and ends with Ctrl-C. Logs are written by trainer fit "
        "--callbacks [tensorboard]; histograms of weights and pictures of predictions too with "
        "--callbacks '[{name: tensorboard, histogram_freq: 1, image_freq: 1}]'. Of a study, such "
        "as studies/house, the HPARAMS page compares the trials as they are when it starts."
    ),
)
