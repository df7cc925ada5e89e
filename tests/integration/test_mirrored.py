"""Two devices give the numbers of one, to rounding: MirroredStrategy on two logical CPU devices.

With the variable MNIST, the path of mnist_10k.npz, also for three epochs of these images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import strategy_child, warm

CHILD = Path(strategy_child.__file__)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirrored")
    run("mirrored", folder)
    return folder


def run(what: str, folder: Path) -> None:
    ended = warm.run(CHILD, what, folder)
    assert ended.returncode == 0, ended.stderr


def compare(path: Path) -> None:
    """Compare history, weights, predictions and evaluation with those of one device."""
    found = json.loads(path.read_text())
    one, two = found["one"], found["together"]
    assert one["history"].keys() == two["history"].keys()
    for name, values in one["history"].items():
        np.testing.assert_allclose(two["history"][name], values, rtol=1e-5, err_msg=name)
    for name, value in one["evaluated"].items():
        np.testing.assert_allclose(two["evaluated"][name], value, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(two["predicted"], one["predicted"], rtol=1e-4, atol=1e-5)
    for a, b in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", strategy_child.CASES)
def test_two_devices_give_the_history_predictions_and_evaluation_of_one(
    case: str, trained: Path
) -> None:
    compare(trained / f"{case}-0.json")


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("apart")
    run("apart", folder)
    found: dict[str, Any] = json.loads((folder / "apart.json").read_text())
    return found


def test_each_device_draws_its_own_dropout_mask(apart: dict[str, Any]) -> None:
    first, second = map(np.array, apart["masks"])
    assert first.shape == second.shape
    assert 0.3 < np.mean(first != second) < 0.7


def test_a_strategy_is_taken_as_an_object_and_from_the_scope_around_fit(
    apart: dict[str, Any],
) -> None:
    alone, given, scoped = apart["losses"]
    np.testing.assert_allclose(given, alone, rtol=1e-5)
    np.testing.assert_allclose(scoped, alone, rtol=1e-5)
    assert apart["cloned"]


def test_a_model_trained_on_two_devices_is_one_of_a_single_device(apart: dict[str, Any]) -> None:
    assert apart["kinds"] == ["ResourceVariable"]
    np.testing.assert_array_equal(*apart["inside"])


def test_a_scope_of_another_strategy_is_refused(apart: dict[str, Any]) -> None:
    assert "the scope of another strategy, <OneDeviceStrategy>" in apart["errors"]["scope"]


def test_an_interrupted_run_on_two_devices_ends_with_the_bytes_of_an_unbroken_one(
    apart: dict[str, Any],
) -> None:
    found = apart["resumed"]
    assert found["epochs before"] < 3
    ended = found["ended"]
    assert ended["broken"] == ended["unbroken"] == ended["none"]
    assert found["given back"] == ended["unbroken"]["loss"]
    assert not [text for text in found["warnings"] if "exact" in text or "rounding" in text]


def test_a_fit_on_two_devices_is_trained_further(apart: dict[str, Any]) -> None:
    ended = apart["resumed"]["ended"]
    assert len(ended["in turn"]["loss"]) == 3
    assert ended["in turn"]["loss"][:2] == ended["none"]["loss"][:2]


def test_every_model_with_the_numbers_of_keras_trains_on_two_devices_or_is_refused(
    tmp_path: Path,
) -> None:
    """Seventeen models, each trained twice in one process, take half a minute."""
    run("same", tmp_path)
    found = json.loads((tmp_path / "same.json").read_text())
    refused = {name: case for name, case in found.items() if "refused" in case}
    assert refused.keys() == {"loss function, metric of one's own"}  # its metric
    assert not any(case["begun"] for case in refused.values())
    assert len(found) > 15
    for name, case in found.items():
        if name in refused:
            continue
        one, two = case["one"], case["two"]
        for metric, values in one["history"].items():
            if metric == "norm":  # of gradients, of each replica's part: there is a warning
                continue
            np.testing.assert_allclose(two["history"][metric], values, rtol=1e-4, err_msg=name)
        for a, b in zip(one["weights"], two["weights"], strict=True):
            # a bias before batch normalisation has a gradient of zero but for rounding, which Adam
            # turns into steps of its learning rate
            np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3, err_msg=name)
