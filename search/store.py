"""The study on disk: one SQLite file, the only truth for resuming.

Responsible for what is written when, and for reading it back. Not for deciding anything, nor for
the file itself, its checksums and what can go wrong with it (`database`).

A trial's end, its metrics and the proposer's state are one transaction, so that a killed
coordinator never knows of a trial that its proposer does not, or the other way round. The file can
be read while it is written (WAL): `pandas.read_sql("select * from trials", sqlite3.connect(file))`.

Tables, format 2; each has a column checksum, of the other values of its row:

    study    name, value            what the study is: JSON texts by name; `proposer` is its state
    trials   id                     counted from 0, in the order of asking
             key                    the proposer's name for it
             state                  waiting (asked for, not begun), running, completed, failed
             score                  of the objective; null without one
             params                 JSON: the values of the active parameters
             epochs, parent, rung   what the proposer decided: see search.proposers.Proposal
             seed                   of the trial's random numbers
             attempts               how often it was started
             started, ended         seconds since 1970
             metrics                JSON: what else was measured
             error                  the reason of a failure, with its traceback
    folds    trial, fold, execution one fit of the trial: split `fold`, repetition `execution`
             score, metrics         of that fit
             fit_seconds, score_seconds
    epochs   trial, fold, execution, epoch, metrics
                                    one row an epoch of a Trainer's fit, counted from 1

Format 1, of version 0.1.0, had no checksums; a study of it becomes one of format 2 when it is
opened. Of the study's values, `identity` marks what belongs to it in its directory, `holder` is
the search that opened it last, and `sums` are the number of rows and the sum of the checksums of
each table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.database import FORMAT, NAME, TABLES, Database
from search.space import Space
from search.trial import Fold

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FORMAT", "NAME", "Store", "Trial"]


@dataclass
class Trial:
    """A row of the table trials, as Python holds it."""

    id: int
    key: str
    params: dict[str, Any]
    seed: int
    epochs: int | None = None
    parent: int | None = None
    rung: int | None = None
    state: str = "waiting"
    score: float | None = None
    attempts: int = 0
    started: float | None = None
    ended: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None


_COLUMNS = list(TABLES["trials"].columns)
_TRIALS = f"select {', '.join(_COLUMNS)} from trials"


class Store:
    """A study's file, open for writing.

    Args:
        folder: an existing folder, in which no other coordinator works.
        space: of the study; it writes the values of parameters as JSON, and reads them.
        check: called before each write; raises if another process has taken the folder.

    Attributes:
        path: the file.
        migrated: whether version 0.1.0 wrote it.

    Raises:
        ValueError: the file is of a later format, no study, or damaged.
        OSError: it cannot be read or written.
    """

    def __init__(
        self, folder: Path, space: Space, check: Callable[[], None] = lambda: None
    ) -> None:
        self.path = folder.absolute() / NAME
        self._space = space
        self._database = Database(self.path, check)
        self.migrated = self._database.migrated

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All that is written within it is on disk when it ends, or nothing of it.

        Args:
            durable: whether also a power cut must not undo it.
        """
        with self._database.transaction(durable=durable):
            yield

    @property
    def empty(self) -> bool:
        """Whether no trial was ever asked for."""
        return not self._database.select("select 1 from trials limit 1")

    @property
    def count(self) -> int:
        """How many trials were asked for."""
        return int(self._database.select("select count(*) from trials")[0][0])

    @property
    def held(self) -> bool:
        """Whether the file is still there, and no other search has taken it over."""
        return self._database.held

    @property
    def unused(self) -> bool:
        """Whether this object made the file, nothing is in it, and nobody else has opened it."""
        return self._database.created and self.held and self.empty

    def set(self, name: str, value: Any) -> None:
        """Write one of the study's own values, as JSON."""
        with self.transaction():
            self._database.put("study", (name, json.dumps(value)))

    def get(self, name: str) -> Any:
        """Read it back; None if it was never written."""
        rows = self._database.select("select value from study where name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    def add(self, trial: Trial) -> None:
        """A trial that was asked for."""
        with self.transaction():
            row = {
                **vars(trial),
                "state": "waiting",
                "params": json.dumps(self._space.to_json(trial.params)),
                "metrics": json.dumps(trial.metrics),
            }
            self._database.put("trials", [row[name] for name in _COLUMNS])

    def start(self, trial: int) -> None:
        """A worker begins it, perhaps again."""
        # not durable: what a power cut undoes here is begun again
        with self.transaction(durable=False):
            attempts = self._row(trial)["attempts"] + 1
            self._change(trial, state="running", attempts=attempts, started=time.time())

    def end(self, trial: Trial) -> None:
        """It is over: with a score, or with the reason why there is none."""
        with self.transaction():
            self._change(
                trial.id,
                state=trial.state,
                score=trial.score,
                metrics=json.dumps(trial.metrics),
                error=trial.error,
                ended=trial.ended,
            )

    def add_folds(self, trial: int, folds: list[Fold]) -> None:
        """What the fits of a trial gave; those that are repeated replace their rows."""
        with self.transaction():
            for fold in folds:
                place = (trial, fold.fold, fold.execution)
                seconds = (fold.fit_seconds, fold.score_seconds)
                metrics = json.dumps(fold.metrics)
                self._database.put("folds", (*place, fold.score, metrics, *seconds))
                for record in fold.epochs:
                    metrics = json.dumps({k: v for k, v in record.items() if k != "epoch"})
                    self._database.put("epochs", (*place, int(record["epoch"]), metrics))

    def settle(self) -> None:
        """Move what was written into the file itself, durably; call it when a trial has ended."""
        self._database.settle()

    def trials(self) -> list[Trial]:
        """All trials, in the order of asking.

        Raises:
            ValueError: a trial has values that the space does not know.
        """
        return [self._trial(row) for row in self._database.select(f"{_TRIALS} order by id")]

    def epochs_trained(self, trial: int | None = None) -> int:
        """The epochs that the fits of a trial, or of all, were trained, without their parents'."""
        only = "" if trial is None else f"where e.trial = {int(trial)}"
        rows = self._database.select(
            "select count(*) from epochs e join trials t on t.id = e.trial "
            f"left join trials p on p.id = t.parent and e.epoch <= p.epochs {only} "
            f"{'and' if only else 'where'} p.id is null"
        )
        return int(rows[0][0])

    def frame(self, table: str) -> pd.DataFrame:
        """The table folds or epochs, with a column a metric."""
        import pandas as pd

        names = list(TABLES[table].columns)
        rows = self._database.select(f"select {', '.join(names)} from {table}")
        found = pd.DataFrame.from_records(rows, columns=names, coerce_float=True)
        parts = pd.json_normalize(found.pop("metrics").map(json.loads).tolist())
        return found.join(parts.drop(columns=[c for c in parts if c in found]))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _row(self, trial: int) -> dict[str, Any]:
        (row,) = self._database.select(f"{_TRIALS} where id = ?", (trial,))
        return dict(zip(_COLUMNS, row, strict=True))

    def _change(self, trial: int, **values: Any) -> None:
        self._database.put("trials", list((self._row(trial) | values).values()))

    def _trial(self, row: tuple[Any, ...]) -> Trial:
        found = dict(zip(_COLUMNS, row, strict=True))
        try:
            params = self._space.from_json(json.loads(found["params"]))
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(
                f"directory={str(self.path.parent)!r}: {NAME} holds trial {found['id']} with "
                f"values that are not of the space ({error!r}); put back a copy of it, or write "
                "another directory"
            ) from error
        return Trial(**found | {"params": params, "metrics": json.loads(found["metrics"])})
