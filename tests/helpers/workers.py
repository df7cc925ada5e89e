"""Several workers of one training, each a process of its own on this machine."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import warm
from patience import GONE, WORK

# one thread each: there are several at once
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def start(count: int, script: Path, *arguments: str | Path, **env: str) -> list[warm.Started]:
    """Start workers that run a script; the variable WORKER has the number of each."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    return [
        warm.start(
            script,
            *arguments,
            env=os.environ
            | ENVIRONMENT
            | env
            | {
                "WORKER": str(number),
                "TF_CONFIG": json.dumps(
                    {
                        "cluster": {"worker": addresses},
                        "task": {"type": "worker", "index": number},
                    }
                ),
            },
        )
        for number in range(count)
    ]


def end(workers: list[warm.Started]) -> None:
    """End all of them."""
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.wait(GONE)


def wait(workers: list[warm.Started], seconds: float = WORK) -> None:
    """Wait until all have ended well; if one fails, end the others and raise an error."""
    until = time.monotonic() + seconds
    left = list(workers)
    try:
        while left:
            for worker in list(left):
                code = worker.poll()
                if code is not None:
                    assert code == 0, f"ended with {code}:\n{worker.error()[-4000:]}"
                    left.remove(worker)
            assert time.monotonic() < until, f"still runs:\n{left[0].error()[-4000:]}"
            time.sleep(0.01)
    finally:
        end(left)
