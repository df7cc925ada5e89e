"""What errors advise can be done: it is the field, the value or the model that was meant."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from trainer import Classifier, Regressor, Trainer

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = X[:, 0]
LABELS = (Y > 0).astype(int)


def test_a_misspelt_class_weight_is_the_one_that_was_meant() -> None:
    with pytest.raises(ValueError, match="class_weight='Balanced': .*; did you mean 'balanced'?"):
        Classifier(model="mlp", class_weight="Balanced", verbose=0).fit(X, LABELS)
    with pytest.raises(ValueError, match=r"class_weight='even': .*weight}$"):
        Classifier(model="mlp", class_weight="even", verbose=0).fit(X, LABELS)


def test_an_empty_path_is_not_the_folder_of_the_process() -> None:
    with pytest.raises(ValueError, match="path='': is empty; write the name of a .keras file"):
        Trainer.load("")


@pytest.mark.parametrize(
    ("model", "y", "advice"),
    [
        (Regressor(model="mlp"), Y, r"y\.filled\(np\.nan\)"),
        (Classifier(model="mlp"), LABELS, r"y\.astype\(float\)\.filled\(np\.nan\)"),
    ],
)
def test_masked_targets_become_missing_ones(model: Any, y: Any, advice: str) -> None:
    masked = np.ma.masked_array(y, mask=np.arange(len(y)) == 1)
    with pytest.raises(ValueError, match=f"y is a masked array.*; write {advice}, or drop"):
        model.fit(X, masked)
    with pytest.raises(ValueError, match=r"write x\.filled\(0\)"):
        model.fit(np.ma.masked_array(X, mask=X > 0), y)
    model.set_params(epochs=1, verbose=0)
    with pytest.warns(UserWarning, match="1 of 12 rows"):
        model.fit(X, masked.astype(float).filled(np.nan))


def test_outputs_that_do_not_fit_name_the_model_that_was_given() -> None:
    given = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="model=<Sequential>: the output has the wrong width"):
        Regressor.from_keras(given, loss="mse", verbose=0).fit(X, Y)
