"""Who the workers are: from a list of hosts, TF_CONFIG and the variables of Slurm."""

from __future__ import annotations

import json
import socket

import pytest

from trainer.launching import clusters

WORKERS = {"worker": ["a:20101", "b:20102", "c:20103"]}


def task(cluster, kind="worker", index=0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def slurm(rank: int, node: int, local: int, **other: str) -> dict[str, str]:
    """The variables of a task of a step with three tasks on two nodes."""
    return {
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": "5",  # of the job: the step has fewer
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_NODELIST": "gpu[08,11]",
        "SLURM_STEP_TASKS_PER_NODE": "2,1",
        "SLURM_PROCID": str(rank),
        "SLURM_NODEID": str(node),
        "SLURM_LOCALID": str(local),
        **other,
    }


def test_the_workers_of_this_machine_have_different_free_ports():
    found = clusters.local(3)
    assert found.own == (0, 1, 2) and len(set(found.addresses)) == 3
    for worker, text in found.configurations.items():
        assert json.loads(text) == {
            "cluster": {"worker": list(found.addresses)},
            "task": {"type": "worker", "index": worker},
        }


def test_the_hosts_of_a_call():
    found = clusters.of_hosts("a:20101, [::1]:20102", 1, None)
    assert found.addresses == ("a:20101", "[::1]:20102") and found.own == (1,)
    assert clusters.parted(found.addresses[1]) == ("::1", 20102)
    assert clusters.of_hosts(["a:20101", "[::1]:20102"], 1, 2) == found


@pytest.mark.parametrize(
    ("hosts", "index", "workers", "said"),
    [
        ("a:1,b:2", None, None, "index=None: which of the 2 hosts is this?"),
        ("a:1,b:2", 2, None, "index=2: there are 2 hosts; write a number from 0 to 1"),
        ("a:1,b:2", -1, None, "index=-1: must be 0 or more"),
        ("a:1,b:2", "0", None, "index='0': must be a whole number"),
        ("a:1,a:1", 0, None, "a:1 is named twice"),
        ("a:1,b:2", 0, 3, "workers=3: hosts has 2"),
        ("a,b", 0, None, "'a' must be a host and a port"),
        ("a:1,", 0, None, "'' must be a host and a port"),
        ("a:0", 0, None, "'a:0' must be"),
        ("a:65536", 0, None, "'a:65536' must be"),
        ("::1:5000", 0, None, "'::1:5000' must be"),
        ("http://a:1", 0, None, "'http://a:1' must be"),
        ([("a", 1)], 0, None, "('a', 1) must be"),
    ],
)
def test_hosts_that_are_wrong(hosts, index, workers, said):
    with pytest.raises((ValueError, TypeError)) as raised:
        clusters.of_hosts(hosts, index, workers)
    assert said in str(raised.value)


@pytest.mark.parametrize("host", ["", "127.0.0.1"], ids=["all interfaces", "one"])
def test_a_port_in_use_is_named(host):
    with socket.create_server((host, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ValueError, match=f"hosts: port {port} of this machine is in use"):
            clusters.of_hosts(f"a:{port},b:{port}", 0, None)


def test_tf_config_as_it_is_given():
    given = task({"chief": ["z:20100"], **WORKERS}, index=1)
    found = clusters.of_tf_config(given, None)
    assert found.addresses == ("z:20100", *WORKERS["worker"])
    assert found.configurations == {2: given["TF_CONFIG"]}
    chief = clusters.of_tf_config(task({"chief": ["z:20100"], **WORKERS}, "chief"), 4)
    assert chief.own == (0,)


@pytest.mark.parametrize(
    ("environment", "workers", "said"),
    [
        ({}, None, "TF_CONFIG is not set"),
        ({"TF_CONFIG": ""}, None, "TF_CONFIG is not set"),
        ({"TF_CONFIG": "worker=a:1"}, None, 'must be like {"cluster"'),
        ({"TF_CONFIG": "[]"}, None, "must be like"),
        ({"TF_CONFIG": '{"cluster": {"worker": 3}, "task": {"type": "a", "index": 0}}'}, 1, "like"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, None, "must be like"),
        (task(WORKERS, index=3), None, "the index 3 is out of range: there are 3 tasks"),
        (task(WORKERS, index=-1), None, "the index -1 is out of range"),
        (task(WORKERS, index="1"), None, "must have the type 'chief' or 'worker', and an index"),
        (task(WORKERS, "chief"), None, "there are 0 tasks of the type 'chief'"),
        (task(WORKERS, "evaluator"), None, "must have the type 'chief' or 'worker'"),
        (task({**WORKERS, "ps": ["d:1"]}), None, "names parameter servers"),
        (task({"worker": ["a"]}), None, "TF_CONFIG: 'a' must be a host and a port"),
        (task(WORKERS), 2, "workers=2: TF_CONFIG has 3"),
    ],
)
def test_a_tf_config_that_is_wrong(environment, workers, said):
    with pytest.raises(ValueError) as raised:
        clusters.of_tf_config(environment, workers)
    assert said in str(raised.value)


def test_all_tasks_of_a_step_of_slurm_find_the_same_addresses():
    found = [clusters.of_slurm(slurm(*place), None) for place in ((0, 0, 0), (1, 0, 1), (2, 1, 0))]
    assert [each.own for each in found] == [(0,), (1,), (2,)]
    (addresses,) = {each.addresses for each in found}
    places = [clusters.parted(address) for address in addresses]
    assert [host for host, _ in places] == ["gpu08", "gpu08", "gpu11"]
    assert places[1][1] == places[0][1] + 1 and places[2][1] == places[0][1]
    other = clusters.of_slurm(slurm(0, 0, 0, SLURM_STEP_ID="1"), 3)
    assert other.addresses != addresses, "two steps of a job have other ports"


def test_a_step_of_several_tasks_is_told_from_other_shells():
    assert clusters.in_slurm_step(slurm(0, 0, 0))
    batch = {"SLURM_NTASKS": "3", "SLURM_PROCID": "0", "SLURM_JOB_NODELIST": "gpu[08,11]"}
    assert not clusters.in_slurm_step(batch), "the script of sbatch itself"
    assert not clusters.in_slurm_step(slurm(0, 0, 0, SLURM_STEP_NUM_TASKS="1"))


@pytest.mark.parametrize(
    ("environment", "workers", "said"),
    [
        ({"SLURM_PROCID": "0"}, None, "start each worker with srun"),
        (slurm(2, 0, 0), None, "write srun --distribution=block"),
        (slurm(0, 0, 0, SLURM_STEP_NUM_TASKS="4"), None, "places 3 on 2 nodes"),
        (slurm(0, 0, 0, SLURM_STEP_TASKS_PER_NODE="2x1"), None, "must be like 2(x3),1"),
        (slurm(0, 0, 0, SLURM_PROCID="first"), None, "SLURM_PROCID='first'"),
        (slurm(0, 0, 0, SLURM_STEP_NODELIST="gpu[08"), None, "is not a list of nodes"),
        (slurm(0, 0, 0, SLURM_STEP_NODELIST="gpu[11-08]"), None, "'11-08' is not a range"),
        (slurm(0, 0, 0), 2, "workers=2: Slurm has 3"),
    ],
)
def test_variables_of_slurm_that_are_wrong(environment, workers, said):
    with pytest.raises(ValueError) as raised:
        clusters.of_slurm(environment, workers)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("names", "nodes"),
    [
        ("one", ["one"]),
        ("one,two", ["one", "two"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[08-10,3],m", ["n08", "n09", "n10", "n3", "m"]),
        ("r[1-2]n[01,03].site", ["r1n01.site", "r1n03.site", "r2n01.site", "r2n03.site"]),
    ],
)
def test_lists_of_nodes_as_slurm_writes_them(names, nodes):
    assert clusters.expanded(names) == nodes
