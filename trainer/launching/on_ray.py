"""The workers of one training on the nodes of a Ray cluster.

Responsible for reserving room for all workers at once (a placement group), and for passing on what
happens to them. Each worker is a task of Ray, in which `processes` runs it as on any machine, in a
process of its own: that of the task may have imported TensorFlow already, with other settings.
Tasks and not actors, because only tasks can be ended by force.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.launching import clusters, processes
from trainer.launching.processes import Ended, Event, Lost, Missing, Program
from trainer.utils import ray_connection
from trainer.utils.ray_connection import check_resources

SECONDS_BETWEEN_LOOKS = 0.5


def run(
    program: Program,
    workers: int,
    resources: Mapping[str, float] | None,
    *,
    start_timeout: float,
) -> Generator[Event]:
    """Run workers on a Ray cluster, and yield what happens to them.

    All of them are ended when the caller closes the iterator, or when it ends. Ray that was
    started or connected to for this is left again.

    Args:
        program: What they run. A script must be at the same place on every node.
        workers: Their number.
        resources: What is reserved for each, by name; None: one core.
        start_timeout: Seconds in which there must be room for all, and again those in which all
            must come up after the first.

    Yields:
        Events as of `processes.run`.

    Raises:
        ImportError: Ray is not installed.
        TypeError: The resources are malformed.
        ValueError: So they are, or RAY_ADDRESS leads to no cluster.
    """
    bundle = _bundle(resources)
    ours = ray_connection.connect(None, "on='ray'|on='local'")
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    if program.script is not None:
        program = replace(program, script=str(Path(program.script).absolute()))
    try:
        group = placement_group([bundle] * workers, strategy="SPREAD")
        try:
            if group.wait(start_timeout):
                yield from _in_group(ray, group, program, workers, bundle, start_timeout)
            else:
                yield _no_room(ray, bundle, workers, start_timeout)
        finally:
            remove_placement_group(group)
    finally:
        if ours:
            ray_connection.disconnect()


def _bundle(resources: Mapping[str, float] | None) -> dict[str, float]:
    """Return resources under Ray's names, as of one worker."""
    if resources is None:
        return {"CPU": 1.0}
    check_resources("resources", resources)
    own = {"cpu": "CPU", "gpu": "GPU"}
    found = {own.get(name, name): float(n) for name, n in resources.items() if n}
    if not found:
        raise ValueError(
            f"resources={dict(resources)!r}: reserves nothing; write resources={{'cpu': 1}}, or "
            "leave it out"
        )
    return found


def _no_room(ray: Any, bundle: Mapping[str, float], workers: int, seconds: float) -> Missing:
    total = {name: n for name, n in ray.cluster_resources().items() if name in bundle}
    free = {name: n for name, n in ray.available_resources().items() if name in bundle}
    text = (
        f"Ray has found no room for {workers} workers of {dict(bundle)} within {seconds:g} s: its "
        f"cluster has {total}, of which are free {free}; fewer workers or resources, or more nodes"
    )
    return Missing(tuple(range(workers)), text, fatal=True)


def _in_group(
    ray: Any,
    group: Any,
    program: Program,
    workers: int,
    bundle: Mapping[str, float],
    start_timeout: float,
) -> Generator[Event]:
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    def task(function: Any, worker: int, **options: Any) -> Any:
        place = PlacementGroupSchedulingStrategy(
            placement_group=group, placement_group_bundle_index=worker
        )
        return ray.remote(scheduling_strategy=place, max_retries=0, **options)(function)

    taken = {"num_cpus": bundle.get("CPU", 0), "num_gpus": bundle.get("GPU", 0)}
    taken |= {"memory": bundle["memory"]} if "memory" in bundle else {}
    others = {n: amount for n, amount in bundle.items() if n not in ("CPU", "GPU", "memory")}
    running: dict[Any, int] = {}
    ending: set[Any] = set()  # of these, the ones whose worker has ended
    try:
        asked = [task(_port, i, num_cpus=0).remote() for i in range(workers)]
        answered, silent = ray.wait(asked, num_returns=workers, timeout=start_timeout)
        if silent:
            late = tuple(i for i, each in enumerate(asked) if each not in answered)
            who = ", ".join(map(str, late))
            text = f"no process has started within {start_timeout:g} s for worker {who} on its node"
            yield Missing(late, text, fatal=True)
            return
        try:
            addresses = _addresses(ray, ray.get(asked))
        except ray.exceptions.RayError as error:
            text = f"a node cannot run workers: {_first_line(error)}"
            yield Missing((0,), text, fatal=True)
            return
        threads = max(1, int(bundle.get("CPU", 1)))
        for i in range(workers):
            started = task(_worker, i, num_returns="streaming", resources=others, **taken)
            running[started.remote(program, addresses, i, start_timeout, threads)] = i
        while running:
            yield from _news(ray, running, ending)
    finally:
        _end(ray, list(running), ending)


def _news(ray: Any, running: dict[Any, int], ending: set[Any]) -> Generator[Event]:
    """Wait a little, and yield what workers have sent; forget the tasks that have ended."""
    ready, _ = ray.wait(list(running), timeout=SECONDS_BETWEEN_LOOKS)
    for generator in ready:
        worker = running[generator]
        try:
            event = ray.get(next(generator))
        except StopIteration:
            del running[generator]
        except ray.exceptions.RayTaskError as error:
            del running[generator]
            text = f"worker {worker} cannot be run on its node: {_first_line(error)}"
            yield Missing((worker,), text, fatal=True)
        except ray.exceptions.RayError as error:
            del running[generator]
            yield Lost(worker, f"worker {worker} was lost with its task: {_first_line(error)}")
        else:
            if isinstance(event, Ended) or (isinstance(event, Missing) and event.fatal):
                ending.add(generator)
            if worker == 0 or not isinstance(event, Missing) or event.fatal:
                yield event  # that nobody has come up, all of them say


def _end(ray: Any, running: list[Any], ending: set[Any]) -> None:
    """End tasks, and wait until they have ended, so that nothing of their workers is left.

    A task that is interrupted ends its worker with all that it started. Ray's force would also kill
    the guard that does so.

    A task that ends by itself at this moment must not be cancelled: Ray (2.60) may take it for one
    that has not begun, and then aborts this process: "Tried to complete task that was not pending".
    """
    for force in (False, True):
        for generator in running:
            if force or generator not in ending:
                ray.cancel(generator, force=force)
        until = time.monotonic() + processes.SECONDS_TO_END
        while running and time.monotonic() < until:
            ready, running = ray.wait(running, timeout=SECONDS_BETWEEN_LOOKS)
            running += [generator for generator in ready if not _has_ended(ray, generator)]


def _has_ended(ray: Any, generator: Any) -> bool:
    """Take what a task has sent, and return whether that was its end."""
    try:
        ray.get(next(generator))
    except (StopIteration, ray.exceptions.RayError):
        return True
    return False


def _first_line(error: BaseException) -> str:
    error = getattr(error, "cause", None) or error  # that of a task, without Ray's traceback
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _addresses(ray: Any, found: list[tuple[str, int]]) -> list[str]:
    """Return addresses, given the node and the port of each worker."""
    hosts = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
    hosts = {node: f"[{host}]" if ":" in host else host for node, host in hosts.items()}
    return [f"{hosts[node]}:{port}" for node, port in found]


def _port() -> tuple[str, int]:
    """Return the node on which this task runs, and a free port of it."""
    import ray

    (port,) = clusters.free_ports(1)
    return ray.get_runtime_context().get_node_id(), port


def _worker(
    program: Program, addresses: list[str], worker: int, start_timeout: float, threads: int
) -> Generator[Event]:
    """Run one worker on the node of this task, and yield what happens to it."""
    if program.script is not None and not Path(program.script).is_file():
        raise FileNotFoundError(
            f"there is no file {program.script} on this node: put it in a folder that all nodes "
            "share, or launch a function"
        )
    cluster = clusters.of_addresses(addresses, [worker])
    # Ray's own value is one thread, whatever was reserved
    environment = {**os.environ, **dict.fromkeys(processes.THREADS, str(threads))}
    events = processes.run(program, cluster, start_timeout=start_timeout, environment=environment)
    with contextlib.closing(events):
        for event in events:  # noqa: UP028 (Ray sends a generator values, which lists refuse)
            yield event
