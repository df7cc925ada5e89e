"""The workers of one machine as processes: their lines, their ends, and who has not come up."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from trainer.launching import clusters, processes
from trainer.launching.processes import Ended, Event, Line, Missing, Program


def events(
    tmp_path: Path,
    code: str,
    *words: str,
    addresses: tuple[str, ...] = ("localhost:1",),
    **env: str,
) -> list[Event]:
    """What happens to workers that run a script without TensorFlow."""
    script = tmp_path / "script.py"
    script.write_text(code)
    cluster = clusters.of_addresses(addresses, range(len(addresses)))
    return list(
        processes.run(
            Program(str(script), words),
            cluster,
            start_timeout=60,
            environment={**os.environ, **env},
        )
    )


def test_a_worker_writes_whole_lines_and_its_end_comes_last(tmp_path: Path) -> None:
    code = "import sys; print('1%\\r100%'); sys.stderr.write('no end \\xe4'); sys.exit(3)"
    found = events(tmp_path, code, PYTHONIOENCODING="latin-1")
    assert found[-1] == Ended(0, 3)
    assert set(found[:-1]) == {Line(0, "stdout", "100%"), Line(0, "stderr", "no end \ufffd")}
    assert len(found) == 3


def test_a_worker_that_a_signal_ended_has_the_negative_number_as_its_code(tmp_path: Path) -> None:
    found = events(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert found == [Ended(0, -signal.SIGKILL)]


def test_workers_are_told_of_each_other_past_the_proxy(tmp_path: Path) -> None:
    code = "import os; print(os.environ['no_grpc_proxy'], os.environ['TF_CONFIG'])"
    found = events(
        tmp_path, code, addresses=("127.0.0.1:1", "localhost:2"), no_proxy="own", no_grpc_proxy=""
    )
    lines = {each.worker: each.text for each in found if isinstance(each, Line)}
    assert lines[0].startswith('own,127.0.0.1,localhost {"cluster"')
    assert '"index": 0' in lines[0] and '"index": 1' in lines[1]


def test_closing_the_iterator_ends_the_workers_at_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os, signal; print(os.getpid()); signal.pause()")
    cluster = clusters.of_addresses(("localhost:1",), (0,))
    running = processes.run(
        Program(str(script)), cluster, start_timeout=60, environment=dict(os.environ)
    )
    first = next(running)
    assert isinstance(first, Line)
    running.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(first.text), 0)


def test_late_workers_are_named_with_what_was_seen_of_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as up, socket.socket() as down:
        down.bind(("127.0.0.1", 0))  # taken, but nothing listens
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (up, down)]
        cluster = clusters.of_addresses(addresses, (0,))
        watch = processes._Watch(cluster, 0.0)
        watch._closed.set()
        early = watch.late()
        assert isinstance(early, Missing) and not early.fatal and early.workers == (0, 1)
        assert "strategy='multi_worker'" in early.text
        assert watch.late() is None  # said once
        watch._closed.clear()
        watch._call(0)
        found = watch.late()
        assert isinstance(found, Missing) and found.fatal and found.workers == (1,)
        assert f"worker 1 at {addresses[1]} (nothing is known of it)" in found.text
        assert found.text.endswith("within 0 s after worker 0, which waits")
        watch.ended(1)
        assert "(it has ended)" in (watch.late() or found).text


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "ended with exit code 0"),
        (3, "ended with exit code 3"),
        (-9, "was killed by SIGKILL"),
        (-77, "was killed by signal 77"),
    ],
)
def test_an_exit_code_is_told_in_words(code: int, said: str) -> None:
    assert processes.exited(code) == said


def test_a_function_is_called_by_the_interpreter_and_only_the_chief_is_told_so() -> None:
    program = Program(function=b"")
    assert program.command(Path("f"), chief=True)[2:] == ["f", "True"]
    assert program.command(Path("f"), chief=False)[2:] == ["f", "False"]
    assert Program(sys.argv[0], ("a", "b")).command(Path("f"), chief=True)[1:] == ["a", "b"]
