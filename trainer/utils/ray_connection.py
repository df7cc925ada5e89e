"""The connection of this process to a Ray cluster, and amounts of what its nodes have.

Responsible for connecting, or saying within a minute why that fails. Not for running anything.

`ray.init` waits for minutes for a wrong address, or ends the process. So a process of its own tries
the address first.
"""

from __future__ import annotations

import builtins
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from trainer.utils.checks import finite

ADDRESS = "RAY_ADDRESS"
SECONDS_FOR_A_PORT = 3.0  # to open a connection to an address
SECONDS_TO_CONNECT = 60.0  # for a process that imports Ray and tries to connect, on a busy machine
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
_undo: list[Callable[[], None]] = []  # one entry while this process is connected by `connect`


def connect(address: str | None, asked_by: str) -> bool:
    """Connect this process to a cluster, unless it is connected to Ray already.

    Args:
        address: Of the cluster, as host:port or "auto". None or "": that of the variable
            RAY_ADDRESS, or else a Ray of its own on this machine, as for "local".
        asked_by: The argument that wants Ray, for errors, and what to write in its place:
            "executor='ray'|executor='processes'".

    Returns:
        Whether it was not: then it is up to the caller to `disconnect`.

    Raises:
        ImportError: Ray is not installed.
        ValueError: The address is wrong, or does not answer; or the process is connected to
            another cluster.
    """
    given, address = address, address or os.environ.get(ADDRESS) or None
    if address is None or address == "local":
        os.environ.setdefault(_LOOPBACK, "0")
    try:
        import ray
    except ImportError as error:
        argument, _, other = asked_by.partition("|")
        raise ImportError(
            f"{argument}: needs Ray, which is not installed; write pip install "
            f"'exact-trainer[ray]', or {other}"
        ) from error
    if ray.is_initialized():
        present = ray.get_runtime_context().gcs_address
        if given not in (None, "auto", "local", present):
            raise ValueError(
                f"address={given!r}: this process is connected to the Ray cluster at "
                f"{present}; call ray.shutdown() first, or leave out the address"
            )
        return False
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None or address == "local":
        _init(address="local", include_dashboard=False, **options)
        return True
    _try(address, f"address={address!r}" if given else f"{ADDRESS}={address!r}")
    _init(address=address, **options)
    return True


def disconnect() -> None:
    """Shut Ray down, and undo what `connect` changed in this process.

    Ray replaces `print`, and the handler of SIGTERM by one that exits with code 15, and leaves both
    so: a training that is terminated later would not exit with 143, as it does without Ray.
    """
    import ray

    try:
        ray.shutdown()
    finally:
        while _undo:
            _undo.pop()()


def _init(**options: Any) -> None:
    import ray

    printing, on_sigterm = builtins.print, signal.getsignal(signal.SIGTERM)

    def undo() -> None:
        if _is_rays(builtins.print):
            builtins.print = printing
        main = threading.current_thread() is threading.main_thread()
        if main and on_sigterm is not None and _is_rays(signal.getsignal(signal.SIGTERM)):
            signal.signal(signal.SIGTERM, on_sigterm)

    _undo.append(undo)
    try:
        ray.init(**options)
    except BaseException:
        disconnect()
        raise


def _is_rays(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).startswith("ray.")


def _try(address: str, where: str) -> None:
    """Connect to the cluster from another process, which may hang or die."""
    instead = (
        "write the address that `ray start --head` printed, such as '10.0.0.1:6379', or start one"
    )
    if address.startswith("ray://"):
        raise ValueError(
            f"{where}: a full connection is needed, not one through a proxy; start this on a node "
            "of the cluster, or with `ray job submit`, and write address 'auto'"
        )
    if address != "auto":
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"{where}: must be host:port or 'auto'; {instead}")
        try:
            socket.create_connection((host.strip("[]"), int(port)), SECONDS_FOR_A_PORT).close()
        except (OSError, OverflowError, UnicodeError) as error:
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


def check_resources(argument: str, resources: Any) -> None:
    """Refuse amounts of resources that Ray cannot reserve.

    Args:
        argument: Its name.
        resources: Amounts by name: "cpu", "gpu", "memory" in bytes, or a custom resource.

    Raises:
        TypeError: It is not a dict, or an amount is not a number.
        ValueError: A name is Ray's own, or an amount is negative, or a fraction above 1.
    """
    if not isinstance(resources, Mapping):
        raise TypeError(
            f"{argument}={resources!r}: must be a dict; write {argument}={{'cpu': 2, 'gpu': 0.5}}"
        )
    for name, amount in resources.items():
        if not isinstance(name, str) or name in ("CPU", "GPU", "object_store_memory"):
            raise ValueError(
                f"{argument}={dict(resources)!r}: there is no resource "
                f"{name!r}; write 'cpu', 'gpu', 'memory', or the name of a custom resource"
            )
        label = f"{argument}[{name!r}]"
        finite(label, amount, example=1)
        fraction = 0 < amount < 1 and name != "memory"
        if amount < 0 or (amount != int(amount) and not fraction):
            raise ValueError(
                f"{label}={amount!r}: must be a whole number, or a fraction below 1; write "
                f"{label}={max(1, round(amount))}"
            )
