"""The plugin that measures weights, gradients and updates.

Responsible for a table of the statistics of each weight tensor per epoch. Measuring does not affect
the training. Not for drawing them (`tensorboard` draws histograms).
"""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from trainer.callbacks import folders
from trainer.callbacks.callback import Callback, Session
from trainer.engine.backend import tensors
from trainer.state import callback_state
from trainer.state.isolation import globals_kept, model_kept
from trainer.utils import checks
from trainer.utils.files import write_whole
from trainer.utils.text import to_csv

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("mean", "std", "norm", "zeros", "gradient_norm", "update_ratio")


class Statistics(Callback):
    """Measures each weight tensor, its gradient and its update at the end of epochs.

    Gradients and updates are always measured on the first training batch, by a training step that
    is then undone, so they are comparable between epochs.

    A measurement takes tenths of a second for a small model: if epochs are short, raise
    every_epochs.

    Attributes:
        every_epochs: epochs between two measurements.

    After fit: frame_, and statistics.csv with the same table in the run's folder.
    """

    every_epochs: int = 1

    @property
    def frame_(self) -> pd.DataFrame:
        """One row per epoch and weight tensor.

        Columns: epoch (from 1), weight (its path in the model), mean and std of its elements, norm
        (Euclidean), zeros (the share of elements that are 0), gradient_norm, and update_ratio: the
        norm of the change made by one step, divided by the norm of the tensor. About 0.001 is
        typical; far below it a layer hardly learns. NaN: no gradient, or the tensor is all zeros.
        """
        import pandas as pd

        if not hasattr(self, "_epochs"):
            raise AttributeError("frame_: there are no statistics yet; call fit first")
        index = pd.MultiIndex.from_product([self._epochs, self._weights], names=["epoch", "weight"])
        flat = self._values.reshape(-1, len(MEASURES))
        return pd.DataFrame(flat, index=index, columns=list(MEASURES)).reset_index()

    def check(self) -> None:
        """Raise an error for a bad field."""
        checks.integer("every_epochs", self.every_epochs, low=1, example=1)

    def setup(self, session: Session) -> None:
        """Take the batch, and raise an error if the model's gradients cannot be computed."""
        if session.folder is not None:
            folders.refuse_link("statistics", session.folder / "statistics.csv")
        self._sample = session.sample()
        core = session.network.core
        if type(core).train_step is keras.Model.train_step:
            return
        try:
            self._measured(core)
        except Exception as error:
            raise ValueError(
                f"statistics: the loss of {type(core).__name__} cannot be computed outside of its "
                f"train_step ({type(error).__name__}: {error}); give it a compute_loss, or leave "
                "the plugin out"
            ) from error

    def on_train_begin(self, logs: Any = None) -> None:
        """Discard the measurements of an earlier fit."""
        weights = _weights(self._core)
        self._weights = [weight.path for weight in weights]
        self._epochs: list[int] = []
        self._values = np.empty((0, len(weights), len(MEASURES)))
        self._written, self._took = 0.0, 0.0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure if due, and write the table if that costs little."""
        if (epoch + 1) % self.every_epochs:
            return
        self._epochs.append(epoch + 1)
        self._values = np.concatenate([self._values, self._measured(self._core)[None]])
        began = time.perf_counter()
        if began - self._written > folders.WRITE_SHARE * self._took:
            self._write()
            self._written = time.perf_counter()
            self._took = self._written - began

    def on_train_end(self, logs: Any = None) -> None:
        """Write the table."""
        self._write()

    def teardown(self) -> None:
        """Release the batch."""
        self._sample = None

    def state_dict(self) -> dict[str, Any]:
        """The measurements so far."""
        return {"epochs": self._epochs, "values": self._values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        epochs = list(callback_state.entry(state, "epochs", list))
        values = callback_state.entry(state, "values", np.ndarray)
        if values.shape != (len(epochs), *self._values.shape[1:]):
            raise ValueError(f"values: has the shape {values.shape}, for {len(epochs)} epochs")
        self._epochs, self._values = epochs, values

    @property
    def _core(self) -> keras.Model:
        return self.session.network.core

    def _write(self) -> None:
        if self.session.folder is None:
            return
        file = self.session.folder / "statistics.csv"
        if self.session.may_write(file):
            table = self.frame_
            rows = [
                [None if cell != cell else cell for cell in row]  # as pandas writes NaN
                for row in table.itertuples(index=False, name=None)
            ]
            text = to_csv(list(table.columns), rows)
            try:
                write_whole(file, text.encode(), follow_links=False)
            except OSError as error:
                warnings.warn(f"statistics: {error}; training continues", stacklevel=2)

    def _measured(self, model: keras.Model) -> np.ndarray:
        """The measures of each weight tensor, [weights, measures]."""
        weights = _weights(model)
        before = [_elements(weight) for weight in weights]
        network = self.session.network
        with network.ambient(), globals_kept(), model_kept(model, network.program.watch):
            norms = self._step(model)
            after = [_elements(weight) for weight in weights]
        rows = []
        for weight, old, new in zip(weights, before, after, strict=True):
            norm = np.linalg.norm(old)
            gradient = norms.get(id(weight), np.nan)
            known = norm > 0 and np.isfinite(gradient)
            ratio = np.linalg.norm(new - old) / norm if known else np.nan
            rows.append([old.mean(), old.std(), norm, np.mean(old == 0), gradient, ratio])
        return np.array(rows).reshape(len(weights), len(MEASURES))

    def _step(self, model: keras.Model) -> dict[int, float]:
        """Train on the batch for one step; return the gradient norms by the weights' ids."""
        assert self._sample is not None
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self._sample)

        def scaled() -> Any:
            y_pred = model(x, training=True) if model._call_has_training_arg else model(x)
            loss = model._compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
            )
            return model.optimizer.scale_loss(loss)

        weights = model.trainable_weights
        found = zip(tensors.gradients(scaled, weights), weights, strict=True)
        pairs = [(gradient, weight) for gradient, weight in found if gradient is not None]
        # with mixed_float16, the optimizer expects gradients of the scaled loss
        scale = float(model.optimizer.scale_loss(tensors.constant(1.0, "float32")))
        norms = {
            id(weight): float(np.linalg.norm(_elements(gradient))) / scale
            for gradient, weight in pairs
        }
        if pairs:
            model.optimizer.apply_gradients(pairs)
        return norms


def _weights(model: keras.Model) -> list[keras.Variable]:
    return [w for w in model.weights if keras.backend.is_float_dtype(w.dtype) and 0 not in w.shape]


def _elements(tensor: Any) -> np.ndarray:
    return tensors.to_numpy(tensor).astype(np.float64).ravel()
