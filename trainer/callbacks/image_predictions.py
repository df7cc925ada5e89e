"""The plugin that shows predictions on images, epoch by epoch.

Responsible for choosing the images, predicting them and writing the picture. Not for drawing it
(`trainer.plots.plot_images`).
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from trainer.callbacks import folders
from trainer.callbacks.callback import Callback, Session
from trainer.data.arrays import is_shape
from trainer.data.labels import Labels
from trainer.network.probabilities import as_probabilities
from trainer.state.isolation import globals_kept, model_kept
from trainer.utils import checks
from trainer.utils.files import write_whole


class ImagePredictions(Callback):
    """Writes a picture of images with their true and predicted classes at the end of epochs.

    It always uses the first images of the validation data, or of the training data if there are no
    validation data. The files are named epoch_0001.png and so on.

    Attributes:
        every_epochs: epochs between two pictures; one takes about half a second.
        folder: where to write; None: images/ in the run's folder.
        rows, columns: the size of the grid of images.
    """

    PATHS = ("folder",)

    every_epochs: int = 1
    folder: str | Path | None = None
    rows: int = 3
    columns: int = 6

    def setup(self, session: Session) -> None:
        """Check the fields and the data, and select the images.

        Raises:
            ValueError: x does not hold images, y is not one class per row, or there is no folder.
        """
        for name in ("every_epochs", "rows", "columns"):
            checks.integer(name, getattr(self, name), low=1, example=getattr(type(self), name))
        self._place = folders.place("folder", self.folder, "images", session)
        if self._place.exists() and not self._place.is_dir():
            raise NotADirectoryError(
                f"folder={str(self._place)!r}: is a file; write the name of a folder, such as "
                "folder='images'"
            )
        if self.folder is None:
            for file in self._place.glob("epoch_*.png"):
                folders.refuse_link("folder", file)
        self._place = self._place.absolute()  # a callback may change the current folder
        network = session.network
        shape = network.inputs.shapes
        channels = shape[2] if is_shape(shape) and len(shape) == 3 else 1
        if not is_shape(shape) or len(shape) not in (2, 3) or channels not in (1, 3):
            raise ValueError(
                f"image_predictions: x has rows of shape {shape}, which are not images: they must "
                "be (height, width), (height, width, 1) or (height, width, 3); reshape x, or leave "
                "the plugin out"
            )
        labels = getattr(network.targets, "labels", None)
        if not isinstance(labels, Labels) or labels.kind == "multilabel":
            raise ValueError(
                "image_predictions: y is not one class per row, and the plugin shows classes only; "
                "leave it out"
            )
        feed = session.feed if session.validation is None else session.validation
        x, y = (np.asarray(part) for part in feed.first()[:2])
        count = self.rows * self.columns
        self._images = x[: max(count, network.fixed_rows or 0)]
        index = y.argmax(axis=1) if labels.one_hot else y.reshape(len(y)).astype(int)
        self._true = labels.classes[index[:count]]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Draw the picture if one is due, and write it."""
        if (epoch + 1) % self.every_epochs:
            return
        import matplotlib.pyplot as plt

        from trainer.plots import plot_images

        network = self.session.network
        with network.ambient(), globals_kept(), model_kept(network.core, network.program.watch):
            outputs = network.predict(self._images)
        targets: Any = network.targets
        outputs = as_probabilities(outputs, network.readings)
        predicted = targets.choose(outputs)[: len(self._true)]
        images = self._images[: len(self._true)]
        axes = plot_images(images, self._true, predicted, rows=self.rows, columns=self.columns)
        figure = axes[0, 0].figure
        right = int(np.sum(predicted == self._true))
        figure.suptitle(f"epoch {epoch + 1}: {right} of {len(self._true)} right", fontsize=10)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=120)
        plt.close(figure)
        file = self._place / f"epoch_{epoch + 1:04d}.png"
        if not self.session.may_write(file):
            return
        try:
            self._place.mkdir(parents=True, exist_ok=True)
            write_whole(file, picture.getvalue(), follow_links=self.folder is not None)
        except OSError as error:
            warnings.warn(f"image_predictions: {error}; training continues", stacklevel=2)

    def teardown(self) -> None:
        """Release the images."""
        self._images = self._true = np.empty(0)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: a picture is a function of the weights."""
        return {}
