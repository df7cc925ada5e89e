"""Trials as tasks of Ray, on the nodes of a cluster.

Responsible for sending jobs to the cluster, for how many fit in it, and for finding out how each
ended. Not for the connection (`ray_cluster`), nor for what happens on a node (`ray_worker`).

Tasks, not actors: only a task can be ended by force. Ray repeats none of them (max_retries=0),
because whether a trial is repeated is the study's decision. A task is a generator of messages, so
that it can say that it has begun, and how far it is.

The work and the data are in Ray's object store once; a machine gets a copy when it first needs
it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import math
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from search.executors import (
    Crashed,
    Failure,
    NodeLost,
    OutOfMemory,
    Raised,
    Ray,
    TimedOut,
    Withdrawn,
    ray_cluster,
    ray_worker,
)
from search.executors.processes import MAX_STARTS, outcome, pickled, result
from trainer.utils import ray_connection

SECONDS_BETWEEN_LOOKS = 1.0  # at the nodes of the cluster
SECONDS_OF_GRACE = 20.0  # after its time limit until a job is ended by force, if nobody else did
SECONDS_TO_END = 2 * ray_worker.SECONDS_TO_END  # for jobs and workers, when the study ends
SECONDS_TO_NOTICE = 30.0  # without a node for trials, before a warning
_FAILURES = {kind.__name__: kind for kind in (Raised, TimedOut, OutOfMemory, Crashed, Withdrawn)}


class RayTasks:
    """Runs work on a Ray cluster; connects to it at once.

    Args:
        settings: of the cluster.
        workers: how many jobs to run at once; None: as many as the cluster has room for, which
            changes as nodes come and go.
        most: the most jobs there will be, or None.
        timeout: seconds after which a job is ended, or None.
        memory: bytes above which a job is ended with all processes it started, or None.

    Raises:
        ImportError: Ray is not installed.
        ValueError: there is no such cluster, or no node has room for a job.
    """

    def __init__(
        self,
        settings: Ray,
        *,
        workers: int | None = None,
        most: int | None = None,
        timeout: float | None = None,
        memory: int | None = None,
    ) -> None:
        self._settings = settings
        self._given = workers
        self._most = most
        self._resources = {"cpu": 1.0, **settings.trial_resources}
        threads = max(1, math.floor(self._resources["cpu"]))
        token = secrets.token_hex(16)
        self._order = ray_worker.Order(token, timeout, memory, settings.recycle, threads)
        self._refs: list[Any] = []
        self._expected: tuple[Any, list[str]] = ({}, [])
        self._unfit: dict[str, str] = {}  # by ID of a node: why no trial can run there
        self._jobs: set[_Job] = set()
        self._following: set[Future[None]] = set()
        self._nodes: dict[int, str] = {}  # by trial: the node that runs it
        self._reached: dict[int, dict[str, Any]] = {}  # by trial: its progress
        self._used: set[str] = set()  # IDs of nodes that have begun a job
        self._closed = threading.Event()
        self._owner = ray_cluster.connect(settings)
        try:
            self._task = _remote(self._options())
            self._capacity = self._room()
            if self._capacity == 0 and workers is None:
                raise ValueError(self._no_room())
        except BaseException:
            self._disconnect()
            raise
        self._loop = asyncio.new_event_loop()
        self._threads = [
            threading.Thread(target=run, daemon=True)
            for run in (self._loop.run_forever, self._watch)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def workers(self) -> int:
        """How many jobs run at once; 1 while the cluster has no room for any."""
        room = self._capacity if self._given is None else self._given
        return max(1, room if self._most is None else min(room, self._most))

    def load(self, work: Any, data: Path | None = None, shared: Path | None = None) -> None:
        """Set the work, and check that all nodes can do it; before the first job.

        Args:
            work: takes an argument and returns a picklable result.
            data: a file with data; workers find it as NodeFile(ray_worker.DATA).
            shared: a file that all nodes must see, or None.

        Raises:
            TypeError: the work cannot be pickled.
            ValueError: a node has another version, or lacks a package or the shared file.
        """
        import numpy as np
        import ray

        content = pickled(work)
        modules = sorted(ray_cluster.modules_of(content))
        mine = ray_cluster.versions()
        found = ray_cluster.look_at(modules, None if shared is None else str(shared))
        differ = {name: ray_cluster.differences(mine, look) for name, look in found.items()}
        said = [f"{name} has {text}" for name, text in differ.items() if text]
        if said:
            raise ValueError(
                f"executor='ray': {'; '.join(said)}; install on every node what is installed here, "
                "or take these nodes out of the cluster"
            )
        blind = [name for name, look in found.items() if not look[2]]
        if shared is not None and blind:
            raise ValueError(
                f"directory={str(shared.parent)!r}: {', '.join(blind)} cannot see it, and states, "
                "models or artifacts of trials go there; write executor=Ray(storage="
                "'s3://bucket/studies'), or a directory that all nodes share"
            )
        self._expected = mine, modules
        kept = None if data is None else np.memmap(data, dtype=np.uint8, mode="r")
        self._refs = [ray.put(content), None if kept is None else ray.put(kept)]

    def submit(self, argument: Any) -> Future[Any]:
        """Run the work on an argument, on any node that has room."""
        return self._submit([argument], lambda answers: result(answers[0]))

    def submit_many(self, arguments: Sequence[Any]) -> Future[list[Any]]:
        """Run the work on several arguments in one worker, for a quarter of a second."""

        def read(answers: list[Any]) -> list[Any]:
            missing = [None] * (len(arguments) - len(answers))
            return [outcome(answer) for answer in answers] + missing

        return self._submit(arguments, read)

    def progress(self, trial: int) -> dict[str, Any] | None:
        """Return what search.study.progress wrote of a running trial, if it wrote anything."""
        return self._reached.get(trial)

    def node(self, trial: int) -> str:
        """Return the name of the node that runs a trial; empty if that is not known."""
        return self._nodes.get(trial, "")

    def close(self) -> None:
        """End all jobs and workers of this study, and leave the cluster if we joined it."""
        if self._closed.is_set():
            return
        self._closed.set()
        for job in list(self._jobs):
            job.end(Withdrawn("the search ended"))
        left = concurrent.futures.wait(set(self._following), SECONDS_TO_END).not_done
        for following in left:
            following.cancel()
        self._end_slots()
        self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join(SECONDS_TO_END)
        if not self._loop.is_running():
            self._loop.close()
        self._refs = []
        self._disconnect()

    # ---- its parts ---------------------------------------------------------------------------

    def _options(self) -> dict[str, Any]:
        own = ("cpu", "gpu", "memory")
        others = {k: v for k, v in self._resources.items() if k not in own}
        options: dict[str, Any] = {"num_cpus": self._resources["cpu"], "resources": others}
        if self._resources.get("gpu"):
            # Ray then makes a new worker for each task: a warm one would keep the GPU's memory
            options["num_gpus"] = self._resources["gpu"]
        if self._resources.get("memory"):
            options["memory"] = int(self._resources["memory"])
        return options

    def _room(self) -> int:
        """Return how many jobs the cluster has room for."""
        import ray

        return sum(self._room_of(n) for n in ray.nodes() if n["Alive"])

    def _room_of(self, node: dict[str, Any]) -> int:
        if node["NodeID"] in self._unfit:
            return 0
        names = {"cpu": "CPU", "gpu": "GPU"}
        needs = [(names.get(name, name), n) for name, n in self._resources.items() if n]
        if not needs:
            return 1
        return min(int((node["Resources"].get(name, 0) + 1e-9) / n) for name, n in needs)

    def _no_room(self) -> str:
        import ray

        hidden = ("node:", "object_store_memory")
        has = [
            f"{ray_cluster.name_of(node)} has "
            + ", ".join(
                f"{name.lower() if name in ('CPU', 'GPU') else name} {amount:g}"
                for name, amount in sorted(node["Resources"].items())
                if not name.startswith(hidden)
            )
            for node in ray.nodes()
            if node["Alive"]
        ]
        return (
            f"trial_resources={dict(self._settings.trial_resources)!r}: no node has that much: "
            f"{'; '.join(has) or 'there is no node'}. Ask for less, or write workers=N if nodes "
            "join when trials wait for them"
        )

    def _submit(self, arguments: Sequence[Any], read: Callable[[Any], Any]) -> Future[Any]:
        import cloudpickle

        trials = [n for n in (getattr(a, "trial", None) for a in arguments) if n is not None]
        job = _Job(self._loop, [cloudpickle.dumps(a) for a in arguments], read, trials)
        self._jobs.add(job)
        self._start(job)
        following = asyncio.run_coroutine_threadsafe(self._follow(job), self._loop)
        self._following.add(following)
        following.add_done_callback(self._following.discard)
        return job

    def _start(self, job: _Job) -> None:
        options: dict[str, Any] = {}
        if self._unfit:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(self._unfit)})"}
        job.starts += 1
        job.generator = self._task.options(**options).remote(
            self._order, self._refs, self._expected, job.arguments
        )

    async def _follow(self, job: _Job) -> None:
        """Read the messages of a job until it has ended."""
        try:
            while not job.done():
                again = False
                try:
                    again = await self._messages(job)
                except TimeoutError:
                    job.end(TimedOut(self._took_too_long()))
                except Exception as error:
                    failure = _failure(error)
                    lost = failure.again and not job.running()  # before it was begun
                    again = lost and job.starts < MAX_STARTS
                    if not again:
                        job.fail(failure)
                if not again or job.done():
                    break
                self._start(job)
                if job.done():  # another thread has ended it, and cancelled the earlier task
                    job.cancel_task()
            job.fail(Crashed("its worker ended without an answer"))
        finally:
            self._jobs.discard(job)
            for trial in job.trials:
                self._nodes.pop(trial, None)
                self._reached.pop(trial, None)

    async def _messages(self, job: _Job) -> bool:
        """Read the messages of an attempt; return whether it must be made on another node."""
        until: float | None = None
        messages = job.generator.__aiter__()
        while True:
            left = None if until is None else max(until - time.monotonic(), 0)
            try:
                ref = await asyncio.wait_for(anext(messages), left)
            except StopAsyncIteration:
                return False
            kind, content = await ref
            if kind == "unfit":
                node, text = content
                self._leave_out(node, text)
                return True
            if kind == "started":
                node, address = content
                self._used.add(node)
                for trial in job.trials:
                    self._nodes[trial] = address
                if not job.begin():
                    job.cancel_task()  # again: the first may have missed a task on its way
                    return False
                if self._order.timeout is not None:
                    until = time.monotonic() + self._order.timeout + SECONDS_OF_GRACE
            elif kind == "progress":
                self._reached |= content
            elif kind == "failure":
                name, text = content
                job.fail(_FAILURES[name](text))
            elif kind == "answers":
                job.settle(content)

    def _leave_out(self, node: str, text: str) -> None:
        if node in self._unfit:
            return
        self._unfit[node] = text
        warnings.warn(
            f"executor='ray': a node that has joined gets no trials: it has {text}; install there "
            "what is installed here",
            stacklevel=2,
        )

    def _took_too_long(self) -> str:
        return f"took longer than {self._order.timeout:g} s, and was ended"

    def _watch(self) -> None:
        """Look at which nodes there are."""
        empty: float | None = None
        while not self._closed.wait(SECONDS_BETWEEN_LOOKS):
            with contextlib.suppress(Exception):  # the connection; the jobs report what is wrong
                self._capacity = self._room()
            if self._capacity:
                empty = None
                continue
            empty = time.monotonic() if empty is None else empty
            if time.monotonic() - empty > SECONDS_TO_NOTICE:
                empty = math.inf
                warnings.warn(f"the search waits for nodes: {self._no_room()}", stacklevel=2)

    def _end_slots(self) -> None:
        """End the processes that keep warm on the nodes."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        task = ray.remote(num_cpus=0, max_retries=0)(ray_worker.end)
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        asked = [
            task.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(self._order.token)
            for node in self._used & alive
        ]
        if asked:
            ray.wait(asked, num_returns=len(asked), timeout=SECONDS_TO_END)

    def _disconnect(self) -> None:
        if self._owner:
            ray_connection.disconnect()


def _remote(options: dict[str, Any]) -> Any:
    """Return the task; Ray sends it by value, because a node may lack this package."""
    import ray

    look = ray_cluster.looker()

    def work(order: Any, refs: Any, expected: Any, arguments: Any) -> Any:
        import ray

        mine, modules = expected
        context = ray.get_runtime_context()
        node = context.get_node_id()
        theirs, missing, _ = look(modules)
        differ = [f"{name} {theirs[name]}" for name in mine if theirs[name] != mine[name]]
        differ += [f"no {name}" for name in missing]
        if differ:
            yield "unfit", (node, ", ".join(differ))
            return
        from search.executors import ray_worker

        yield "started", (node, ray.util.get_node_ip_address())
        own = ray_worker.slot(
            order,
            lambda: ray.get(refs[0]),
            lambda: None if refs[1] is None else memoryview(ray.get(refs[1])),
        )
        yield from own.run(arguments)

    return ray.remote(max_retries=0, num_returns="streaming", **options)(work)


def _failure(error: Exception) -> Failure:
    """Return how a job failed whose task failed."""
    from ray import exceptions

    text = " ".join(str(error).split())[:400]
    if isinstance(error, exceptions.OutOfMemoryError):
        return OutOfMemory(f"Ray ended its worker because the node ran out of memory: {text}")
    if isinstance(error, exceptions.TaskCancelledError):
        return Withdrawn("was cancelled")
    if isinstance(error, exceptions.NodeDiedError):
        return NodeLost(f"its node was lost: {text}")
    if isinstance(error, (exceptions.WorkerCrashedError, exceptions.RaySystemError)):
        return Crashed(f"its worker died: {text}")
    return Crashed(f"Ray could not run it: {type(error).__name__}: {text}")


class _Job(Future[Any]):
    """The future of a job.

    Args:
        loop: that follows it.
        arguments: pickled.
        read: makes the result of the answers of a worker.
        trials: the numbers of its trials, if its arguments have any.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        arguments: list[bytes],
        read: Callable[[Any], Any],
        trials: list[int],
    ) -> None:
        super().__init__()
        self._loop = loop
        self.arguments = arguments
        self.read = read
        self.trials = trials
        self.generator: Any = None
        self.starts = 0

    def begin(self) -> bool:
        """Note that a worker has started; return whether it is still wanted."""
        if self.running():  # on another node, before
            return True
        try:
            return self.set_running_or_notify_cancel()
        except concurrent.futures.InvalidStateError:
            return False

    def cancel(self) -> bool:
        """Withdraw the job if no worker has started it."""
        if self.running() or self.done():
            return False
        self.end(Withdrawn("was cancelled"))
        return True

    def end(self, failure: Failure) -> None:
        """End the job with a failure, and its worker by force, unless it has ended already."""
        if self.fail(failure):
            self.cancel_task()

    def fail(self, failure: Failure) -> bool:
        """End the job with a failure; return whether this was its end. The first one counts."""
        try:
            self.set_exception(failure)
        except concurrent.futures.InvalidStateError:
            return False
        return True

    def cancel_task(self) -> None:
        """Cancel the task by force.

        Not for a task that has answered or failed: Ray (2.60) may take it for one that has not
        begun, and then aborts this process: "Tried to complete task that was not pending".
        """
        import ray

        # what is thrown away here is that it has ended anyway
        with contextlib.suppress(ray.exceptions.RayError, ValueError):
            ray.cancel(self.generator, force=True)

    def settle(self, answers: Any) -> None:
        """End the job with the answers of its worker."""
        try:
            found = self.read(answers)
        except Failure as failure:
            self.fail(failure)
            return
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.set_result(found)
