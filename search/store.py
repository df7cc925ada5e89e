"""The study on disk: one SQLite file, the only truth for resuming.

Responsible for what is written when, and for reading it back. Not for deciding anything.

A trial's end, its metrics and the proposer's state are one transaction, so that a killed
coordinator never knows of a trial that its proposer does not, or the other way round. The file can
be read while it is written (WAL): `pandas.read_sql("select * from trials", sqlite3.connect(file))`.

Tables, format 1:

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
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.space import Space
from search.trial import Fold

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
NAME = "study.sqlite"

_SCHEMA = """
create table study (name text primary key, value text not null) without rowid;
create table trials (
    id integer primary key,
    key text not null unique,
    state text not null check (state in ('waiting', 'running', 'completed', 'failed')),
    score real,
    params text not null,
    epochs integer,
    parent integer references trials (id),
    rung integer,
    seed integer not null,
    attempts integer not null default 0,
    started real,
    ended real,
    metrics text not null default '{}',
    error text
);
create table folds (
    trial integer not null references trials (id),
    fold integer not null,
    execution integer not null,
    score real,
    metrics text not null,
    fit_seconds real not null,
    score_seconds real not null,
    primary key (trial, fold, execution)
) without rowid;
create table epochs (
    trial integer not null references trials (id),
    fold integer not null,
    execution integer not null,
    epoch integer not null,
    metrics text not null,
    primary key (trial, fold, execution, epoch)
) without rowid;
"""


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


class Store:
    """A study's file, open for writing.

    Args:
        folder: an existing folder, in which no other coordinator works.
        space: of the study; it writes the values of parameters as JSON, and reads them.

    Raises:
        ValueError: the file is of a later format, or no study.
    """

    def __init__(self, folder: Path, space: Space) -> None:
        self.path = folder / NAME
        self._space = space
        new = not self.path.exists()
        self._database = sqlite3.connect(self.path, isolation_level=None)
        try:
            self._database.execute("pragma journal_mode = wal")
            # a trial that was told as finished must be so after a power cut
            self._database.execute("pragma synchronous = full")
            self._database.execute("pragma foreign_keys = on")
            if new or not self._tables():
                with self.transaction():
                    for statement in _SCHEMA.split(";"):
                        self._database.execute(statement)
                    self.set("format", FORMAT)
            found = self.get("format")
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise ValueError(
                f"directory={str(folder)!r}: {NAME} in it is no study ({error}); write another "
                "directory"
            ) from error
        if found != FORMAT:
            self._database.close()
            raise ValueError(
                f"directory={str(folder)!r}: {NAME} has format {found}, and this version reads "
                f"{FORMAT}; install the version that wrote it, or write another directory"
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written within it is on disk when it ends, or nothing of it."""
        if self._database.in_transaction:
            yield  # part of the outer one
            return
        self._database.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._database.execute("rollback")
            raise
        self._database.execute("commit")

    @property
    def empty(self) -> bool:
        """Whether no trial was ever asked for."""
        return self._database.execute("select 1 from trials limit 1").fetchone() is None

    def set(self, name: str, value: Any) -> None:
        """Write one of the study's own values, as JSON."""
        self._database.execute(
            "insert into study values (?, ?) on conflict (name) do update set value = ?",
            (name, text := json.dumps(value), text),
        )

    def get(self, name: str) -> Any:
        """Read it back; None if it was never written."""
        row = self._database.execute("select value from study where name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def add(self, trial: Trial) -> None:
        """A trial that was asked for."""
        self._database.execute(
            "insert into trials (id, key, state, params, epochs, parent, rung, seed) "
            "values (?, ?, 'waiting', ?, ?, ?, ?, ?)",
            (
                trial.id,
                trial.key,
                json.dumps(self._space.to_json(trial.params)),
                trial.epochs,
                trial.parent,
                trial.rung,
                trial.seed,
            ),
        )

    def start(self, trial: int) -> None:
        """A worker begins it, perhaps again."""
        with self.transaction():
            self._database.execute(
                "update trials set state = 'running', attempts = attempts + 1, started = ? "
                "where id = ?",
                (time.time(), trial),
            )

    def end(self, trial: Trial) -> None:
        """It is over: with a score, or with the reason why there is none."""
        self._database.execute(
            "update trials set state = ?, score = ?, metrics = ?, error = ?, ended = ? "
            "where id = ?",
            (
                trial.state,
                trial.score,
                json.dumps(trial.metrics),
                trial.error,
                trial.ended,
                trial.id,
            ),
        )

    def add_folds(self, trial: int, folds: list[Fold]) -> None:
        """What the fits of a trial gave; those that are repeated replace their rows."""
        self._database.executemany(
            "insert or replace into folds values (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    trial,
                    fold.fold,
                    fold.execution,
                    fold.score,
                    json.dumps(fold.metrics),
                    fold.fit_seconds,
                    fold.score_seconds,
                )
                for fold in folds
            ],
        )
        self._database.executemany(
            "insert or replace into epochs values (?, ?, ?, ?, ?)",
            [
                (
                    trial,
                    fold.fold,
                    fold.execution,
                    int(record["epoch"]),
                    json.dumps({k: v for k, v in record.items() if k != "epoch"}),
                )
                for fold in folds
                for record in fold.epochs
            ],
        )

    def trials(self) -> list[Trial]:
        """All trials, in the order of asking."""
        names = (
            "id, key, params, seed, epochs, parent, rung, state, score, attempts, started, ended, "
            "metrics, error"
        )
        rows = self._database.execute(f"select {names} from trials order by id")
        made = [Trial(*row) for row in rows]
        for trial in made:
            trial.params = self._space.from_json(json.loads(str(trial.params)))
            trial.metrics = json.loads(str(trial.metrics))
        return made

    def epochs_trained(self, trial: int | None = None) -> int:
        """The epochs that the fits of a trial, or of all, were trained, without their parents'."""
        only = "" if trial is None else f"where e.trial = {int(trial)}"
        row = self._database.execute(
            "select count(*) from epochs e join trials t on t.id = e.trial "
            f"left join trials p on p.id = t.parent and e.epoch <= p.epochs {only} "
            f"{'and' if only else 'where'} p.id is null"
        ).fetchone()
        return int(row[0])

    def frame(self, table: str) -> pd.DataFrame:
        """The table folds or epochs, with a column a metric."""
        import pandas as pd

        found = pd.read_sql(f"select * from {table}", self._database)
        parts = pd.json_normalize(found.pop("metrics").map(json.loads).tolist())
        return found.join(parts.drop(columns=[c for c in parts if c in found]))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _tables(self) -> list[str]:
        return [r[0] for r in self._database.execute("select name from sqlite_master")]
