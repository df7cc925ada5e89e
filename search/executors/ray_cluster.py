"""The connection to a Ray cluster, and what its nodes have.

Responsible for connecting, or saying within seconds why that fails, and for comparing the nodes
with this process. Not for running anything on them (`ray_tasks`).

`ray.init` waits for minutes for a wrong address, or ends the process. So a process of its own tries
the address first.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

from search.executors import Ray

ADDRESS = "RAY_ADDRESS"
SECONDS_FOR_A_PORT = 3.0  # to open a connection to an address
SECONDS_TO_CONNECT = 10.0  # for a process that tries to connect to the cluster
SECONDS_FOR_NODES = 60.0  # for all nodes to say what they have
PACKAGES = ("exact-trainer", "tensorflow", "keras")
_TRY = (
    "import sys, ray\n"
    "try:\n"
    "    ray.init(address=sys.argv[1], log_to_driver=False, logging_level='CRITICAL')\n"
    "except BaseException as error:\n"
    "    print(f'{type(error).__name__}: {error}', file=sys.stderr)\n"
    "    sys.exit(1)\n"
    "print('connected')\n"
)
# Ray's own name for it: with 0 a Ray on this machine is reachable from this machine only
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


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
    address = settings.address or os.environ.get(ADDRESS) or None
    if address is None or address == "local":
        os.environ.setdefault(_LOOPBACK, "0")
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "executor='ray': needs Ray, which is not installed; write pip install "
            "'exact-trainer[ray]', or executor='processes'"
        ) from error
    if ray.is_initialized():
        present = ray.get_runtime_context().gcs_address
        if settings.address not in (None, "auto", "local", present):
            raise ValueError(
                f"address={settings.address!r}: this process is connected to the Ray cluster at "
                f"{present}; call ray.shutdown() first, or leave out the address"
            )
        return False
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None or address == "local":
        ray.init(address="local", include_dashboard=False, **options)
        return True
    where = f"address={address!r}" if settings.address else f"{ADDRESS}={address!r}"
    _try(address, where)
    ray.init(address=address, **options)
    return True


def _try(address: str, where: str) -> None:
    """Connect to the cluster from another process, which may hang or die."""
    instead = (
        "write the address that `ray start --head` printed, such as '10.0.0.1:6379', or start one"
    )
    if address != "auto":
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"{where}: must be host:port or 'auto'; {instead}")
        try:
            socket.create_connection((host.strip("[]"), int(port)), SECONDS_FOR_A_PORT).close()
        except (OSError, OverflowError) as error:
            raise ValueError(f"{where}: nothing answers there ({error}); {instead}") from None
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY, address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS_TO_CONNECT,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"{where}: what listens there does not answer as a Ray cluster within "
            f"{SECONDS_TO_CONNECT:g} s; {instead}"
        ) from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-600:] or f"exited with code {done.returncode}"
        raise ValueError(f"{where}: cannot be used ({said}); {instead}")


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
        except ray.exceptions.NodeDiedError:
            continue  # it has just left
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
