"""`python -m benchmarks.serving`: trainer.serve under load, against model.predict behind it.

    python -m benchmarks.serving                # 32 clients, 20 s a side; writes results/serving.md
    python -m benchmarks.serving --quick        # few clients, for a moment; prints only

Each side is a process with the same server: ours, keras.Model.predict in place of ours, and
keras.Model.predict of one request at a time. The clients are threads of this process. Each keeps
its connection, asks for one row after the other, and compares every answer with what predict
returned before. At the end the server gets SIGTERM while the clients are asking: a request that was
sent before and has no answer counts as lost.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.single_rows import mixed
from trainer import Classifier, Trainer
from trainer.data import records

RESULTS = Path(__file__).parent / "results" / "serving.md"
SIDES = ("ours", "keras", "keras, one request at a time")
TOLERANCE = 1e-5


class Plain(Trainer):
    """What serves keras.Model.predict of a Classifier's saved model."""

    classes_: np.ndarray

    def predict(self, x: Any, **options: Any) -> Any:
        """Return labels and probabilities, of one call of keras.Model.predict."""
        import tensorflow as tf

        table = self.network_.inputs.table
        assert table is not None and not options
        raw = records.inputs(table, records.Records(x))
        given = {name: tf.constant(raw[name]) for name in self.model_.input}
        found = np.asarray(self.model_.predict(given, verbose=0))
        return {"predictions": self.classes_[found.argmax(axis=1)], "probabilities": found}


def service(side: str, path: str) -> Any:
    """Return the service of a side, for the model in a file."""
    from trainer.serving import Service
    from trainer.serving.server import Limits

    made: Any = Classifier.load(path)
    if side != "ours":
        made.__class__ = Plain
    limits = Limits(batch_rows=1) if side.endswith("time") else Limits()
    return Service(made, port=0, limits=limits)


@dataclass
class Tally:
    """What the clients of a side saw.

    Attributes:
        seconds: of each answer.
        wrong: answers that differ from predict's.
        lost: requests without an answer.
        failures: what else was answered.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    lost: int = 0
    failures: list[str] = field(default_factory=list)


class Clients:
    """Threads that ask until they are told to stop."""

    def __init__(self, url: str, bodies: list[bytes], expected: list[Any], count: int) -> None:
        self.tally = Tally()
        self.ending = threading.Event()  # from now on the server may refuse
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._address = url.removeprefix("http://")
        self._bodies, self._expected = bodies, expected
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End them."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, place: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=120)
        own = Tally()
        while not self._stop.is_set():
            place = (place + 1) % len(self._bodies)
            began_before_the_end = not self.ending.is_set()
            started = time.perf_counter()
            try:
                connection.request("POST", "/predict", self._bodies[place])
                answer = connection.getresponse()
                content = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                own.lost += began_before_the_end
                if self.ending.is_set():
                    break
                connection.close()
                continue
            own.seconds.append(time.perf_counter() - started)
            if answer.status != 200:
                own.failures.append(f"{answer.status}: {content}")
                continue
            if isinstance(content["predictions"], dict):  # of keras.Model.predict
                content = content["predictions"]
            label, given = self._expected[place]
            close = np.allclose(content["probabilities"][0], given, rtol=0, atol=TOLERANCE)
            own.wrong += content["predictions"] != [label] or not close
        connection.close()
        with self._lock:
            self.tally.seconds += own.seconds
            self.tally.wrong += own.wrong
            self.tally.lost += own.lost
            self.tally.failures += own.failures


@contextlib.contextmanager
def process(side: str, path: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run a side in a process of its own: yield its address, and what ends it by SIGTERM."""
    made = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.serving", "--side", side, path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
    )
    assert made.stdout is not None

    def end() -> None:
        made.send_signal(signal.SIGTERM)
        if code := made.wait(120):
            raise RuntimeError(f"{side}: the server ended with {code}")

    try:
        yield made.stdout.readline().strip(), end
    finally:
        made.kill()
        made.wait()
        made.stdout.close()


@contextlib.contextmanager
def thread(side: str, path: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run a side in a thread, for a quick check."""
    made = service(side, path)
    running = threading.Thread(target=made.run)
    running.start()

    def end() -> None:
        made.stop()
        running.join()

    yield made.url, end


def measure(side: str, path: str, clients: int, seconds: float, *, quick: bool) -> Tally:
    """Ask a side's service, and end it while it is asked."""
    made = Classifier.load(path)
    frame = mixed()
    rows = frame.assign(since=frame["since"].map(lambda day: day.isoformat())).to_dict("records")
    bodies = [json.dumps([row]).encode() for row in rows]
    expected = list(zip(made.predict(frame).tolist(), made.predict_proba(frame), strict=True))
    with (thread if quick else process)(side, path) as (url, end):
        asking = Clients(url, bodies, expected, clients)
        time.sleep(seconds)
        asking.ending.set()
        end()
        asking.stop()
    return asking.tally


def line(side: str, tally: Tally, seconds: float, ours: Tally | None) -> str:
    """Return a line of the table."""
    times = sorted(tally.seconds)
    middle, slow = statistics.median(times), times[int(0.99 * (len(times) - 1))]
    ratios = "| | "
    if ours is not None:
        own = sorted(ours.seconds)
        ratios = f"| {middle / statistics.median(own):.1f}× | {len(own) / len(times):.1f}× "
    return (
        f"| {side} | {len(times) / seconds:,.0f} | {1_000 * middle:.1f} | {1_000 * slow:.1f} "
        f"{ratios}| {tally.wrong} | {tally.lost} | {len(tally.failures)} |"
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and return 1 if an answer was wrong or a request lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each side")
    parser.add_argument("--quick", action="store_true", help="checks that it runs; prints only")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("path", nargs="?", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.side:
        found = service(given.side, given.path)
        print(found.url, flush=True)
        found.run()
        return 0
    clients, seconds = (4, 1.0) if given.quick else (given.clients, given.seconds)
    lines = [
        "| side | answers a second | median, ms | 99 %, ms | our latency is lower by "
        "| our throughput is higher by | wrong | lost | failed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    bad, ours = 0, None
    with tempfile.TemporaryDirectory() as folder:
        frame = mixed()
        labels = np.where(frame["city"] == "Rome", "warm", "cold")
        made = Classifier(epochs=2, random_state=0, verbose=0).fit(frame, labels)
        path = str(made.save(Path(folder) / "model.keras"))
        for side in SIDES[: 1 if given.quick else None]:
            tally = measure(side, path, clients, seconds, quick=given.quick)
            bad += tally.wrong + tally.lost + len(tally.failures)
            lines.append(line(side, tally, seconds, ours))
            print(lines[-1], *tally.failures[:3], sep="\n", flush=True)
            ours = ours or tally
    if not given.quick:
        where = ", ".join(f"{name} {value}" for name, value in machine.describe().items())
        text = (
            f"# Serving\n\nOf `python -m benchmarks.serving`: {clients} clients for {seconds:g} s "
            "a side, one row of a table each, on the cores that the server uses too; the same "
            f"server on every side. {where}; load {machine.load():.1f}.\n\n"
        )
        RESULTS.write_text(text + "\n".join(lines) + "\n")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
