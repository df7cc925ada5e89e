"""What is installed on the nodes of a Ray cluster.

Responsible for comparing the nodes with this process; `trainer.utils.ray_connection` connects. Not
for running anything on them (`ray_tasks`).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

from search.executors import Ray
from trainer.utils import ray_connection

SECONDS_FOR_NODES = 60.0  # for all nodes to say what they have
PACKAGES = ("exact-trainer", "tensorflow", "keras")


def connect(settings: Ray) -> bool:
    """Connect this process to the cluster, unless it is connected to Ray already.

    Args:
        settings: with the address.

    Returns:
        Whether it was not: then it is up to the caller to shut Ray down.

    Raises:
        ImportError: Ray is not installed.
        ValueError: the address is wrong, or does not answer; or the process is connected to
            another cluster.
    """
    return ray_connection.connect(settings.address, "executor='ray'|executor='processes'")


def modules_of(content: bytes) -> set[str]:
    """Return the packages that unpickling will import, by name: numpy, say, not numpy.linalg."""
    found: set[str] = set()

    class Recording(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            found.add(module.partition(".")[0])
            whole = super().find_class(module, name)
            if name != "subimport":
                return whole

            def subimport(imported: str) -> Any:  # cloudpickle's, for modules that a function uses
                found.add(imported.partition(".")[0])
                return whole(imported)

            return subimport

    Recording(BytesIO(content)).load()
    return found - {"__main__", "builtins"}


def versions() -> dict[str, str | None]:
    """Return the versions of this process that a node must have too."""
    return looker()(())[0]


Look = tuple[dict[str, str | None], list[str], bool]


def looker() -> Callable[..., Look]:
    """Return a function that Ray sends by value: a node may lack this package."""
    packages = PACKAGES

    def look(modules: Sequence[str], file: str | None = None) -> Look:
        import importlib.metadata
        import importlib.util
        import os
        import sys

        found: dict[str, str | None] = {"python": ".".join(map(str, sys.version_info[:3]))}
        for name in packages:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = None
        if importlib.util.find_spec("trainer") is not None:
            # it may be used from a folder, without being installed
            found[packages[0]] = importlib.import_module("trainer").__version__
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        return found, missing, file is None or os.path.exists(file)

    return look


def differences(
    mine: Mapping[str, str | None], look: Look, names: Iterable[str] = ("python", *PACKAGES)
) -> str:
    """Return how a node differs from this process; empty if it does not."""
    theirs, missing, _ = look
    said = [
        f"{name} {theirs[name]} (here {mine[name]})"
        for name in names
        if theirs[name] != mine[name] and theirs[name] is not None
    ]
    lacks = [n for n in names if theirs[n] is None and mine[n] is not None]
    lacks += [n for n in missing if n not in lacks and n not in ("trainer", "search")]
    if lacks:
        said.append(f"no {', no '.join(lacks)}")
    return ", ".join(said)


def look_at(modules: Iterable[str], file: str | None) -> dict[str, Look]:
    """Return what each node has, by its name.

    Args:
        modules: that it must be able to import.
        file: a file of this machine that it may have too.

    Raises:
        ValueError: a node does not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(looker())
    names = sorted(modules)
    asked = {}
    for node in ray.nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked[task.options(scheduling_strategy=there).remote(names, file)] = name_of(node)
    done, left = ray.wait(list(asked), num_returns=len(asked), timeout=SECONDS_FOR_NODES)
    found = {}
    for ref in done:
        try:
            found[asked[ref]] = ray.get(ref)
        except (ray.exceptions.NodeDiedError, ray.exceptions.TaskUnschedulableError):
            continue  # it has just left; any node that is there has room for a task of no cores
        except ray.exceptions.RayError as error:
            raise ValueError(
                f"executor='ray': {asked[ref]} cannot run anything: {error}"
            ) from error
    if left:
        raise ValueError(
            f"executor='ray': {', '.join(asked[ref] for ref in left)} did not run a task within "
            f"{SECONDS_FOR_NODES:g} s; see what `ray status` and its logs say"
        )
    return found


def name_of(node: Mapping[str, Any]) -> str:
    """Return a name of a node for people; two of one machine differ."""
    return f"node {node['NodeManagerAddress']} ({node['NodeID'][:6]})"
