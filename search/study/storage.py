"""The study on disk: one SQLite file, the only source for resuming.

Responsible for what is written when, and for reading it back. Not for decisions, nor for the file
itself, its checksums and its faults (`database`).

A trial's end, its metrics and the proposer's state are one transaction, so that a killed
coordinator never knows a trial that its proposer does not, or vice versa. The file can be read
while it is written (WAL): `pandas.read_sql("select * from trials", sqlite3.connect(file))`.

The module `search.store` describes the tables.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.space import Space
from search.study.database import FORMAT, NAME, TABLES, Database
from search.study.trial import Fold

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ENDED", "FORMAT", "NAME", "SCORED", "Store", "Trial"]

SCORED = ("completed", "pruned")  # the states of trials with a score
ENDED = ("completed", "failed", "pruned")  # the states of trials that have ended


@dataclass
class Trial:
    """A row of the table trials, as a Python object.

    Attributes: those of the table, which `search.store` describes.
    """

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
    asked: int | None = None
    told: int | None = None
    memo: Any = None
    outcome: dict[str, Any] = field(default_factory=dict)

    @property
    def feasible(self) -> bool:
        """Whether it meets the constraints of the search, if there are any."""
        return all(violation <= 0 for violation in self.outcome.get("violations", ()))


ATTRIBUTES = "attributes of trial "  # name of a study's value: those of one trial, as a dict
_COLUMNS = list(TABLES["trials"].columns)
_TRIALS = f"select {', '.join(_COLUMNS)} from trials"


class Store:
    """A study's file, open for writing.

    Args:
        folder: an existing folder that no other coordinator uses.
        space: of the study, to convert the values of parameters to JSON and back.
        check: called before each write; raises if another process has taken the folder.

    Attributes:
        path: the file.
        migrated: whether it had the format of an earlier version.

    Raises:
        ValueError: the file has a later format, is not a study, or is damaged.
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
        """Save everything that is written within the block when it ends, or none of it.

        Args:
            durable: whether it must survive a power cut.
        """
        with self._database.transaction(durable=durable):
            yield

    @property
    def empty(self) -> bool:
        """Whether no trial was ever asked for."""
        return not self._database.select("select 1 from trials limit 1")

    @property
    def count(self) -> int:
        """The number of trials that were asked for."""
        return int(self._database.select("select count(*) from trials")[0][0])

    @property
    def held(self) -> bool:
        """Whether the file is still there, and no other search has taken it over."""
        return self._database.held

    @property
    def unused(self) -> bool:
        """Whether this object created the file, nothing is in it, and nobody else opened it."""
        return self._database.created and self.held and self.empty

    def set(self, name: str, value: Any) -> None:
        """Write one of the study's own values, as JSON."""
        with self.transaction():
            self._database.put("study", (name, json.dumps(value)))

    def get(self, name: str) -> Any:
        """Return a value written by `set`; None if there is none."""
        rows = self._database.select("select value from study where name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    def attributes(self) -> dict[int, dict[str, Any]]:
        """Return the attributes that trials have set, by trial."""
        rows = self._database.select(
            "select name, value from study where name like ?", (f"{ATTRIBUTES}%",)
        )
        return {int(name.removeprefix(ATTRIBUTES)): json.loads(text) for name, text in rows}

    def add(self, trial: Trial) -> None:
        """Add a trial that was asked for."""
        with self.transaction():
            row = {
                **vars(trial),
                "state": "waiting",
                "params": json.dumps(self._space.to_json(trial.params)),
                "metrics": json.dumps(trial.metrics),
                "memo": _text(trial.memo),
                "outcome": _text(trial.outcome),
            }
            self._database.put("trials", [row[name] for name in _COLUMNS])

    def start(self, trial: int) -> None:
        """Record that a worker started the trial, perhaps not for the first time."""
        # not durable: if a power cut undoes it, the trial is started again
        with self.transaction(durable=False):
            attempts = self._row(trial)["attempts"] + 1
            self._change(trial, state="running", attempts=attempts, started=time.time())

    def end(self, trial: Trial) -> None:
        """Record the end of a trial: its score, or why it has none."""
        with self.transaction():
            self._change(
                trial.id,
                state=trial.state,
                score=trial.score,
                metrics=json.dumps(trial.metrics),
                error=trial.error,
                ended=trial.ended,
                told=trial.told,
                outcome=_text(trial.outcome),
            )

    def promote(self, trial: int) -> None:
        """Record that another trial resumes from this one, which is thus not pruned."""
        with self.transaction():
            self._change(trial, state="completed")

    def add_folds(self, trial: int, folds: list[Fold]) -> None:
        """Add the results of a trial's fits; repeated fits replace their rows."""
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
        """Move committed rows from the log into the file, durably; call it when a trial ends."""
        self._database.settle()

    def trials(self) -> list[Trial]:
        """Return all trials, in the order they were asked for.

        Raises:
            ValueError: a trial has values that are not in the space.
        """
        return [self._trial(row) for row in self._database.select(f"{_TRIALS} order by id")]

    def epochs_trained(self, trial: int | None = None) -> int:
        """Return the number of epochs trained by one trial or all, without their parents'."""
        only = "" if trial is None else f"where e.trial = {int(trial)}"
        rows = self._database.select(
            "select count(*) from epochs e join trials t on t.id = e.trial "
            f"left join trials p on p.id = t.parent and e.epoch <= p.epochs {only} "
            f"{'and' if only else 'where'} p.id is null"
        )
        return int(rows[0][0])

    def frame(self, table: str) -> pd.DataFrame:
        """Return the table folds or epochs, with one column per metric."""
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
                f"values outside the space ({error!r}); restore a backup copy, or write another "
                "directory"
            ) from error
        memo, outcome = (json.loads(found[n] or "null") for n in ("memo", "outcome"))
        read = {"params": params, "metrics": json.loads(found["metrics"]), "memo": memo}
        return Trial(**found | read | {"outcome": outcome or {}})


def _text(value: Any) -> str | None:
    """Return a value as JSON; null for nothing."""
    return json.dumps(value) if value not in (None, {}) else None
