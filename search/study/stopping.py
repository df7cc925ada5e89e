"""Early stopping within a search: what it watches in a fold, and how long the refit trains.

Responsible for the rows that callbacks of a fold watch, for the epoch whose weights a fit kept, and
for an estimator that trains a fixed number of epochs. Not for the callbacks themselves.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from search.study.data import Data, Split
from trainer import callbacks
from trainer.base import Trainer
from trainer.models import Chosen

WATCHED = 0.1  # share of a fold's training rows that callbacks watch, if no other is set
KEPT = "kept_epoch"  # the metric that holds the epoch whose weights a fit kept


def watches(trainer: Trainer, chosen: Chosen | None) -> bool:
    """Return whether a callback of a Trainer, or of its architecture, watches a log.

    Args:
        trainer: of the fold.
        chosen: the architecture that it trains.
    """
    if chosen is not None and chosen.values.early_stopping is not None:
        return True
    return any(hasattr(c, "monitor") for c in callbacks.make_all(trainer.configure_callbacks()))


def with_watched_rows(data: Data, groups: np.ndarray, seed: int, share: float = WATCHED) -> Data:
    """Hold out some groups of rows for callbacks to watch.

    Args:
        data: a fold's training rows.
        groups: the group of each row [n].
        seed: of the draw.
        share: of the groups.
    """
    from sklearn.model_selection import GroupShuffleSplit

    cut = GroupShuffleSplit(1, test_size=share, random_state=seed % 2**32)
    train, watched = next(cut.split(np.arange(data.n), groups=groups))
    return data.held((train, watched))


def with_last_rows(data: Data, split: Split, share: float = WATCHED) -> Data:
    """Hold out the last rows for callbacks to watch, where a fold is tested on later rows.

    The rows before them keep the distance that the splitter left before its test rows.

    Args:
        data: a fold's training rows.
        split: the numbers of these rows, in order, and of those to test on.
        share: of the rows.
    """
    rows, tested = split
    kept = max(len(rows) - math.ceil(share * len(rows)), 1)
    gap = tested.min() - rows.max() - 1
    before = np.flatnonzero(rows[:kept] + gap < rows[kept])
    if len(before) == 0:
        before = np.arange(kept)  # too few rows for the gap
    return data.held((before, np.arange(kept, len(rows))))


def in_order_of_time(splits: Sequence[Split]) -> bool:
    """Return whether a splitter tests on rows later than all that it trains on, in each split.

    A single split without a gap does not count: it may be any rows and the others.
    """
    gaps = [int(tested.min()) - int(rows.max()) - 1 for rows, tested in splits]
    sorted_rows = all(len(rows) > 1 and (np.diff(rows) > 0).all() for rows, _ in splits)
    return sorted_rows and min(gaps, default=-1) >= 0 and (len(splits) > 1 or gaps[0] > 0)


def kept_epoch(trainer: Trainer) -> int | None:
    """Return the epoch whose weights a fit kept; None if no callback chooses one.

    An architecture's own early stopping does not count here: the refit has it too.
    """
    added = trainer.added_callbacks_
    given = [c for c in trainer.callbacks_ if not any(c is own for own in added)]
    return _kept_by(given, trainer)


def _kept_by(listed: Sequence[Any], trainer: Trainer) -> int | None:
    import keras

    from trainer.callbacks.early_stopping import EarlyStopping

    kept = None
    for callback in listed:
        if isinstance(callback, EarlyStopping):
            kept = callback.best_epoch_ if callback.restore_best else _last_epoch(trainer)
        elif isinstance(callback, keras.callbacks.EarlyStopping):
            restored = callback.restore_best_weights and callback.best_epoch is not None
            kept = callback.best_epoch + 1 if restored else _last_epoch(trainer)
        elif getattr(callback, "restore_best", False):  # a checkpoint
            kept = callback.best_epoch_
    return kept


def _last_epoch(trainer: Trainer) -> int:
    return int(trainer.history_.records[-1]["epoch"])


def kept_logs(trainer: Trainer) -> dict[str, float]:
    """Return the logs of the epoch whose weights a fit kept, or else of the last one."""
    epoch = _kept_by(trainer.callbacks_, trainer) or _last_epoch(trainer)
    found = next((r for r in trainer.history_.records if r["epoch"] == epoch), None)
    return dict(trainer.history_.records[-1] if found is None else found)


@contextlib.contextmanager
def no_early_stopping(trainer: Trainer) -> Iterator[None]:
    """Leave out the callbacks that end a training early, which would need rows to watch.

    The field callbacks is what it was at the end, so that the estimator keeps its parameters.
    """
    given = trainer.callbacks
    listed = [spec for spec in trainer.callbacks if not _stops(callbacks.make(spec))]
    trainer.set_params(callbacks=listed)
    if any(map(_stops, callbacks.make_all(trainer.configure_callbacks()))):
        warnings.warn(
            f"refit=True: {type(trainer).__name__}.configure_callbacks adds early stopping, so the "
            "refit may end before the epochs that the trials needed; move it to callbacks=",
            stacklevel=6,
        )
    try:
        yield
    finally:
        trainer.callbacks = given


def _stops(callback: Any) -> bool:
    import keras

    from trainer.callbacks.early_stopping import EarlyStopping

    return isinstance(callback, (EarlyStopping, keras.callbacks.EarlyStopping))
