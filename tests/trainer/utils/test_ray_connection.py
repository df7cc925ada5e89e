"""ray_connection: what is wrong with an address or an amount is said before Ray is asked."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from network import alone
from patience import WORK

from trainer.utils import ray_connection
from trainer.utils.ray_connection import check_resources, connect

ASKED = "executor='ray'|executor='processes'"


def test_without_ray_it_is_said_what_to_install_or_to_write_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ImportError,
        match=r"^executor='ray': needs Ray.*pip install '.*\[ray\]', or executor='processes'$",
    ):
        connect("10.0.0.1:6379", ASKED)


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("head", "must be host:port or 'auto'"),
        (":6379", "must be host:port or 'auto'"),
        ("head:", "must be host:port or 'auto'"),
        ("head:²", "must be host:port or 'auto'"),
        ("127.0.0.1:99999", "nothing answers there"),
        ("a..b:6379", "nothing answers there"),
        ("127.0.0.1:{free}", "nothing answers there"),
        ("[::1]:{free}", "nothing answers there"),
    ],
)
def test_an_address_that_is_none_is_named_with_one_that_would_be(
    address: str, says: str, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv(ray_connection.ADDRESS, raising=False)
    address = address.format(free=free_port)
    before = dict(os.environ)
    with pytest.raises(ValueError) as caught:
        connect(address, ASKED)
    assert str(caught.value).startswith(f"address={address!r}: {says}")
    assert "such as '10.0.0.1:6379'" in str(caught.value)
    assert dict(os.environ) == before


def test_an_address_of_the_environment_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv(ray_connection.ADDRESS, "ray://head:10001")
    for given in (None, ""):
        with pytest.raises(ValueError, match="^RAY_ADDRESS='ray://head:10001': .*write address 'a"):
            connect(given, ASKED)


CONNECTED = """
import builtins, signal
from trainer.utils.ray_connection import connect, disconnect

def state():
    return builtins.print, signal.getsignal(signal.SIGTERM)

say = print
before = state()
assert connect("local", "executor='ray'|executor='processes'")
from ray.experimental import tqdm_ray
tqdm_ray.instance()  # as Ray does for the first bar that a worker shows
during = state()
disconnect()
after = state()
say([b is d for b, d in zip(before, during)], [b is a for b, a in zip(before, after)])
assert connect("local", "executor='ray'|executor='processes'")
builtins.print = own = lambda *words: None
signal.signal(signal.SIGTERM, signal.SIG_IGN)
disconnect()
say([state()[0] is own, state()[1] is signal.SIG_IGN])
"""


def test_a_process_prints_and_is_terminated_as_before_once_it_is_disconnected() -> None:
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    with alone():
        done = subprocess.run(
            [sys.executable, "-c", CONNECTED],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            timeout=WORK,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()[-2:]
    assert first == "[False, False] [True, True]", "Ray changes both, and both are restored"
    assert second == "[True, True]", "what others have put in their place is left"


@pytest.mark.parametrize(
    "resources",
    [{}, {"cpu": 0}, {"cpu": 2, "gpu": 0.25}, {"memory": 2**30}, {"tpu": 1.0}],
)
def test_amounts_that_ray_can_reserve_are_taken(resources: dict[str, Any]) -> None:
    check_resources("trial_resources", resources)


@pytest.mark.parametrize(
    ("resources", "error", "message"),
    [
        ("cpu", TypeError, r"r='cpu': must be a dict; write r=\{'cpu': 2, 'gpu': 0.5\}"),
        ({3: 1}, ValueError, r"r=\{3: 1\}: there is no resource 3; write 'cpu', 'gpu'"),
        ({"object_store_memory": 1}, ValueError, "there is no resource 'object_store_memory'"),
        ({"memory": 0.5}, ValueError, r"r\['memory'\]=0.5: must be .*write r\['memory'\]=1$"),
        ({"cpu": 2.5}, ValueError, r"r\['cpu'\]=2.5: must be a whole number, or a fraction"),
        ({"cpu": -0.5}, ValueError, r"r\['cpu'\]=-0.5: must be .*write r\['cpu'\]=1$"),
        ({"cpu": math.nan}, ValueError, r"r\['cpu'\]=nan"),
        ({"cpu": math.inf}, ValueError, r"r\['cpu'\]=inf"),
        ({"cpu": True}, TypeError, r"r\['cpu'\]=True"),
    ],
)
def test_an_amount_that_ray_cannot_reserve_is_named(
    resources: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_resources("r", resources)
