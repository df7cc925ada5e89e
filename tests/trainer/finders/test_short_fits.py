"""short_fits: a clone is trained with one plugin alone, silently, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer import Classifier, Regressor
from trainer.callbacks import Callback
from trainer.finders.short_fits import check_trainer, short_fit

X = np.random.default_rng(0).normal(size=(12, 2)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


class Small(Classifier):
    def build_model(self, spec: Any) -> keras.Model:
        layers = [keras.layers.Dense(2, activation="softmax")]
        return keras.Sequential([keras.Input(spec.input_shape), *layers])


class Watching(Callback):
    """Notes what the fit is, and ends it after its first epoch."""

    def setup(self, session: Any) -> None:
        self.seen = session

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.logs = logs
        self.model.stop_training = True


@pytest.mark.parametrize(
    ("given", "shown"),
    [(Classifier, "the class Classifier"), ("mlp", "'mlp'"), (keras.Sequential, "the class Seq")],
)
def test_what_is_no_trainer_is_shown_with_the_call_to_write(given: Any, shown: str) -> None:
    message = rf"^find_batch_size\({shown}.*write find_batch_size\(Classifier\(\), x, y\)$"
    with pytest.raises(TypeError, match=message):
        check_trainer("find_batch_size", given)
    check_trainer("find_batch_size", Regressor())


def test_a_short_fit_is_of_a_clone_without_its_callbacks_run_validation_and_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(Callback):
        def setup(self, session: Any) -> None:
            raise AssertionError("the callbacks of the Trainer are not called")

    trainer = Small(
        callbacks=[Refusing()],
        run_dir=tmp_path / "run",
        validation_split=0.5,
        verbose=2,
        decision_threshold="f1",
        epochs=50,
        batch_size=4,
    )
    before = trainer.get_params(deep=False)
    state = np.random.get_state()[1].tolist()  # type: ignore[union-attr, index]
    plugin = Watching()
    short_fit(trainer, plugin, X, Y, np.ones(12), batch_size=6, epochs=7)
    seen = plugin.seen
    assert seen.epochs == 7 and seen.feed.batch_size == 6 and seen.feed.rows == 12
    assert seen.validation is None and seen.folder is None
    assert [type(c) for c in seen.callbacks if isinstance(c, (Watching, Refusing))] == [Watching]
    assert plugin.logs.keys() == {"loss", "accuracy"}
    after = trainer.get_params(deep=False)
    assert all(after[name] is value for name, value in before.items())
    assert not hasattr(trainer, "history_") and not (tmp_path / "run").exists()
    assert np.random.get_state()[1].tolist() == state  # type: ignore[union-attr, index]
    assert capsys.readouterr().out == ""
