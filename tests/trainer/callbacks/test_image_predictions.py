"""The plugin that shows predictions on images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf

from trainer import Classifier, Regressor, Trainer
from trainer.callbacks import ImagePredictions

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, size=(40, 6, 5)).astype("uint8")
Y = np.where(X[:, 0, 0] > 127, "bright", "dark")


class Noisy(Classifier):
    """With what a prediction must leave alone: dropout and moving means."""

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Flatten(),
                keras.layers.Dense(4, "relu"),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(2, "softmax"),
            ]
        )


def noisy(**fields: Any) -> Noisy:
    return Noisy(**{"epochs": 2, "batch_size": 8, "random_state": 1, "verbose": 0} | fields)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was given to plot_images, call by call; the pictures are drawn all the same."""
    from trainer import plots

    calls: list[tuple[Any, ...]] = []
    real = plots.plot_images

    def noted(images: Any, labels: Any, predicted: Any, **grid: Any) -> Any:
        calls.append((images, labels, predicted, grid))
        return real(images, labels, predicted, **grid)

    monkeypatch.setattr(plots, "plot_images", noted)
    return calls


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_epoch_has_a_picture_in_the_folder_of_the_run(tmp_path: Path) -> None:
    noisy(callbacks=["image_predictions"], run_dir=tmp_path / "run").fit(X, Y)
    folder = tmp_path / "run" / "images"
    assert names(folder) == ["epoch_0001.png", "epoch_0002.png"]
    picture = plt.imread(folder / "epoch_0002.png")
    assert picture.shape[0] > 300 and picture.shape[1] > 600 and picture.std() > 0.1


def test_the_first_validation_images_are_drawn_as_they_came_with_their_classes(
    tmp_path: Path, drawn: list[tuple[Any, ...]]
) -> None:
    plugin = ImagePredictions(folder=tmp_path / "p", rows=2, columns=3)
    trainer = noisy(callbacks=[plugin], normalize="standard")
    trainer.fit(X[:20], Y[:20], validation_data=(X[20:], Y[20:]))
    assert len(drawn) == 2
    images, true, predicted, grid = drawn[-1]
    np.testing.assert_array_equal(images, X[20:26])
    assert list(true) == list(Y[20:26])
    assert list(predicted) == list(trainer.predict(X[20:26]))
    assert grid == {"rows": 2, "columns": 3}


def test_without_validation_data_the_first_training_images_are_drawn(
    tmp_path: Path, drawn: list[tuple[Any, ...]]
) -> None:
    noisy(callbacks=[{"name": "image_predictions", "folder": str(tmp_path)}], epochs=1).fit(X, Y)
    np.testing.assert_array_equal(drawn[0][0], X[:8])  # a batch, though the grid has more room
    assert names(tmp_path) == ["epoch_0001.png"]


def test_colour_images_numbers_as_labels_and_one_hot_targets_are_drawn(
    tmp_path: Path, drawn: list[tuple[Any, ...]]
) -> None:
    colour = np.stack([X, X, X], axis=-1)
    y = (Y == "dark") * 4 + 3
    fields = {"loss": "categorical_crossentropy", "metrics": ["accuracy"], "epochs": 1}
    noisy(callbacks=[ImagePredictions(folder=tmp_path)], **fields).fit(colour, y)
    assert list(drawn[0][1]) == list(y[:8]) and drawn[0][0].shape == (8, 6, 5, 3)


def test_a_stream_of_images_is_taken(tmp_path: Path, drawn: list[tuple[Any, ...]]) -> None:
    stream = tf.data.Dataset.from_tensor_slices((X.astype("float32"), Y)).batch(10)
    noisy(callbacks=[ImagePredictions(folder=tmp_path)], epochs=1).fit(stream)
    assert list(drawn[0][1]) == list(Y[:10])


def test_every_epochs_spaces_the_pictures(tmp_path: Path) -> None:
    noisy(callbacks=[ImagePredictions(folder=tmp_path, every_epochs=2)], epochs=5).fit(X, Y)
    assert names(tmp_path) == ["epoch_0002.png", "epoch_0004.png"]


def test_no_figure_stays_open(tmp_path: Path) -> None:
    plt.close("all")
    noisy(callbacks=[ImagePredictions(folder=tmp_path)]).fit(X, Y)
    assert plt.get_fignums() == []


def test_training_is_the_same_to_the_bit_with_and_without(tmp_path: Path) -> None:
    from trainer.state.variables import variables

    plugin = ImagePredictions(folder=tmp_path, rows=1, columns=2)
    runs = [noisy(callbacks=c).fit(X, Y, validation_data=(X, Y)) for c in ((), (plugin,))]
    values = [[np.asarray(v).tobytes() for v in variables(t._network.core)] for t in runs]
    assert values[0] == values[1]
    assert runs[0].history_["val_loss"] == runs[1].history_["val_loss"]


def test_a_second_fit_with_the_same_object_shows_its_own_images(
    tmp_path: Path, drawn: list[tuple[Any, ...]]
) -> None:
    trainer = noisy(callbacks=[ImagePredictions(folder=tmp_path)], epochs=1)
    trainer.fit(X, Y)
    trainer.fit(X[::-1], Y[::-1])
    np.testing.assert_array_equal(drawn[1][0], X[::-1][:8])


def test_a_resumed_run_ends_with_the_same_pictures(interrupted_run: Callable[..., Any]) -> None:
    def make(folder: str) -> Trainer:
        plugin = {"name": "image_predictions", "rows": 1, "columns": 2}
        return noisy(callbacks=[plugin], run_dir=folder, epochs=3)

    pair = interrupted_run(make, X, Y, at=[(1, 2), (2, 0)])
    folders = [Path(t.run_) / "images" for t in pair]
    assert names(folders[0]) == names(folders[1]) == [f"epoch_000{i}.png" for i in (1, 2, 3)]
    for name in names(folders[0]):
        assert np.array_equal(*[plt.imread(folder / name) for folder in folders])


@pytest.mark.parametrize(
    ("x", "shape"), [(X.reshape(40, 30), r"\(30,\)"), (X.reshape(40, 3, 5, 2), r"\(3, 5, 2\)")]
)
def test_rows_that_are_no_images_are_refused_before_training(
    tmp_path: Path, x: np.ndarray, shape: str
) -> None:
    trainer = noisy(callbacks=[ImagePredictions(folder=tmp_path)])
    with pytest.raises(ValueError, match=f"x has rows of shape {shape}, which are not images"):
        trainer.fit(x, Y)
    assert not hasattr(trainer, "history_")


def test_several_inputs_are_refused(tmp_path: Path) -> None:
    class Two(Classifier):
        def build_model(self, spec: Any) -> keras.Model:
            one, two = (keras.Input(shape) for shape in spec.input_shape)
            flat = keras.layers.Flatten()
            joined = keras.layers.Concatenate()([flat(one), flat(two)])
            return keras.Model([one, two], keras.layers.Dense(2, "softmax")(joined))

    with pytest.raises(ValueError, match="which are not images"):
        Two(callbacks=[ImagePredictions(folder=tmp_path)], verbose=0).fit((X, X), Y)


def test_targets_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    plugin = ImagePredictions(folder=tmp_path)
    with pytest.raises(ValueError, match="y is not one class per row"):
        Regressor(callbacks=[plugin], verbose=0).fit(X, X[:, 0, 0].astype(float))
    with pytest.raises(ValueError, match="y is not one class per row"):
        noisy(callbacks=[plugin], loss="binary_crossentropy").fit(X, np.eye(2)[[0, 1] * 20] > 2)


def test_a_place_to_write_is_asked_for() -> None:
    with pytest.raises(ValueError, match="folder=None: there is no run_dir.*folder='images'"):
        noisy(callbacks=["image_predictions"]).fit(X, Y)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"every_epochs": 0}, "every_epochs=0"),
        ({"rows": 0}, "rows=0"),
        ({"columns": 2.5}, "columns=2.5"),
        ({"folder": 3}, "folder=3: must be a path"),
        ({"folder": __file__}, "is a file; write the name of a folder"),
    ],
)
def test_bad_fields_are_refused_before_training(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    trainer = noisy(callbacks=[ImagePredictions(**{"folder": tmp_path} | fields)])
    with pytest.raises((TypeError, ValueError, NotADirectoryError), match=message):
        trainer.fit(X, Y)
    assert not hasattr(trainer, "history_")
