"""What keeps a search from a Ray cluster is said at once, in one error."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from search import FunctionSearch
from search.executors import Ray, ray_cluster
from trainer.utils import ray_connection


def search(executor: Any) -> FunctionSearch:
    return FunctionSearch(lambda a: a, {"a": [1, 2]}, tuner="grid", executor=executor, verbose=0)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for executor in ("ray", Ray()):
        with pytest.raises(ImportError, match=r"pip install 'exact-trainer\[ray\]'"):
            search(executor).fit()


@pytest.fixture
def mute() -> Iterator[str]:
    """Return the address of something that listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_a_wrong_address_is_one_error_before_ray_waits_for_it(
    mute: str, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    monkeypatch.setattr(ray_connection, "SECONDS_TO_CONNECT", 2.0)
    for address, says in (
        (closed, "nothing answers there"),
        ("no.such.host.invalid:6379", "nothing answers there"),
        ("127.0.0.1", "must be host:port or 'auto'"),
        ("127.0.0.1:99999", "nothing answers there"),
        (mute, "what listens there does not answer as a Ray cluster within 2 s"),
    ):
        with pytest.raises(ValueError, match=f"address='{address}': {says}.*; write the address"):
            search(Ray(address)).fit()
    monkeypatch.setenv("RAY_ADDRESS", closed)
    with pytest.raises(ValueError, match=f"^RAY_ADDRESS='{closed}': nothing answers"):
        search("ray").fit()


def test_pickled_work_says_which_packages_a_node_needs() -> None:
    import cloudpickle
    from sklearn.linear_model import Ridge

    def uses() -> Any:
        return subprocess.run

    found = ray_cluster.modules_of(cloudpickle.dumps([Ridge(), uses]))
    assert {"sklearn", "subprocess"} <= found
    assert "__main__" not in found
    assert ray_cluster.modules_of(pickle.dumps(threading.Thread)) == {"threading"}


def test_a_difference_between_a_node_and_this_process_is_named() -> None:
    mine = {"python": "3.11.7", "exact-trainer": "1", "tensorflow": "2.21", "keras": "3.15"}
    assert ray_cluster.differences(mine, (dict(mine), [], True)) == ""
    theirs = mine | {"python": "3.12.1", "keras": None}
    said = ray_cluster.differences(mine, (theirs, ["lightgbm"], True))
    assert said == "python 3.12.1 (here 3.11.7), no keras, no lightgbm"


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({"address": ""}, TypeError, r"address='': must be text"),
        ({"address": 6379}, TypeError, r"address=6379: must be text"),
        ({"address": "ray://a:1"}, ValueError, r"address='ray://a:1': .*ray job submit"),
        ({"storage": 3}, TypeError, r"storage=3: must be text; write storage='s3://"),
        ({"recycle": -1}, ValueError, r"recycle=-1"),
        ({"trial_resources": [1]}, TypeError, r"trial_resources=\[1\]: must be a dict"),
        ({"trial_resources": {"CPU": 1}}, ValueError, r"no resource 'CPU'; write 'cpu'"),
        ({"trial_resources": {"cpu": -1}}, ValueError, r"trial_resources\['cpu'\]=-1"),
        ({"trial_resources": {"gpu": 1.5}}, ValueError, r"trial_resources\['gpu'\]=1.5: must be"),
        ({"trial_resources": {"cpu": "2"}}, TypeError, r"trial_resources\['cpu'\]='2'"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    given: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        Ray(**given)
