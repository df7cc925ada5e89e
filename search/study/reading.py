"""Reading the file of a study without its search: in any process, while it runs too.

Responsible for a consistent view of study.sqlite that changes nothing in the folder. Not for
writing it (`storage`), nor for what is made of it.

A search that runs keeps a write-ahead log beside the file, and SQLite then shows each reader the
state as of its first query. Without a log nobody writes: the file is opened as immutable, so that
SQLite needs no right to write beside it, and is read again if a search began meanwhile.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from search.space import Point, Space, recorded_before
from search.study.database import (
    FORMAT,
    NAME,
    SIDE_FILES,
    TABLES,
    UNREADABLE,
    checksum,
    explained,
)
from search.study.storage import Trial
from trainer.utils.checks import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

ATTEMPTS = 20  # to read a file that a search begins to write in that moment
NAMED = 5  # maximum number of damaged trials that an error names

Found = TypeVar("Found")


@dataclass
class Recorded:
    """What the file of a study holds.

    Attributes:
        directory: of the study.
        values: the study's own values, by name.
        space: with texts in place of objects.
        trials: all trials, in the order they were asked for.
        seconds: of fitting and scoring by trial, for those that have ended.
        last_epochs: the number of the last epoch by trial, the mean over its fits.
        frames: the tables folds and epochs of a study without a file; None: they are in the file.
    """

    directory: Path
    values: dict[str, Any]
    space: Space
    trials: list[Trial]
    seconds: dict[int, float] = field(default_factory=dict)
    last_epochs: dict[int, float] = field(default_factory=dict)
    frames: dict[str, pd.DataFrame] | None = None

    @property
    def description(self) -> dict[str, Any]:
        """What the search wrote about itself."""
        found: dict[str, Any] = self.values["description"]
        return found

    def frame(self, table: str) -> pd.DataFrame:
        """Return the rows of folds or epochs of the trials that had ended, a column per metric."""
        if self.frames is not None:
            return self.frames[table]
        ended = [t.id for t in self.trials if t.state not in ("waiting", "running")]
        last = max(ended, default=-1)
        names = list(TABLES[table].columns)
        query = f"select {', '.join(names)} from {table} where trial <= ?"
        rows = _read(self.directory / NAME, lambda d: d.execute(query, (last,)).fetchall())
        known = set(ended)
        return framed([row for row in rows if row[0] in known], names)


def framed(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> pd.DataFrame:
    """Return rows of folds or epochs as a table, with one column per metric.

    Args:
        rows: as they are in the file.
        names: of their columns; the one named metrics holds JSON.
    """
    import pandas as pd

    place = list(names).index("metrics")
    found = pd.DataFrame.from_records(
        [(*row[:place], *row[place + 1 :]) for row in rows],
        columns=[name for name in names if name != "metrics"],
        coerce_float=True,
    )
    metrics = pd.DataFrame([json.loads(row[place]) for row in rows], index=found.index)
    return found.join(metrics.drop(columns=[c for c in metrics if c in found]))


def read(directory: Any) -> Recorded:
    """Read a study.

    Args:
        directory: of the study.

    Raises:
        TypeError: not the name of a folder.
        ValueError: it holds no study, one of a later version, one that has not begun, or it is
            damaged.
        OSError: it cannot be read.
    """
    if not isinstance(directory, (str, os.PathLike)) or not str(directory):
        raise TypeError(
            f"directory={directory!r}: must be the name of a study's folder; write "
            "load_study('studies/first')"
        )
    path = Path(os.path.abspath(directory))
    if path.name == NAME:
        path = path.parent
    if not (path / NAME).is_file():
        raise ValueError(f"directory={str(directory)!r}: {_missing(path)}")
    values, rows, seconds, epochs = _read(path / NAME, lambda d: _everything(d, path))
    if "description" not in values:
        raise ValueError(
            f"directory={str(path)!r}: the study has not begun yet; load it when its first trial "
            "has started"
        )
    space = _space(values, rows)
    return Recorded(
        path, values, space, [_trial(row, space, path) for row in rows], seconds, epochs
    )


def _missing(path: Path) -> str:
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        return f"there is no such folder; {did_you_mean(path.name, beside)}"
    inner = sorted(p.parent.name for p in path.glob(f"*/{NAME}"))
    if inner:
        return f"holds no study itself, but its folders do; write {str(path / inner[0])!r}"
    return f"holds no study ({NAME} is missing); write the directory= of a search"


def _space(values: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Space:
    if "space" in values:
        return Space.recorded(values["space"])
    texts = values["description"]["space"]
    found = recorded_before(texts)
    if found is not None:
        return found
    # objects of unknown classes in a study of an earlier version: by the values of its trials
    domains = []
    for name, text in texts.items():
        alone = recorded_before({name: text})
        if alone is not None:
            domains.append({"name": name, **alone.described()["domains"][0]})
            continue
        known: dict[int, str] = {}
        for row in rows:
            value = row["params"].get(name)
            if isinstance(value, dict):
                known[value["choice"]] = value.get("value", f"choice {value['choice']}")
            elif value is not None and value not in known.values():
                known[len(known)] = value
        size = max(known, default=0) + 1
        listed = [known.get(i, f"choice {i}") for i in range(size)]
        domains.append({"name": name, "kind": "Choice", "values": listed})
    return Space.recorded({"domains": domains})


def _trial(row: dict[str, Any], space: Space, path: Path) -> Trial:
    try:
        params: Point = space.from_json(row["params"])
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(
            f"directory={str(path)!r}: {NAME} holds trial {row['id']} with values outside the "
            f"space ({error!r}); restore a backup copy"
        ) from error
    return Trial(**row | {"params": params})


# ---- the file ------------------------------------------------------------------------------------


def _read(path: Path, query: Callable[[sqlite3.Connection], Found]) -> Found:
    try:
        for _ in range(ATTEMPTS):
            with _opened(path) as (database, quiet):
                found = query(database)
                if quiet():
                    return found
    except UNREADABLE as error:
        raise explained(error, path) from error
    raise OSError(f"directory={str(path.parent)!r}: {NAME} changes too fast to be read; try again")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[sqlite3.Connection, Callable[[], bool]]]:
    """Open the file in one state, with a function that says whether it is still that one."""
    before = path.stat()
    log, memory, journal = (path.with_name(name) for name in SIDE_FILES)
    if journal.exists() and journal.stat().st_size:
        mode = "rw"  # a killed write must be rolled back first
    elif log.exists() and (memory.exists() or os.access(path.parent, os.W_OK)):
        mode = "ro"
    else:
        mode = "ro&immutable=1"

    def quiet() -> bool:
        after = path.stat()
        unchanged = (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
        return "immutable" not in mode or (unchanged and not log.exists())

    with closing(sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True)) as database:
        database.isolation_level = None
        database.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        database.execute("begin")  # all queries see one state
        yield database, quiet


def _everything(
    database: sqlite3.Connection, path: Path
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[int, float], dict[int, float]]:
    tables = {r[0] for r in database.execute("select name from sqlite_master where type='table'")}
    if not set(TABLES) <= tables:
        raise ValueError(
            f"directory={str(path)!r}: {NAME} in it is not a study (its tables: "
            f"{', '.join(sorted(tables)[:NAMED]) or 'none'}); write the directory= of a search"
        )
    row = database.execute("select value from study where name = 'format'").fetchone()
    text = row[0] if row else "missing"
    if not text.isdigit() or int(text) > FORMAT:
        raise ValueError(
            f"directory={str(path)!r}: {NAME} has format {text}, and this version reads 1 to "
            f"{FORMAT}; install the version that wrote it"
        )
    sums = int(text) > 1
    values = {r["name"]: json.loads(r["value"]) for r in _checked(database, "study", path, sums)}
    rows = _checked(database, "trials", path, sums)
    for found in rows:
        for name in ("params", "metrics"):
            found[name] = json.loads(found[name])
        found["outcome"] = json.loads(found.get("outcome") or "{}")
        found["memo"] = None  # the proposer's own
    seconds = dict(
        database.execute("select trial, sum(fit_seconds + score_seconds) from folds group by trial")
    )
    epochs = dict(
        database.execute(
            "select trial, avg(last) from (select trial, max(epoch) as last from epochs "
            "group by trial, fold, execution) group by trial"
        )
    )
    return values, rows, seconds, epochs


def _checked(
    database: sqlite3.Connection, table: str, path: Path, sums: bool
) -> list[dict[str, Any]]:
    """Return the rows of a table, with the columns that the file has."""
    there = {r[1] for r in database.execute(f"pragma table_info({table})")}
    names = [name for name in TABLES[table].columns if name in there]
    chosen = ", ".join([*names, *(["checksum"] if sums else [])])
    rows = database.execute(f"select {chosen} from {table} order by {names[0]}").fetchall()
    if sums:
        damaged = [str(row[0]) for row in rows if row[-1] != checksum(table, row[:-1])]
        if damaged:
            raise ValueError(
                f"directory={str(path)!r}: {NAME} is damaged: {len(damaged)} of {len(rows)} rows "
                f"of the table {table} do not match their checksums, those of "
                f"{', '.join(damaged[:NAMED])}; restore a backup copy"
            )
    return [dict(zip(names, row, strict=False)) for row in rows]
