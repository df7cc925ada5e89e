"""The addresses of all workers, and which of them this machine starts.

Responsible for the four places that this is read from: the call (workers on this machine, or a list
of hosts), the variable TF_CONFIG, and the variables that Slurm sets for a task. Not for starting
anything. What is wrong there is one ValueError, before a process is started.

TF_CONFIG is described at https://www.tensorflow.org/guide/distributed_training, Slurm's variables
in the manual of srun.
"""

from __future__ import annotations

import errno
import json
import random
import re
import socket
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.utils.checks import integer

LOOPBACK = "127.0.0.1"
# Free ports are looked for below those that Linux hands out to outgoing connections (32768 and
# above), so that none of these takes one between our look and the worker's start.
PORTS = range(20_000, 32_000)
TF_CONFIG = "TF_CONFIG"
# Slurm's name of a variable, and an older or wider one that is used in its absence
_TASKS = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
_PER_NODE = ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
_STEP_NODES = "SLURM_STEP_NODELIST"


@dataclass(frozen=True)
class Cluster:
    """The workers of one training.

    Attributes:
        addresses: Of all workers, as host:port; the first is the chief.
        configurations: The value of TF_CONFIG for each worker that this machine starts, by its
            place in `addresses`.
    """

    addresses: tuple[str, ...]
    configurations: Mapping[int, str]

    @property
    def own(self) -> tuple[int, ...]:
        """The workers that this machine starts."""
        return tuple(self.configurations)


def of_addresses(addresses: Sequence[str], own: Sequence[int]) -> Cluster:
    """Return the cluster of workers at these addresses.

    Args:
        addresses: Of all workers.
        own: Which of them this machine starts.
    """
    cluster = {"worker": list(addresses)}
    configurations = {
        i: json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}) for i in own
    }
    return Cluster(tuple(addresses), configurations)


def local(workers: int) -> Cluster:
    """Return a cluster of workers on this machine, at free ports."""
    ports = free_ports(workers)
    return of_addresses([f"{LOOPBACK}:{port}" for port in ports], range(workers))


def free_ports(number: int) -> list[int]:
    """Return ports of this machine at which nothing listens.

    Raises:
        OSError: There are not so many.
    """
    # not from the seed of anybody's training: two launchers must not draw the same
    candidates = random.SystemRandom().sample(PORTS, len(PORTS))
    found: list[int] = []
    for port in candidates:
        if len(found) == number:
            break
        if _is_free(port):
            found.append(port)
    if len(found) < number:
        raise OSError(
            f"{number} free ports from {PORTS.start} to {PORTS.stop - 1} are needed, and there "
            f"are {len(found)}"
        )
    return found


def of_hosts(hosts: str | Sequence[str], index: int | None, workers: int | None) -> Cluster:
    """Return the cluster of workers at addresses that the user names.

    Args:
        hosts: "a:5000,b:5000", or a list of such addresses.
        index: Which of them this machine is.
        workers: Their number, or None.

    Raises:
        TypeError: An argument has another type.
        ValueError: An address is malformed or named twice, the index is out of range, there are
            more or fewer workers than hosts, or the port is in use.
    """
    names = hosts.split(",") if isinstance(hosts, str) else list(hosts)
    addresses = [_address("hosts", name) for name in names]
    twice = {a for a in addresses if addresses.count(a) > 1}
    if twice:
        raise ValueError(f"hosts={hosts!r}: {min(twice)} is named twice; give each worker a port")
    _same_number("hosts", len(addresses), workers)
    example = f"write a number from 0 to {len(addresses) - 1}, another one on each machine"
    if index is None:
        raise ValueError(f"index=None: which of the {len(addresses)} hosts is this? {example}")
    index = integer("index", index, low=0, example=0)
    if index >= len(addresses):
        raise ValueError(f"index={index}: there are {len(addresses)} hosts; {example}")
    return _with_free_port("hosts", of_addresses(addresses, [index]), index)


def of_tf_config(environment: Mapping[str, str], workers: int | None) -> Cluster:
    """Return the cluster that TF_CONFIG describes.

    Args:
        environment: Of this process.
        workers: Their number, or None.

    Raises:
        ValueError: TF_CONFIG is missing or malformed, names no worker or parameter servers, or
            the port is in use.
    """
    text = environment.get(TF_CONFIG)
    if not text:
        raise ValueError(
            "on='tf_config': the environment variable TF_CONFIG is not set; set it, or write "
            "workers=2 for two workers on this machine"
        )
    example = json.dumps(
        {"cluster": {"worker": ["a:5000", "b:5000"]}, "task": {"type": "worker", "index": 0}}
    )
    try:
        found = json.loads(text)
        cluster, task = found["cluster"], found["task"]
        kind, index = task["type"], task["index"]
        jobs = {str(job): list(addresses) for job, addresses in cluster.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"TF_CONFIG={_short(text)}: must be like {example}") from error
    if "ps" in jobs or kind == "ps":
        raise ValueError(
            "TF_CONFIG: names parameter servers (ps), which train asynchronously, so that no "
            "training could be repeated; list workers alone"
        )
    if kind not in ("chief", "worker") or not isinstance(index, int) or isinstance(index, bool):
        raise ValueError(
            f"TF_CONFIG: the task {task!r} must have the type 'chief' or 'worker', and an index; "
            f"write {example}"
        )
    chiefs = [_address(TF_CONFIG, a) for a in jobs.get("chief", [])]
    rest = [_address(TF_CONFIG, a) for a in jobs.get("worker", [])]
    job = chiefs if kind == "chief" else rest
    if not 0 <= index < len(job):
        raise ValueError(
            f"TF_CONFIG: the index {index} is out of range: there are {len(job)} tasks of the "
            f"type {kind!r}, and the first has the index 0"
        )
    addresses = chiefs + rest
    _same_number(TF_CONFIG, len(addresses), workers)
    own = index if kind == "chief" else len(chiefs) + index
    return _with_free_port(TF_CONFIG, Cluster(tuple(addresses), {own: text}), own)


def in_slurm_step(environment: Mapping[str, str]) -> bool:
    """Return whether srun has started this process as one of several tasks."""
    return _STEP_NODES in environment and _first(environment, _TASKS) not in ("", "1")


def of_slurm(environment: Mapping[str, str], workers: int | None) -> Cluster:
    """Return the cluster of the tasks of a step of a Slurm job.

    The ports follow from the numbers of the job and the step, so that all tasks know them.

    Args:
        environment: Of this process.
        workers: Their number, or None.

    Raises:
        ValueError: The variables are missing or malformed, tasks are not placed node by node, or
            the port is in use.
    """
    if _STEP_NODES not in environment or "SLURM_PROCID" not in environment:
        raise ValueError(
            f"on='slurm': the variables {_STEP_NODES} and SLURM_PROCID are not set; start each "
            "worker with srun, as in srun trainer launch train.py"
        )
    nodes = expanded(environment[_STEP_NODES])
    tasks = _number(environment, _TASKS)
    rank = _number(environment, ("SLURM_PROCID",))
    counts = _per_node(_first(environment, _PER_NODE) or "1", len(nodes))
    places = [(node, local) for node, number in enumerate(counts) for local in range(number)]
    if len(places) != tasks or rank >= tasks:
        raise ValueError(
            f"Slurm: there are {tasks} tasks, of which this is number {rank}, but "
            f"{_PER_NODE[0]}={_first(environment, _PER_NODE)!r} places {len(places)} on "
            f"{len(nodes)} nodes; write --ntasks and --ntasks-per-node"
        )
    own = (_number(environment, ("SLURM_NODEID",)), _number(environment, ("SLURM_LOCALID",)))
    if places[rank] != own:
        raise ValueError(
            f"Slurm: task {rank} is on node {own[0]}, and not on node {places[rank][0]}: tasks "
            "are not placed node by node; write srun --distribution=block"
        )
    _same_number("Slurm", tasks, workers)
    step = f"{environment.get('SLURM_JOB_ID', '')}.{environment.get('SLURM_STEP_ID', '')}"
    first = PORTS.start + zlib.crc32(step.encode()) % (len(PORTS) - max(counts))
    addresses = [f"{nodes[node]}:{first + local}" for node, local in places]
    return _with_free_port("Slurm", of_addresses(addresses, [rank]), rank)


def expanded(names: str) -> list[str]:
    """Return the names in a list of nodes as Slurm writes it.

    Args:
        names: Such as "gpu5,node[01-03,07]".

    Raises:
        ValueError: It is malformed.
    """
    found: list[str] = []
    for part in re.split(r",(?![^\[]*\])", names):
        found += _expanded(part, names)
    return found


def _expanded(part: str, whole: str) -> list[str]:
    opened = re.fullmatch(r"([^\[\]]*)\[([^\[\]]+)\](.*)", part)
    if opened is None:
        if not part or re.search(r"[\[\]\s]", part):
            raise ValueError(
                f"{_STEP_NODES}={_short(whole)}: is not a list of nodes, such as node[01-03]"
            )
        return [part]
    before, ranges, after = opened.groups()
    numbers: list[str] = []
    for each in ranges.split(","):
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", each)
        if ends is None or (ends[2] is not None and int(ends[2]) < int(ends[1])):
            raise ValueError(
                f"{_STEP_NODES}={_short(whole)}: {each!r} is not a range of numbers, such as 01-03"
            )
        width, last = len(ends[1]), int(ends[2] or ends[1])
        numbers += [f"{n:0{width}}" for n in range(int(ends[1]), last + 1)]
    rest = _expanded(after, whole) if after else [""]
    return [f"{before}{number}{end}" for number in numbers for end in rest]


def _per_node(text: str, nodes: int) -> list[int]:
    """Return how many tasks each node has, from text such as "2(x3),1"."""
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if found is None:
            raise ValueError(f"{_PER_NODE[0]}={text!r}: must be like 2(x3),1")
        counts += [int(found[1])] * int(found[2] or 1)
    # the variable of the job counts all of its nodes, and the step may have fewer
    return counts[:nodes]


def _first(environment: Mapping[str, str], names: Sequence[str]) -> str:
    return next((environment[name] for name in names if name in environment), "")


def _number(environment: Mapping[str, str], names: Sequence[str]) -> int:
    text = _first(environment, names)
    if not text.isdecimal():
        raise ValueError(f"{names[0]}={text!r}: Slurm sets it to a whole number for each task")
    return int(text)


def _address(source: str, given: Any) -> str:
    text = given.strip() if isinstance(given, str) else ""
    host, colon, port = text.rpartition(":")
    bare = ":" in host and not re.fullmatch(r"\[.+\]", host)
    wrong = not colon or not host or bare or re.search(r"[\s/,]", host)
    if wrong or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(
            f"{source}: {given!r} must be a host and a port from 1 to 65535, such as "
            "node1:5000 or [::1]:5000"
        )
    return text


def parted(address: str) -> tuple[str, int]:
    """Return the host and the port of an address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _same_number(source: str, found: int, workers: int | None) -> None:
    if workers is not None and workers != found:
        raise ValueError(
            f"workers={workers}: {source} has {found}; leave workers out, or write workers={found}"
        )


def _with_free_port(source: str, cluster: Cluster, own: int) -> Cluster:
    _, port = parted(cluster.addresses[own])
    if not _is_free(port):
        raise ValueError(
            f"{source}: port {port} of this machine is in use, and worker {own} would listen "
            "there; end what uses it (an earlier worker?), or choose another port"
        )
    return cluster


def _is_free(port: int) -> bool:
    """Return whether a server could listen at the port on all interfaces, as TensorFlow's does."""
    for family, host in ((socket.AF_INET, ""), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as tried:
                # as servers do: connections that have just ended do not matter
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                tried.bind((host, port))
                tried.listen()
        except PermissionError:
            return False
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            if family == socket.AF_INET:
                raise
            # a machine without IPv6
    return True


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."
