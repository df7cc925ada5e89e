"""The plugin that writes logs for TensorBoard.

Responsible for where to write, for the logs of batches, for images, and for a step count that
continues when a run resumes. Not for the rest, which keras.callbacks.TensorBoard does.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras

from trainer.callbacks import folders
from trainer.callbacks.callback import Callback, Session
from trainer.callbacks.gallery import Gallery
from trainer.utils.checks import boolean, integer

_EVENTS = ["train/events.out.tfevents.*", "validation/events.out.tfevents.*"]


class TensorBoard(Callback):
    """Writes scalars, the model's graph, histograms and images: `trainer tensorboard FOLDER`.

    The tags are those of keras.callbacks.TensorBoard: epoch_loss, epoch_learning_rate and so on in
    the runs train and validation, indexed by epoch from 0; with every_n_batches also batch_loss and
    so on, indexed by batch over the whole training, each the mean over its epoch so far. A resumed
    run continues both counts. Epochs that a killed run had written and that are trained again are
    written again, with the same values; TensorBoard shows them once (twice with
    --load_fast=false).

    The graph shows the layers of a Sequential or functional model; other models have none.

    Attributes:
        log_dir: the folder. None: tensorboard/ in the run's folder. It is an error if it holds
            events of another run, because TensorBoard would draw both as one line.
        histogram_freq: epochs between two histograms of all weights; 0: no histograms.
        image_freq: epochs between two pictures of images with their true and predicted classes, as
            of the plugin image_predictions; 0: no pictures. One takes about half a second.
        write_graph: whether to write the graph of the model.
        every_n_batches: batches between two logs; 0: only log epochs. Each log costs a dispatch.
    """

    name = "tensorboard"

    PATHS = ("log_dir",)

    log_dir: str | Path | None = None
    histogram_freq: int = 0
    image_freq: int = 0
    write_graph: bool = True
    every_n_batches: int = 0  # type: ignore[misc]

    def check(self) -> None:
        """Raise an error for a bad field, or if TensorBoard is not installed."""
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "callbacks=['tensorboard']: the package tensorboard is not installed; install it "
                "with `pip install tensorboard`"
            )
        integer("histogram_freq", self.histogram_freq, low=0, example=1)
        integer("image_freq", self.image_freq, low=0, example=1)
        integer("every_n_batches", self.every_n_batches, low=0, example=100)
        boolean("write_graph", self.write_graph)

    def setup(self, session: Session) -> None:
        """Claim the folder."""
        owner = ("tensorboard", "leave image_freq out")
        self._gallery = Gallery(owner, session, 3, 6) if self.image_freq else None
        path = folders.place("log_dir", self.log_dir, "tensorboard", session)
        self._own = folders.OwnFolder("log_dir", path, session, _EVENTS)
        self._keras: Any = None

    def teardown(self) -> None:
        """Close the files."""
        self._gallery = None
        writer = self.__dict__.pop("_keras", None)
        if writer is not None:
            writer.on_train_end()
        own = self.__dict__.pop("_own", None)
        if own is not None:
            own.release()

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the files, and write the graph."""
        self._before = self._steps = 0  # batches of earlier epochs and of this one
        if self.session.given_back or not self._own.held():
            return
        self._keras = keras.callbacks.TensorBoard(
            self._own.path, histogram_freq=self.histogram_freq, write_graph=self.write_graph
        )
        self._keras.set_model(self.model)
        self._keras.on_train_begin()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Add the batches of the last epoch to the count."""
        self._before, self._steps = self._before + self._steps, 0

    def on_chunk_end(self, steps: int, logs: dict[str, float]) -> None:
        """Count batches, and flush their logs: the next saved state relies on them."""
        self._steps = steps
        if self.every_n_batches and self._writes():
            self._flush()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Write the logs of a batch; not called if every_n_batches is 0."""
        import tensorflow as tf

        step = self._before + batch
        due = self.every_n_batches and (batch + 1) % self.every_n_batches == 0
        if due and self._writes():
            with self._keras._train_writer.as_default():
                for name, value in (logs or {}).items():
                    tf.summary.scalar(f"batch_{name}", value, step=step)

    def on_test_end(self, logs: Any = None) -> None:
        """Write the validation results, indexed by the optimizer's iterations."""
        if self._writes():
            self._keras.on_test_end(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the logs of the epoch, the learning rate, and what else is due."""
        if self._writes():
            self._keras.on_epoch_end(epoch, logs)
            if self._gallery is not None and not epoch % self.image_freq:
                self._write_image(epoch, self._gallery.picture(epoch))
            self._flush()

    def state_dict(self) -> dict[str, Any]:
        """The count of batches."""
        return {"_before": self._before, "_steps": self._steps}

    def _write_image(self, epoch: int, picture: bytes) -> None:
        import tensorflow as tf

        with self._keras._train_writer.as_default():
            image = tf.io.decode_png(picture, channels=3)[None]
            tf.summary.image("predictions", image, step=epoch)

    def _writes(self) -> bool:
        return self._keras is not None and self._own.held()

    def _flush(self) -> None:
        # TensorFlow may buffer for two minutes, and a kill would leave a gap
        for writer in self._keras._writers.values():
            writer.flush()
