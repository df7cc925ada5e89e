"""The plugin that shows predictions on images, epoch by epoch.

Responsible for when the picture is due and for writing it. Not for choosing and predicting the
images (`gallery`), nor for drawing them (`trainer.plots.plot_images`).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from trainer.callbacks import folders
from trainer.callbacks.callback import Callback, Session
from trainer.callbacks.gallery import Gallery
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

    def check(self) -> None:
        """Raise an error for a bad field."""
        for name in ("every_epochs", "rows", "columns"):
            checks.integer(name, getattr(self, name), low=1, example=getattr(type(self), name))

    def setup(self, session: Session) -> None:
        """Check the data, and select the images.

        Raises:
            ValueError: x does not hold images, y is not one class per row, or there is no folder.
        """
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
        owner = ("image_predictions", "leave the plugin out")
        self._gallery: Gallery | None = Gallery(owner, session, self.rows, self.columns)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Draw the picture if one is due, and write it."""
        if (epoch + 1) % self.every_epochs:
            return
        assert self._gallery is not None
        picture = self._gallery.picture(epoch)
        file = self._place / f"epoch_{epoch + 1:04d}.png"
        if not self.session.may_write(file):
            return
        try:
            self._place.mkdir(parents=True, exist_ok=True)
            write_whole(file, picture, follow_links=self.folder is not None)
        except OSError as error:
            warnings.warn(f"image_predictions: {error}; training continues", stacklevel=2)

    def teardown(self) -> None:
        """Release the images."""
        self._gallery = None

    def state_dict(self) -> dict[str, Any]:
        """Nothing: a picture is a function of the weights."""
        return {}
