"""Two workers that the launcher starts again after SIGKILL train the model of an unbroken job."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from trainer import launch
from trainer.launching import LaunchError


def train(folder: str, killed: int | None) -> tuple[list[list[float]], list[float]]:
    """Train in a worker; the worker `killed` gets SIGKILL once, after its second epoch."""
    import keras
    import numpy as np

    from trainer import Classifier

    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    mark = Path(folder) / "killed"

    class Kill(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            del logs
            if index == killed and epoch == 1 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype("float32")
    model = Classifier(
        strategy="multi_worker",
        model="mlp",
        batch_size=8,
        epochs=4,
        random_state=0,
        verbose=0,
        run_dir=str(Path(folder) / "run"),
        callbacks=[Kill()],
    )
    model.fit(x, (x[:, 0] > 0).astype(int))
    weights = [weight.ravel().tolist() for weight in model.model_.get_weights()]
    return weights, model.history_.frame["loss"].tolist()


def test_a_worker_that_is_killed_costs_no_bit_of_the_result(tmp_path, capfd):
    folders = [tmp_path / name for name in ("unbroken", "broken")]
    for folder in folders:
        folder.mkdir()
    unbroken = launch(train, str(folders[0]), None, workers=2)
    assert len(unbroken[1]) == 4
    assert launch(train, str(folders[1]), 1, workers=2, restarts=1) == unbroken
    assert "[launch] worker 1 was killed by SIGKILL; starting all" in capfd.readouterr().err


def test_a_worker_that_makes_no_strategy_is_named_by_those_that_wait():
    def work() -> None:
        import time

        if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
            time.sleep(3600)
        import tensorflow as tf

        tf.distribute.MultiWorkerMirroredStrategy()

    with (
        pytest.raises(LaunchError, match="^worker 1 at .* after worker 0, which waits"),
        pytest.warns(UserWarning, match="no worker has opened its port"),
    ):
        launch(work, workers=2, start_timeout=1)
