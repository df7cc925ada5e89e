"""Loading the model of a run from its folder, finished or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from trainer import Classifier
from trainer.runs.directory import RunError

RNG = np.random.default_rng(0)
X = pd.DataFrame({"a": RNG.normal(size=24), "b": list("xyz") * 8})
Y = np.array(["no", "yes"])[(X["a"] > 0).astype(int)]


class Dies(keras.callbacks.Callback):
    """Ends the training with an error in an epoch."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.at:
            raise RuntimeError("the process died")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """There is none."""


def make(folder: Path, at: int = 99) -> Classifier:
    model = {"name": "mlp", "hidden": (3,)}
    options: dict[str, Any] = {"random_state": 0, "verbose": 0, "run_dir": folder, "save_steps": 1}
    return Classifier(model=model, epochs=4, callbacks=[Dies(at)], **options)


def test_a_finished_run_is_loaded_from_its_folder(tmp_path: Path) -> None:
    fitted = make(tmp_path / "run").fit(X, Y)
    loaded = Classifier.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert not (tmp_path / "run" / "start.keras").exists()


def test_an_unfinished_run_is_loaded_as_far_as_it_got(tmp_path: Path) -> None:
    trainer = make(tmp_path / "run", at=2)
    with pytest.raises(RuntimeError, match="died"):
        trainer.fit(X, Y)
    before = sorted(p.name for p in (tmp_path / "run").rglob("*"))
    loaded = Classifier.load(str(tmp_path / "run"))
    assert len(loaded.history_) == 2 and loaded.classes_.tolist() == ["no", "yes"]
    for a, b in zip(loaded.model_.get_weights(), trainer.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # the state was saved after the last step
    assert loaded.evaluate(X, Y)["accuracy"] == pytest.approx(loaded.score(X, Y))
    assert sorted(p.name for p in (tmp_path / "run").rglob("*")) == before
    make(tmp_path / "run").fit(X, Y)  # it still resumes


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is a folder without a run"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize("plugin", ["checkpoint", "early_stopping", "keras"])
def test_the_best_epoch_of_an_unfinished_run_is_loaded(plugin: str, tmp_path: Path) -> None:
    seen: dict[int, Any] = {}

    class Worse(Dies):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen[epoch] = self.model.get_weights()
            logs["score"] = [3.0, 1.0, 2.0, 2.5][epoch]  # the second is the best
            super().on_epoch_end(epoch, logs)

    by_keras = keras.callbacks.EarlyStopping("score", mode="min", restore_best_weights=True)
    by_keras.patience = 9
    watching: Any = {"name": plugin, "monitor": "score", "mode": "min"}
    if plugin == "early_stopping":
        watching["patience"] = 9
    trainer = make(tmp_path / "run")
    trainer.callbacks = [Worse(3), by_keras if plugin == "keras" else watching]
    with pytest.raises(RuntimeError, match="died"):
        trainer.fit(X, Y)
    best = Classifier.load(tmp_path / "run", state="best")
    for a, b in zip(best.model_.get_weights(), seen[1], strict=True):
        np.testing.assert_array_equal(a, b)
    last = Classifier.load(tmp_path / "run")
    assert not np.array_equal(last.model_.get_weights()[-2], seen[1][-2])


def test_a_run_without_a_best_epoch_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="died"):
        make(tmp_path / "run", at=2).fit(X, Y)
    with pytest.raises(RunError, match="has kept a best epoch yet; write state='last'"):
        Classifier.load(tmp_path / "run", state="best")
    with pytest.raises(ValueError, match="state='best': .* is not the folder of a run"):
        Classifier.load(tmp_path / "model.keras", state="best")
