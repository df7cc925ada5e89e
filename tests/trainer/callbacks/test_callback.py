"""Callback and Session: what a plugin sees of a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from trainer import Classifier, Regressor
from trainer.callbacks import Callback

X = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
Y = X[:, 0] * 2


class Seen(Callback):
    """Notes what its session has, and saves the estimator after each epoch."""

    folder: Any = None

    def setup(self, session: Any) -> None:
        self.first = session

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        session = self.session
        self.lengths = [*getattr(self, "lengths", []), len(session.history)]
        self.file = session.save(Path(self.folder) / f"epoch-{epoch}.keras")

    def state_dict(self) -> dict[str, Any]:
        return {}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("saved")
    trainer = Regressor(epochs=2, callbacks=[Seen(folder=folder)], random_state=3, verbose=0)
    return trainer.fit(X, Y, validation_data=(X, Y))


def test_a_session_has_the_values_of_the_fit_and_not_the_trainer(seen: Any) -> None:
    (plugin,) = seen.callbacks_
    session = plugin.first
    assert (session.owner, session.epochs, session.seed) == ("Regressor", 2, 3)
    assert session.params["epochs"] == 2 and session.params["random_state"] == 3
    assert session.callbacks == [plugin] and session.history is seen.history_
    assert session.folder is None and session.validation is not None
    assert plugin.lengths == [0, 1]


def test_a_session_saves_the_estimator_as_it_is(seen: Any) -> None:
    (plugin,) = seen.callbacks_
    saved = Regressor.load(plugin.file)
    assert plugin.file.name == "epoch-1.keras" and len(saved.history_) == 1
    np.testing.assert_array_equal(saved.predict(X), seen.predict(X))


def test_the_trainer_of_a_session_is_deprecated_and_still_there(seen: Any) -> None:
    (plugin,) = seen.callbacks_
    with pytest.warns(DeprecationWarning, match="session.trainer is deprecated"):
        assert plugin.first.trainer is seen


def test_there_is_no_session_outside_a_fit(seen: Any) -> None:
    (plugin,) = seen.callbacks_
    assert plugin.session is None and Classifier().callbacks == ()


def test_only_a_callback_that_overrides_before_step_extends_the_step() -> None:
    class Scaling(Callback):
        def before_step(self, model: Any) -> None:
            pass

    assert Scaling().extends_step and not Seen().extends_step


class Refuses(Callback):
    """Accepts its fields, and refuses every fit."""

    def setup(self, session: Any) -> None:
        raise ValueError("not this fit")


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (
            ["early_stopping", {"name": "plateau", "patience": 0}],
            r"^callbacks\[1\] \(plateau\): patience=0: must be 1 or more",
        ),
        ("checkpoint", r"^folder=None: there is no run_dir"),
        (Refuses(), "^not this fit$"),
    ],
    ids=["a field", "a folder", "an own callback"],
)
def test_a_callback_that_refuses_a_fit_leaves_the_trainer_as_it_was(
    callbacks: Any, message: str
) -> None:
    trainer = Regressor(epochs=1, model="mlp", random_state=3, verbose=0)
    unfitted = clone(trainer).set_params(callbacks=callbacks)
    with pytest.raises(ValueError, match=message):
        unfitted.fit(X, Y)
    with pytest.raises(NotFittedError):
        unfitted.predict(X)

    before = trainer.fit(X, Y).predict(X)
    history = trainer.history_
    with pytest.raises(ValueError, match=message):
        trainer.set_params(callbacks=callbacks).fit(X, -Y)
    np.testing.assert_array_equal(trainer.predict(X), before)
    assert trainer.history_ is history


def test_the_fields_of_callbacks_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    bad = {"name": "early_stopping", "patience": 0}
    with pytest.raises(ValueError, match=r"callbacks\[0\] \(early_stopping\): patience=0"):
        Regressor(epochs=1, callbacks=[bad], run_dir=tmp_path / "run").fit(X, Y)
    assert not list(tmp_path.iterdir())


def test_a_run_whose_callback_refused_it_holds_no_model(tmp_path: Path) -> None:
    trainer = Regressor(epochs=1, model="mlp", callbacks=Refuses(), run_dir=tmp_path, verbose=0)
    with pytest.raises(ValueError, match="not this fit"):
        trainer.fit(X, Y)
    assert not (tmp_path / "start.keras").exists()
    assert len(trainer.set_params(callbacks=()).fit(X, Y).history_) == 1
