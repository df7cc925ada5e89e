"""Whatever fails on disk, wherever a run or a study is killed: the same call ends as it would have.

Every operation on disk of a run and of a study is counted (by a library in front of libc, see
tests/helpers/disk_faults.c). At one of them after another, the process is killed before it, or it
fails once with ENOSPC, EIO or EACCES. A call in which it fails ends well, or with a warning or one
error that names the path. Then the same call is made again, without a fault: its weights, history,
trials and files are those of an undisturbed one, and what had been trained is not trained again.

By default a few operations are drawn. The whole proof takes some minutes on two idle cores:

    DISK_FAULTS=full pytest -n0 -s tests/integration/test_disk_faults.py

Where trainings do the same again and again, it takes the first, the middle and the last of equal
operations on equal files; DISK_FAULTS=everything takes each, which takes an hour. Both write the
table of operations to docs/disk.md. DISK_FAULTS=run,light does all of these scenarios alone, and
writes no table. What fails is printed as it is found, an operation a line.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import SECONDS

HELPERS = Path(__file__).parents[1] / "helpers"
TABLE = Path(__file__).parents[2] / "docs" / "disk.md"
WANTED = os.environ.get("DISK_FAULTS", "")
WHOLE = ("full", "everything")
AT_ONCE = 2
KILL = -1
FAULTS = {"kill": KILL, "ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES}
# Steps that may be trained twice: the one whose state was being written, and the one after.
TRAINED_TWICE = 2

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None,
    reason="the library in front of libc is for Linux, and a C compiler must make it",
)


@dataclass(frozen=True)
class Scenario:
    """A call, and what is in its folder before."""

    name: str
    work: str  # in disk_child.SCENARIOS
    begun: float | None = None  # the share of operations before a kill; 1: a finished one
    draw: bool = False
    only: str = ""  # the operations on files whose names hold this

    def __str__(self) -> str:
        return self.name


SCENARIOS = [
    Scenario("run", "run"),
    Scenario("run-resumed", "run", 0.55),
    Scenario("run-finished", "run", 1),
    Scenario("run-drawn", "run", draw=True, only="/plots"),
    Scenario("light", "light"),
    Scenario("light-resumed", "light", 0.55),
    Scenario("trained", "trained"),
    Scenario("trained-resumed", "trained", 0.7),
]
# How many of each scenario are drawn by default, beside those that once lost something.
TRIED = {
    "run": 3,
    "run-resumed": 3,
    "run-finished": 1,
    "light": 6,
    "light-resumed": 4,
    "trained": 1,
}
ALWAYS = {
    "run": (
        ("read", "/it/config.json", "EIO"),
        ("read", "/it/checkpoints/.run.json", "ENOSPC"),
        ("sync", "/it", "ENOSPC"),
    ),
    "light": (("read", "/it/.holder.json", "EIO"), ("sync", "/it", "ENOSPC")),
    "trained": (
        ("open", "/it/trials/1/0-0/run.log", "EACCES"),
        ("read", "/it/trials/3/.trial.json", "EIO"),
        ("rename", "/it/trials/3", "EIO"),
    ),
}


@dataclass
class Operation:
    """What a process did on disk."""

    number: int
    writes: bool
    name: str
    path: str  # below the folder, without what is random

    @property
    def changes(self) -> bool:
        """Whether a kill before it finds the disk otherwise than a kill before the next one."""
        return self.writes and self.name not in ("close", "sync")


@dataclass
class Outcome:
    """What came of a fault."""

    operation: Operation
    fault: str
    kind: str = ""  # for the table
    problems: list[str] = field(default_factory=list)


class Server:
    """A process that does jobs: see disk_child."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.output = folder / "output.txt"
        own = {
            "LD_PRELOAD": str(library),
            "OMP_NUM_THREADS": "1",
            "TF_NUM_INTEROP_THREADS": "1",
            "TF_NUM_INTRAOP_THREADS": "1",
            "KERAS_HOME": str(folder / "keras"),
        }
        self._process = subprocess.Popen(
            [sys.executable, str(HELPERS / "disk_child.py"), str(self.output)],
            env=os.environ | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def do(self, scenario: Scenario, folder: Path, at: int | None, fault: int, again: int) -> int:
        """Do a job in the folder; gives the exit code."""
        names = {n: f"{folder}.{n}" for n in ("log", "answer", "steps")}
        job = {
            "scenario": scenario.work,
            "draw": scenario.draw,
            "folder": str(folder),
            "at": at,
            "fault": fault,
            "again": again,
            **names,
        }
        Path(names["answer"]).unlink(missing_ok=True)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(SECONDS)


class Proof:
    """The trials of one scenario.

    Args:
        scenario: which.
        servers: processes to do them.
        folder: for everything.
    """

    def __init__(self, scenario: Scenario, servers: list[Server], folder: Path) -> None:
        self.scenario = scenario
        self._free = list(servers)
        self._lock = threading.Lock()
        self._folder = folder / scenario.name
        self._folder.mkdir()
        self._template: Path | None = None
        fresh = self._do("fresh", 0, 0, 0)
        if scenario.begun is not None:
            template = self._folder / "template"
            if scenario.begun == 1:
                self._do("template", None, 0, 1)
            else:
                changing = [o for o in fresh[0] if o.changes]
                number = changing[int(len(changing) * scenario.begun)].number
                code = self._do("template", number, KILL, 0)[2]
                assert code == -9
            self._template = template
        self.operations, (whole,), _ = self._do("whole", 0, 0, 0)
        assert "raised" not in whole, whole
        self._whole = whole
        if scenario.only:
            self.operations = [o for o in self.operations if scenario.only in o.path]

    def _do(self, name: str, at: int | None, fault: int, again: int) -> Any:
        folder = self._folder / name
        if not folder.exists():
            folder.mkdir()
            if self._template is not None:
                shutil.copytree(self._template / "it", folder / "it")
                shutil.copy(f"{self._template}.steps", f"{folder}.steps")
        with self._lock:
            server = self._free.pop()
        try:
            code = server.do(self.scenario, folder, at, fault, again)
        finally:
            with self._lock:
                self._free.append(server)
        answer, log = Path(f"{folder}.answer"), Path(f"{folder}.log")
        calls = json.loads(answer.read_text()) if answer.exists() else []
        return _operations(log) if at is not None else [], calls, code

    def one(self, operation: Operation, fault: str) -> Outcome:
        """Let the operation fail, and call again."""
        name = f"{operation.number}-{fault}"
        found = Outcome(operation, fault)
        killed = fault == "kill"
        done, calls, code = self._do(name, operation.number, FAULTS[fault], 0 if killed else 1)
        place = self._folder / name
        hit = next((o for o in done if o.number == operation.number), None)
        if hit is None or (hit.name, hit.path) != (operation.name, operation.path):
            found.problems.append(f"NOT TRIED: another operation came, {hit}")
        if killed:
            if code != -9:
                found.problems.append(f"NOT TRIED: exit code {code} instead of a kill")
            found.kind = "resumed"
            calls = self._do(name, None, 0, 1)[1]
            self._judge_second(found, calls[0] if calls else None, ())
        elif code != 0 or len(calls) < 2:
            found.problems.append(f"RAW: the process ended with {code} (-14: it hung)")
        else:
            forgiven = self._judge_first(found, calls[0], place)
            self._judge_second(found, calls[1], forgiven)
        if not found.problems:
            shutil.rmtree(place)
        return found

    def _judge_first(self, found: Outcome, call: dict[str, Any], place: Path) -> list[str]:
        """Judge the call with the fault; gives the names of files that a warning gave up."""
        warned = [text for text in call["warned"] if str(place) in text]
        if "raised" in call:
            found.kind = "an error, then resumed"
            said = f"{call['raised']}: {call['said']}"
            if not call["expected"]:
                found.problems.append(f"RAW: {said}")
            elif str(place) not in call["said"]:
                found.problems.append(f"RAW, names no path: {said}")
            return []
        found.kind = "a warning" if warned else "no effect"
        if call["result"] != self._whole["result"]:
            found.problems.append("DIFFERENT: the call with the fault ended with another result")
        names = [n for n, v in self._whole["files"].items() if call["files"].get(n) != v]
        texts = [re.sub(r"state-\d+", "state", text) for text in warned]
        given_up = [n for n in names if any(Path(n).name in text for text in texts)]
        silent = [n for n in names if n not in given_up]
        if silent:
            found.problems.append(
                f"LOST without a word: {silent}; warned of {warned or call['warned']}"
            )
        return given_up

    def _judge_second(self, found: Outcome, call: dict[str, Any] | None, given_up: Any) -> None:
        """Judge the call without a fault."""
        if call is None:
            found.problems.append("RAW: the call after it ended its process")
            return
        if "raised" in call:
            found.problems.append(f"LOST: the call after it: {call['raised']}: {call['said']}")
            return
        if call["result"] != self._whole["result"]:
            found.problems.append("DIFFERENT: the call after it ended with another result")
        expected = self._whole["files"]
        names = [n for n, v in expected.items() if call["files"].get(n) != v]
        names += [n for n in call["files"] if n not in expected]
        names = [n for n in names if n not in given_up]
        if any("/epoch-" in n for n in given_up):  # in the place of the best another is kept
            names = [n for n in names if "/epoch-" not in n]
        if names:
            found.problems.append(f"LOST: after the call after it these files differ: {names}")
        twice = call["steps"] - self._whole["steps"]
        if twice > TRAINED_TWICE:
            found.problems.append(f"LOST: {twice} steps were trained again")


RANDOM = [
    (r"/#\d+ \(deleted\)", "/(unnamed)"),
    (r" \(deleted\)", ""),
    (r"[0-9a-f]{16}", "*"),
    (r"^/tmp/tmp\w{8}", "/tmp/tmp*"),
    (r"state-\d+", "state-*"),
]


def _operations(log: Path) -> list[Operation]:
    found = []
    for line in log.read_text().splitlines():
        number, kind, name, path = line.split("\t")
        for pattern, general in RANDOM:
            path = re.sub(pattern, general, path)
        found.append(Operation(int(number), kind == "W", name, path))
    return found


# ---- the table -----------------------------------------------------------------------------------

# What is done with a file, and why; the first pattern that fits its path.
WHY = [
    (r"^/tmp(/|$)", "the model is assembled in the temporary folder before it is written"),
    (r"\(unnamed\)$", "a test whether the file system supports locks and unnamed files"),
    (r"/\.\*\.tmp$", "new content is written to a temporary file, synced, and renamed"),
    (r"/\.holder\.json$", "which process uses the folder, for the error that another one gets"),
    (r"/\.lock$", "the lock, held by one process at a time"),
    (r"/\.run\.json$", "which run the checkpoints belong to"),
    (r"/config\.json$", "the run's configuration, and whether it is finished"),
    (r"/environment\.json$", "versions and machine, compared when the run resumes"),
    (r"/history\.csv$|/epochs\.csv$", "one row per epoch, human-readable"),
    (r"/run\.log$", "what happened when, human-readable"),
    (r"/model\.keras$", "the finished model"),
    (r"/start\.keras$", "the model before its training, to load an unfinished run"),
    (r"/plots(/|$)", "the learning curves"),
    (r"/epoch-[^/]*\.keras$", "the best epochs, of the checkpoint plugin"),
    (r"/state-[^/]*$", "the exact state to resume from; the last two are kept"),
    (r"/study\.sqlite-journal$", "SQLite's journal, while the tables are created"),
    (r"/study\.sqlite-wal$", "SQLite's write-ahead log: a transaction counts once it is on disk"),
    (r"/study\.sqlite-shm$", "SQLite's index of that log"),
    (r"/study\.sqlite$", "the trials and their results"),
    (r"/data[^/]*\.joblib(\.part)?$", "the data, for as long as workers need them"),
    (r"/trials/\.[^/]*", "states that no trial needs any more are deleted"),
    (r"/trials/.*/\.[^/]*", "the parent's run is copied to a temporary folder, and renamed"),
    (r"/checkpoints$", "the folder of states and checkpoints is created, listed and synced"),
    (r"/trials(/|$)", "the folders of the runs of trials"),
    (r"/models(/|$)", "the models of the best trials, if any are kept; a link is refused"),
    (r"/artifacts(/|$)", "files that trials wrote, if any; a link is refused"),
    (r"^/it$", "the folder itself is created, listed and synced"),
]


def _why(path: str) -> str:
    for pattern, text in WHY:
        if re.search(pattern, path):
            return text
    raise AssertionError(f"{path}: no line of WHY says why this file is used; write one")


def _shown(path: str) -> str:
    """A path as the table shows it: trials all alike."""
    path = re.sub(r"^/tmp(/.*)?$", "/(temporary folder)", path)
    path = re.sub(r"/trials/(\.?)\d+", r"/trials/\1N", path)
    path = re.sub(r"epoch-\d+[^/]*\.keras", "epoch-*.keras", path)
    return path.removeprefix("/it").removeprefix("/") or "(the folder)"


HEAD = """# Every operation on disk

What a run (`run_dir`) and a study (`directory`) do on disk, and what happens if the process is
killed just before an operation, or if the operation fails with ENOSPC (disk full), EIO (disk
defect) or EACCES (no permission). A test writes this table. It counts the operations with a library
that is loaded in front of libc, and tries each fault:

    DISK_FAULTS=full pytest -n0 -s tests/integration/test_disk_faults.py

- *resumed*: the same call, made again, resumes. It ends with the same weights, byte for byte, and
  with the same history, trials and files as a call in which nothing went wrong.
- *no effect*: the call in which the operation failed ends like that by itself.
- *a warning*: it does too, with a warning that names the file.
- *an error, then resumed*: the call ends with one error that names the path; made again, it
  resumes.
- A dash: not tried. A kill before an operation that changes nothing on disk is a kill before the
  next one that does.

Releasing a lock is not counted: on a local disk it cannot fail.

"""
TITLES = {"run": "A run", "light": "A study", "trained": "A study of Trainers, halving"}


def write_table(found: dict[str, tuple[Proof, list[Outcome]]]) -> str:
    """The text of docs/disk.md."""
    parts = [HEAD]
    for work, title in TITLES.items():
        rows: dict[tuple[str, str], dict[str, Counter[str]]] = {}
        times: Counter[tuple[str, str]] = Counter()
        why: dict[tuple[str, str], str] = {}
        cases = 0
        for proof, outcomes in found.values():
            if proof.scenario.work != work:
                continue
            for operation in proof.operations:
                key = (_shown(operation.path), operation.name)
                times[key] += 1
                why[key] = _why(operation.path)
            for outcome in outcomes:
                key = (_shown(outcome.operation.path), outcome.operation.name)
                kind = "FAILS" if outcome.problems else outcome.kind
                rows.setdefault(key, defaultdict(Counter))[outcome.fault][kind] += 1
                cases += 1
        parts.append(f"## {title}\n\n{sum(times.values())} operations, {cases} faults.\n\n")
        parts.append(f"| file | operation | times | {' | '.join(FAULTS)} | why |\n")
        parts.append("|---" * (4 + len(FAULTS)) + "|\n")
        for key in sorted(times):
            cells = [", ".join(sorted(rows.get(key, {}).get(fault, {}))) or "–" for fault in FAULTS]
            file, operation_name = key
            parts.append(
                f"| `{file}` | {operation_name} | {times[key]} | {' | '.join(cells)} "
                f"| {why[key]} |\n"
            )
        parts.append("\n")
    return "".join(parts).rstrip() + "\n"


# ---- the tests -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("library") / "disk_faults.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(made), str(HELPERS / "disk_faults.c")]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return made


@pytest.fixture(scope="module")
def servers(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    count = AT_ONCE if WANTED else 1
    started = [Server(library, tmp_path_factory.mktemp("server")) for _ in range(count)]
    yield started
    for server in started:
        server.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: syncing costs nothing there."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as made:
        yield Path(made)


def _drawn(proof: Proof) -> list[tuple[Operation, str]]:
    """The operations and faults to try."""
    cases = [
        (operation, fault)
        for operation in proof.operations
        for fault in FAULTS
        if fault != "kill" or operation.changes
    ]
    if WANTED == "full" and proof.scenario.work != "light":
        alike: dict[tuple[str, str, str], list[tuple[Operation, str]]] = {}
        for operation, fault in cases:
            key = (_shown(operation.path), operation.name, fault)
            alike.setdefault(key, []).append((operation, fault))
        # the trials of a search are runs like any other
        of_runs = proof.scenario.work == "run"
        return [
            some[i]
            for some in alike.values()
            for i in sorted({0, len(some) // 2, len(some) - 1} if of_runs else {len(some) - 1})
        ]
    if WANTED:
        return cases
    rng = np.random.default_rng(sum(map(ord, proof.scenario.name)))
    chosen = rng.choice(len(cases), min(TRIED.get(proof.scenario.name, 0), len(cases)), False)
    always = []
    for name, path, fault in ALWAYS.get(proof.scenario.name, ()):
        always += [c for c in cases if (c[0].name, c[0].path, c[1]) == (name, path, fault)][-1:]
    assert len(always) == len(ALWAYS.get(proof.scenario.name, ())), (
        "an operation is gone: see ALWAYS"
    )
    return always + [cases[i] for i in sorted(chosen)]


def _wanted() -> list[Scenario]:
    if WANTED in ("", *WHOLE):
        return [s for s in SCENARIOS if WANTED or s.name in TRIED]
    return [s for s in SCENARIOS if s.name in WANTED.split(",")]


def _line(scenario: Scenario, outcome: Outcome) -> str:
    operation = outcome.operation
    where = f"{scenario} {operation.number} {operation.name} {operation.path} {outcome.fault}"
    return f"{where}: {'; '.join(outcome.problems)}".replace("\n", " ")


def _told(scenario: Scenario, outcome: Outcome) -> Outcome:
    if outcome.problems:
        print(_line(scenario, outcome), flush=True)
    return outcome


_proven: dict[str, tuple[Proof, list[Outcome]]] = {}


@pytest.mark.parametrize("scenario", _wanted(), ids=str)
def test_a_fault_or_a_kill_at_any_operation_on_disk_loses_nothing(
    scenario: Scenario, servers: list[Server], folder: Path
) -> None:
    proof = Proof(scenario, servers, folder)
    cases = _drawn(proof)
    with ThreadPoolExecutor(len(servers)) as pool:
        outcomes = list(pool.map(lambda case: _told(scenario, proof.one(*case)), cases))
    _proven[scenario.name] = proof, outcomes
    bad = [o for o in outcomes if o.problems]
    counted = Counter((o.fault, o.kind) for o in outcomes if not o.problems)
    print(f"\n{scenario}: {len(proof.operations)} operations, {len(cases)} faults, {len(bad)} bad")
    for (fault, kind), number in sorted(counted.items()):
        print(f"  {number:5} x {fault}: {kind}")
    assert not bad, "\n".join(_line(scenario, outcome) for outcome in bad)
    if WANTED not in WHOLE:  # which writes the table afterwards
        _check_named(proof)


@pytest.mark.skipif(WANTED not in WHOLE, reason="DISK_FAULTS=full writes the table of docs/disk.md")
def test_the_table_of_operations_on_disk_is_written_again() -> None:
    assert _proven, "the test before this one makes what is written"
    TABLE.write_text(write_table(_proven))
    for proof, _ in _proven.values():
        _check_named(proof)


def _check_named(proof: Proof) -> None:
    """Assert that docs/disk.md names every file that was written."""
    text = TABLE.read_text()
    for operation in proof.operations:
        assert f"| `{_shown(operation.path)}` |" in text
        assert _why(operation.path) in text
