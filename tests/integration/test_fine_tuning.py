"""A backbone frozen, then unfrozen in two stages, beside LoRA: killed in each stage.

The killed trainings are those of `fine_tuning_child.py`, with a small backbone that has the parts
of MobileNet. With MobileNet itself it takes about a minute:

    FINE_TUNING=mobilenet pytest -n0 tests/integration/test_fine_tuning.py
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import warm
from sklearn.datasets import load_digits

from trainer import Classifier

CHILD = Path(__file__).with_name("fine_tuning_child.py")
IMAGES = os.environ.get("FINE_TUNING", "small")
NEVER = -1


def _start(folder: Path, stop_at: int) -> Any:
    one_thread = {"OMP_NUM_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    return warm.start(CHILD, IMAGES, folder, str(stop_at), env=os.environ | one_thread)


def _whole(folder: Path) -> str:
    child = _start(folder, NEVER)
    assert child.wait() == 0, child.error()
    return str(child.wait_for("ended "))


def test_a_run_that_is_killed_in_each_stage_ends_byte_equal(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        whole = pool.submit(_whole, tmp_path / "whole")
        for epoch in range(3):
            child = _start(tmp_path / "killed", epoch)
            child.wait_for(f"epoch {epoch} step 1")
            child.kill()
            assert child.wait() == -9
            if epoch:  # it resumed within the stage before, or at its end
                assert int(child.output().split()[1]) >= epoch - 1
        assert _whole(tmp_path / "killed") == whole.result()


class MobileNet(Classifier):
    """As Keras' guide to transfer learning does it, with unfreezing in stages."""

    epochs = 3
    batch_size = 32
    random_state = 0
    verbose = 0
    learning_rate = 0.01
    callbacks = ({"name": "unfreeze", "start": 1, "layers": 8},)

    def build_model(self, spec: Any) -> keras.Model:
        app = keras.applications.mobilenet
        backbone = app.MobileNet(
            (32, 32, 3), alpha=0.25, include_top=False, weights=None, pooling="avg"
        )
        inputs = keras.Input(spec.input_shape)
        hidden = keras.layers.Resizing(32, 32)(keras.layers.Rescaling(255 / 16)(inputs))
        hidden = app.preprocess_input(keras.layers.Concatenate()([hidden] * 3))
        hidden = backbone(hidden, training=False)
        return keras.Model(inputs, keras.layers.Dense(spec.n_outputs, name="head")(hidden))


def test_mobilenet_on_the_digits_is_frozen_then_unfrozen_in_two_stages(tmp_path: Path) -> None:
    x, y = load_digits(return_X_y=True)
    x, y = x[:64].reshape(-1, 8, 8, 1).astype("float32"), y[:64]
    seen: list[dict[str, bytes]] = []

    def note(*_: Any) -> None:
        seen.append({v.path: np.asarray(v).tobytes() for v in trainer.network_.core.weights})

    noting = keras.callbacks.LambdaCallback(on_train_begin=note, on_epoch_end=note)
    trainer = MobileNet()
    trainer.set_params(callbacks=[*trainer.callbacks, noting])
    with pytest.warns(RuntimeWarning, match="went nowhere"):  # random features, three epochs
        trainer.fit(x, y)
    core = trainer.network_.core
    backbone = next(layer for layer in core.layers if isinstance(layer, keras.Model))
    weighted = [layer for layer in backbone.layers if layer.trainable_weights]
    for epoch, unfrozen in enumerate((0, 8, 16)):
        before, after = seen[epoch], seen[epoch + 1]
        changed = {path for path in before if before[path] != after[path]}
        allowed = {v.path for layer in weighted[len(weighted) - unfrozen :] for v in layer.weights}
        head = {v.path for v in core.get_layer("head").weights}
        assert changed <= allowed | head
        assert bool(changed & allowed) == (unfrozen > 0)
        assert not any("moving" in path for path in changed)  # inference mode, also unfrozen
    trainer.set_params(callbacks=MobileNet.callbacks)
    path = trainer.save(tmp_path / "mobilenet.keras")
    loaded = MobileNet.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(x), trainer.predict_proba(x))
    plain = keras.models.load_model(path)  # takes raw pixels: the preprocessing is in the file
    found = keras.ops.softmax(plain.predict(x, verbose=0))
    np.testing.assert_allclose(found, trainer.predict_proba(x), rtol=1e-5, atol=1e-6)
