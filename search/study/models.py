"""The trained models of the best trials, in a study's directory.

Responsible for writing a model where a trial ends, for deleting those that are no longer among the
best, and for loading one. Not for choosing when (`evaluation` writes, the coordinator's callbacks
delete).

A trial has a folder in models/, with one file for each of its fits: 0-0.keras is that of the first
split and the first execution. A Trainer is saved as it saves itself, and nothing of that file is
executed when it is loaded. Other estimators are pickled: load these only if you trust the
directory.
"""

from __future__ import annotations

import contextlib
import heapq
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search.study.callbacks import SearchCallback, Study
from search.study.storage import SCORED, Trial
from search.study.trial_folders import TrialFolders
from trainer.base import Trainer
from trainer.utils.files import write_whole

MODELS = "models"  # the folder in a study's directory
OWN, PICKLED = ".keras", ".pickle"


def save(folder: Path, fold: int, execution: int, estimator: Any) -> None:
    """Write the model of one fit; an earlier one is replaced.

    Args:
        folder: of the trial.
        fold: number of the split.
        execution: number of the repetition.
        estimator: fitted.

    Raises:
        OSError: it cannot be written.
        TypeError: an estimator that is not a Trainer cannot be pickled.
    """
    path = folder / f"{fold}-{execution}"
    if isinstance(estimator, Trainer):
        estimator.save(path.with_suffix(OWN))
        return
    import cloudpickle

    try:
        content = cloudpickle.dumps(estimator)
    except Exception as error:  # whatever an object raises that does not pickle
        raise TypeError(
            f"keep_models: {type(estimator).__name__} cannot be pickled ({error}); write "
            "keep_models=0"
        ) from error
    write_whole(path.with_suffix(PICKLED), content)


def files(folder: Path) -> list[Path]:
    """Return the files of a trial's models, by split and execution."""
    found = [p for p in folder.iterdir() if p.suffix in (OWN, PICKLED) and p.stem[:1].isdigit()]
    return sorted(found, key=lambda path: tuple(map(int, path.stem.split("-"))))


def load(path: Path, kind: Any, *, trust: bool) -> Any:
    """Load one model.

    Args:
        path: of the file.
        kind: the Trainer's class, or None for Classifier and Regressor, which the file names.
        trust: whether to unpickle an estimator that is not a Trainer.

    Raises:
        TypeError: the class is needed, and it was not given.
        ValueError: the file would be unpickled without trust, or is damaged.
    """
    if path.suffix == PICKLED:
        if not trust:
            raise ValueError(
                f"{str(path)!r}: a pickled estimator, which may run code when it is loaded; write "
                "trust=True if you trust everybody who can write to this directory"
            )
        import cloudpickle

        return cloudpickle.loads(path.read_bytes())
    if kind is None:
        from trainer.estimators import Classifier, Regressor
        from trainer.saving import owner_of

        owner = owner_of(path)
        known = {c.__name__: c for c in (Classifier, Regressor, Trainer)}
        if owner not in known:
            raise TypeError(
                f"{str(path)!r}: was saved by the class {owner}, which makes its network; pass it, "
                f"load_model(trial, {owner}), or read the file with keras.models.load_model"
            )
        kind = known[owner]
    return kind.load(path)


class KeepModels(SearchCallback):
    """Keep the models of the best trials, and delete the others.

    Args:
        folders: of the models.
        most: how many trials' models to keep.
        merit: returns what a trial is compared by; higher is better.
    """

    def __init__(
        self, folders: TrialFolders, most: int, merit: Callable[[Trial], tuple[float, ...]]
    ) -> None:
        self._folders = folders
        self._most = most
        self._merit = merit

    def on_search_begin(self, study: Study) -> None:
        """Finish deletions of a killed search."""
        with self._warn_on_failure():
            self._folders.clean()
        self._tidy(study)

    def on_trial_end(self, study: Study, trial: Trial) -> None:
        """Delete the trial's models, or those of one that it has pushed out."""
        self._tidy(study)

    def _tidy(self, study: Study) -> None:
        completed = [t for t in study.trials if t.state in SCORED and t.score is not None]
        best = heapq.nlargest(self._most, completed, key=lambda t: (*self._merit(t), -t.id))
        kept = {trial.id for trial in best}
        for number in self._folders.numbers():
            trial = study.trials[number] if number < len(study.trials) else None
            if number in kept or (trial is not None and trial.state in ("waiting", "running")):
                continue
            with self._warn_on_failure():
                self._folders.discard(number)

    @contextlib.contextmanager
    def _warn_on_failure(self) -> Any:
        try:
            yield
        except OSError as error:  # not a reason to end a search
            warnings.warn(
                f"{str(self._folders.path)!r}: models that are no longer among the best could not "
                f"be deleted ({error})",
                stacklevel=4,
            )
