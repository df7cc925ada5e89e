"""gallery: which images are shown, and with which classes."""

from __future__ import annotations

import io
from typing import Any

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sessions import session

from trainer import Classifier, plots
from trainer.callbacks.gallery import Gallery
from trainer.engine.feeds import RowsFeed

# the brightest of four pixels is the class
CLASSES = np.array([2, 0, 3, 1, 0, 0])
X = np.zeros((6, 2, 2), np.float32)
X.reshape(6, 4)[np.arange(6), CLASSES] = 1.0
NAMES = np.array(["a", "b", "c", "d"])
OWNER = ("image_predictions", "leave the plugin out")


class Brightest(Classifier):
    """Knows the answer without training."""

    def build_model(self, spec: Any) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(spec.input_shape),
                keras.layers.Flatten(),
                keras.layers.Activation("softmax"),
            ]
        )


def of_data(x: np.ndarray, y: np.ndarray, valid: int | None = None, **fields: Any) -> Any:
    """A session of a network that is not trained; the last rows, from `valid`, are validation."""
    network = Brightest(normalize=None, verbose=0, **fields).initialize(x, y)._network

    def feed(part: slice) -> RowsFeed:
        encoded = network.targets.encode(y[part], "y")
        data = network.batch(x[part].astype(np.float32), encoded)
        return RowsFeed(data, batch_size=32, float_dtype="float32", shuffle=True)

    validation = None if valid is None else feed(slice(valid, None))
    return session(network=network, feed=feed(slice(0, valid)), validation=validation)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was drawn: images, true and predicted classes."""
    calls: list[Any] = []
    real = plots.plot_images

    def noted(*given: Any, **grid: Any) -> Any:
        calls.append([np.asarray(part).tolist() for part in given])
        return real(*given, **grid)

    monkeypatch.setattr(plots, "plot_images", noted)
    return calls


def test_the_first_images_are_shown_with_the_names_of_their_classes(shown: list[Any]) -> None:
    wrong = NAMES[CLASSES]
    wrong[1] = "d"
    of = of_data(X, wrong)
    picture = Gallery(OWNER, of, rows=2, columns=2).picture(6)
    images, true, predicted = shown[0]
    assert images == X[:4].tolist()  # not shuffled
    assert true == ["c", "d", "d", "b"]
    assert predicted == ["c", "a", "d", "b"]
    assert plt.imread(io.BytesIO(picture)).ndim == 3
    assert not plt.get_fignums(), "the figure is closed"


def test_images_of_validation_are_preferred_and_fewer_than_the_grid_will_do(
    shown: list[Any],
) -> None:
    of = of_data(X, NAMES[CLASSES], valid=4)
    Gallery(OWNER, of, rows=3, columns=3).picture(0)
    images, true, predicted = shown[0]
    assert images == X[4:].tolist() and true == predicted == ["a", "a"]


def test_targets_of_one_column_per_class_are_shown_as_classes(shown: list[Any]) -> None:
    of = of_data(X, NAMES[CLASSES], loss="categorical_crossentropy")
    assert of.network.targets.labels.one_hot
    Gallery(OWNER, of, rows=1, columns=3).picture(0)
    assert shown[0][1] == shown[0][2] == ["c", "a", "d"]


def test_an_image_of_two_channels_is_refused_with_what_leaves_the_picture_out() -> None:
    of = of_data(np.zeros((8, 2, 1, 2), np.float32), NAMES[np.arange(8) % 4])
    message = r"^tensorboard: x has rows of shape \(2, 1, 2\), .*reshape x, or write images=0$"
    with pytest.raises(ValueError, match=message):
        Gallery(("tensorboard", "write images=0"), of, 1, 1)
