"""The model that stands for a trial: what it does before it has a network, and with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_tuner.errors import FatalValueError
from light_estimators import Tiny

from search.interop.trial_model import TrialModel
from trainer.data.inputs import Inputs
from trainer.data.targets import Classes

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
Y = np.array(["no", "yes"] * 4)


def _config(seed: int) -> dict[str, Any]:
    written = {
        "inputs": Inputs.learn(X, normalize="standard").to_dict(),
        "targets": Classes.learn(Y, "y", one_hot=False).to_dict(),
        "precision": "float32",
        "seed": seed,
        "architecture": Tiny().resolve(X, Y).to_dict(),
    }
    return _as_json(written)


def _as_json(config: Any) -> Any:
    """What keras-tuner reads of what it has saved."""
    return json.loads(json.dumps(config))


def _built(seed: int) -> TrialModel:
    model = TrialModel(Tiny(units=5))
    model.build_from_config(_config(seed))
    return model


@pytest.fixture(scope="module")
def built() -> TrialModel:
    return _built(3)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("call", (X,)),
        ("predict", (X,)),
        ("evaluate", (X, Y)),
        ("summary", ()),
        ("save", ("model.keras",)),
        ("export", ("model",)),
        ("save_weights", ("a.weights.h5",)),
        ("load_weights", ("a.weights.h5",)),
    ],
)
def test_without_a_network_it_says_where_to_get_one(
    method: str, arguments: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = TrialModel(Tiny())
    says = r"^Tiny: a trial has no network until .*; call tuner\.search first, and take the model"
    with pytest.raises(ValueError, match=says):
        getattr(model, method)(*arguments)
    assert not list(tmp_path.iterdir())
    assert model.network is None and model.get_build_config() is None and model.optimizer is None


def test_what_a_tuner_compiles_with_is_refused_and_ends_the_search() -> None:
    with pytest.raises(
        FatalValueError, match=r"write Tiny\(optimizer=\.\.\., loss=\.\.\., metrics"
    ):
        TrialModel(Tiny()).compile(optimizer="adam", loss="mse")


def test_it_is_built_from_what_keras_tuner_saved_as_the_fitted_trainer_was(
    built: TrialModel,
) -> None:
    assert built.built and built.network is built.trainer.model_
    assert _as_json(built.get_build_config()) == _config(3)
    assert [w.shape for w in built.network.trainable_weights] == [(3, 5), (5,), (5, 2), (2,)]
    assert built.trainer.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(built.trainer.predict_proba(X), built(X), atol=1e-6)


def test_its_weights_are_those_of_its_seed_until_others_are_read(
    built: TrialModel, tmp_path: Path
) -> None:
    other = _built(4)
    outputs = np.array(built(X))
    assert np.abs(np.array(other(X)) - outputs).max() > 1e-3
    built.save_weights(tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(other(X), outputs)
    adopted = TrialModel(Tiny())
    adopted.adopt(other.trainer)
    assert adopted.trainer is other.trainer and _as_json(adopted.get_build_config()) == _config(4)
    np.testing.assert_array_equal(adopted(X), outputs)


def test_a_saved_one_is_loaded_by_the_class_of_its_trainer(
    built: TrialModel, tmp_path: Path
) -> None:
    built.save(tmp_path / "model.keras")
    loaded = Tiny.load(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict_proba(X), np.array(built(X)), atol=1e-6)
