"""A picture of images with their true and predicted classes, as the model is now.

Responsible for choosing the images and predicting them. Not for drawing (`trainer.plots`), or for
when the picture is made and where it is written (`image_predictions`, `tensorboard`).
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from trainer.callbacks.callback import Session
from trainer.data.arrays import is_shape
from trainer.data.labels import Labels
from trainer.network.probabilities import as_probabilities
from trainer.state.isolation import globals_kept, model_kept


class Gallery:
    """The first images of the validation data, or of the training data if there are none.

    Args:
        owner: The plugin, and how to leave the pictures out, for error messages.
        session: Of the fit.
        rows: The number of rows of images.
        columns: The number of columns of images.

    Raises:
        ValueError: x does not hold images, or y is not one class per row.
    """

    def __init__(self, owner: tuple[str, str], session: Session, rows: int, columns: int) -> None:
        self._session, self._rows, self._columns = session, rows, columns
        (name, remedy), network = owner, session.network
        shape = network.inputs.shapes
        channels = shape[2] if is_shape(shape) and len(shape) == 3 else 1
        if not is_shape(shape) or len(shape) not in (2, 3) or channels not in (1, 3):
            raise ValueError(
                f"{name}: x has rows of shape {shape}, which are not images: they must be "
                f"(height, width), (height, width, 1) or (height, width, 3); reshape x, or {remedy}"
            )
        labels = getattr(network.targets, "labels", None)
        if not isinstance(labels, Labels) or labels.kind == "multilabel":
            raise ValueError(
                f"{name}: y is not one class per row, and only classes are shown; {remedy}"
            )
        feed = session.feed if session.validation is None else session.validation
        x, y = (np.asarray(part) for part in feed.first()[:2])
        count = rows * columns
        self._images = x[: max(count, network.fixed_rows or 0)]
        index = y.argmax(axis=1) if labels.one_hot else y.reshape(len(y)).astype(int)
        self._true = labels.classes[index[:count]]

    def picture(self, epoch: int) -> bytes:
        """Draw the images with the present predictions.

        Args:
            epoch: From 0, for the heading.

        Returns:
            A PNG file.
        """
        import matplotlib.pyplot as plt

        from trainer.plots import plot_images

        network = self._session.network
        with network.ambient(), globals_kept(), model_kept(network.core, network.program.watch):
            outputs = network.predict(self._images)
        targets: Any = network.targets
        outputs = as_probabilities(outputs, network.readings)
        predicted = targets.choose(outputs)[: len(self._true)]
        images = self._images[: len(self._true)]
        axes = plot_images(images, self._true, predicted, rows=self._rows, columns=self._columns)
        figure = axes[0, 0].figure
        right = int(np.sum(predicted == self._true))
        figure.suptitle(f"epoch {epoch + 1}: {right} of {len(self._true)} right", fontsize=10)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=120)
        plt.close(figure)
        return picture.getvalue()
