"""The SQLite file of a study: rows with checksums, transactions, and errors with a remedy.

Responsible for reading back exactly what was written, or raising an error. Each row has a checksum,
and the study records the number of rows and the sum of checksums of each table, so that opening the
file detects a row that is damaged, lost, or older than the rest. Whatever SQLite reports becomes
one error that names the file and says what to do. Not for what the rows mean: that is `store`.

When a trial ends its results are moved from the write-ahead log into study.sqlite itself: SQLite
silently ignores the rest of a damaged log.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.utils.files import write_whole

FORMAT = 3
NAME = "study.sqlite"
SIDE_FILES = tuple(f"{NAME}-{end}" for end in ("wal", "shm", "journal"))  # written by SQLite
APPLICATION = 0x4B545354  # in the header of the file, from format 2 on
# SQLite's messages quote the file, and cannot be decoded if that part is damaged
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
SECONDS_UNTIL_FREE = 30.0  # how long a write waits for another program's write

_SCHEMA = """
create table study (name text primary key, value text not null,
    checksum integer not null) without rowid;
create table trials (
    id integer primary key,
    key text not null unique,
    state text not null
        check (state in ('waiting', 'running', 'completed', 'failed', 'pruned')),
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
    error text,
    asked integer,
    told integer,
    memo text,
    outcome text,
    checksum integer not null
);
create table folds (
    trial integer not null references trials (id),
    fold integer not null,
    execution integer not null,
    score real,
    metrics text not null,
    fit_seconds real not null,
    score_seconds real not null,
    checksum integer not null,
    primary key (trial, fold, execution)
) without rowid;
create table epochs (
    trial integer not null references trials (id),
    fold integer not null,
    execution integer not null,
    epoch integer not null,
    metrics text not null,
    checksum integer not null,
    primary key (trial, fold, execution, epoch)
) without rowid;
"""
# as format 2 had it; format 1 had no checksums
_SCHEMA_2 = """
create table study (name text primary key, value text not null,
    checksum integer not null) without rowid;
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
    error text,
    checksum integer not null
);
create table folds (
    trial integer not null references trials (id),
    fold integer not null,
    execution integer not null,
    score real,
    metrics text not null,
    fit_seconds real not null,
    score_seconds real not null,
    checksum integer not null,
    primary key (trial, fold, execution)
) without rowid;
create table epochs (
    trial integer not null references trials (id),
    fold integer not null,
    execution integer not null,
    epoch integer not null,
    metrics text not null,
    checksum integer not null,
    primary key (trial, fold, execution, epoch)
) without rowid;
"""
_JSON = ("value", "params", "metrics")  # columns that hold JSON


@dataclass(frozen=True)
class Table:
    """A table of the schema, without its checksum column."""

    name: str
    columns: dict[str, tuple[type, bool]]  # the type, and whether it may be null
    keys: int  # the first `keys` columns are the primary key

    def earlier(self, version: int) -> Table:
        """Return the table as a format had it: format 3 added the columns at its end."""
        names = self.columns.keys() & set(_names(version)[self.name])
        return Table(self.name, {n: v for n, v in self.columns.items() if n in names}, self.keys)

    def row(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the values as SQLite will return them."""
        return tuple(map(_stored, values, self.columns.values()))

    def where(self) -> str:
        """Return the condition that selects a row by its key."""
        return " and ".join(f"{name} = ?" for name in list(self.columns)[: self.keys])

    def upsert(self) -> str:
        """Return the statement that writes a row, replacing one with the same key."""
        names = list(self.columns)
        changed = [*names[self.keys :], "checksum"]
        return (
            f"insert into {self.name} ({', '.join(names)}, checksum) "
            f"values ({', '.join('?' * (len(names) + 1))}) "
            f"on conflict ({', '.join(names[: self.keys])}) "
            f"do update set {', '.join(f'{name} = excluded.{name}' for name in changed)}"
        )

    def damage(self, row: Sequence[Any]) -> str | None:
        """Return why we cannot have written the row (for rows without checksum), or None."""
        for value, (name, (kind, optional)) in zip(row, self.columns.items(), strict=True):
            if not (value is None and optional) and type(value) is not kind:
                return f"{name} is {_short(value)}"
            if name in _JSON:
                try:
                    found = json.loads(str(value))
                except (ValueError, RecursionError):
                    return f"{name} is not JSON"
                if name != "value" and not isinstance(found, dict):
                    return f"{name} is {_short(found)}"
                if name == "metrics" and not all(
                    v is None or isinstance(v, (int, float)) for v in found.values()
                ):
                    return f"{name} is {_short(found)}"
        return None


def _columns(**names: Any) -> dict[str, tuple[type, bool]]:
    return {
        n: (kind.__args__[0], True) if hasattr(kind, "__args__") else (kind, False)
        for n, kind in names.items()
    }


TABLES = {
    "study": Table("study", _columns(name=str, value=str), 1),
    "trials": Table(
        "trials",
        _columns(
            id=int,
            key=str,
            state=str,
            score=float | None,
            params=str,
            epochs=int | None,
            parent=int | None,
            rung=int | None,
            seed=int,
            attempts=int,
            started=float | None,
            ended=float | None,
            metrics=str,
            error=str | None,
            asked=int | None,
            told=int | None,
            memo=str | None,
            outcome=str | None,
        ),
        1,
    ),
    "folds": Table(
        "folds",
        _columns(
            trial=int,
            fold=int,
            execution=int,
            score=float | None,
            metrics=str,
            fit_seconds=float,
            score_seconds=float,
        ),
        3,
    ),
    "epochs": Table(
        "epochs", _columns(trial=int, fold=int, execution=int, epoch=int, metrics=str), 4
    ),
}


class Taken(RuntimeError):
    """The study no longer belongs to this search, which must not write to it again.

    Args:
        directory: of the study.
        why: what happened.
    """

    def __init__(self, directory: Path, why: str) -> None:
        super().__init__(
            f"directory={str(directory)!r}: {why}; this search ends, and writes nothing more "
            "there. Trials that had ended are saved. Let the other search end; then the same call "
            "resumes"
        )


class Database:
    """A study's file, open for writing; created if it does not exist.

    Args:
        path: the file, in a folder that no other search uses.
        check: called before each transaction; raises if the folder is no longer ours.

    Attributes:
        created: whether this object created the file.
        migrated: whether the file had an earlier format.

    Raises:
        ValueError: not a study, of a later format, or damaged; the message says what is intact.
        OSError: it cannot be read or written; the message says why.
    """

    def __init__(self, path: Path, check: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.migrated = False
        self._check = check
        self._holder: str | None = None
        self._sums: dict[str, list[int]] = {}
        self.created = not os.path.lexists(path)
        if self.created:
            self._create()
            found: int | None = FORMAT
        else:
            found = examine(path)
        self._file = _identity(path)
        with self._explain_errors():
            self._database = sqlite3.connect(path, isolation_level=None, timeout=SECONDS_UNTIL_FREE)
        try:
            self._run("pragma journal_mode = wal")
            if found != FORMAT:
                self._migrate(found)
            self._run("pragma foreign_keys = on")
            self._load_sums()
            mine = secrets.token_hex(8)
            with self.transaction():
                self.put("study", ("holder", json.dumps(mine)))
            self._holder = mine
            self.settle()
        except BaseException:
            self._database.close()
            raise

    # ---- reading and writing -----------------------------------------------------------------

    def select(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that a query selects."""
        with self._explain_errors():
            return self._database.execute(statement, values).fetchall()

    def put(self, table: str, values: Sequence[Any]) -> None:
        """Write a row, replacing one with the same key; only within a transaction."""
        shape = TABLES[table]
        row = shape.row(values)
        key = row[: shape.keys]
        old = self.select(f"select checksum from {table} where {shape.where()}", key)
        new = checksum(table, row)
        self._run(shape.upsert(), (*row, new))
        if (table, *key) != ("study", "sums"):
            rows, total = self._sums.setdefault(table, [0, 0])
            before = old[0][0] if old else 0
            self._sums[table] = [rows + (not old), (total + new - before) % 2**64]

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Save everything that is written within the block when it ends, or none of it.

        Args:
            durable: whether it must survive a power cut. If False it survives a killed process
                only, and does not wait for the disk.

        Raises:
            Taken: another search has taken over the study.
            OSError, ValueError: it could not be written, and none of it was.
        """
        if self._database.in_transaction:
            yield  # part of the outer one
            return
        self._check_file()
        before = {table: list(sums) for table, sums in self._sums.items()}
        self._run(f"pragma synchronous = {'full' if durable else 'normal'}")
        self._run("begin immediate")
        try:
            self._check_holder()
            yield
            self.put("study", ("sums", json.dumps(self._sums)))
            self._run("commit")
        except BaseException:
            self._sums = before
            if self._database.in_transaction:
                self._run("rollback")
            raise

    def settle(self) -> None:
        """Move committed rows from the log into the file, so that a power cut cannot undo them.

        While somebody reads an earlier state of the file they stay in the log, where they are
        just as safe.
        """
        self._run("pragma synchronous = full")
        self._run("pragma busy_timeout = 0")  # do not wait for a reader: do it next time
        try:
            ((busy, _, _),) = self.select("pragma wal_checkpoint(truncate)")
            log = self.path.with_name(SIDE_FILES[0])
            if busy and log.exists():
                _sync(log)
        finally:
            self._run(f"pragma busy_timeout = {int(SECONDS_UNTIL_FREE * 1000)}")

    @property
    def held(self) -> bool:
        """Whether the file is still there, and no other search has taken it over."""
        try:
            self._check_file()
            self._check_holder()
        except (Taken, OSError):
            return False
        return True

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # ---- its parts ---------------------------------------------------------------------------

    def _create(self) -> None:
        left = [n for n in SIDE_FILES if os.path.lexists(p := self.path.with_name(n)) and _size(p)]
        if left:
            raise ValueError(
                f"{_where(self.path)} is missing, and {' and '.join(left)} beside it may hold its "
                "newest trials; put the file back, delete these as well, or write another "
                "directory"
            )
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
            self._database = database
            self._make_tables()
            content = bytearray(database.serialize())
        content[18:20] = b"\2\2"  # in the header: uses a write-ahead log from the start
        # atomically: an SQLite file that is being created looks like a truncated one
        write_whole(self.path, bytes(content))

    def _make_tables(self) -> None:
        for statement in _SCHEMA.split(";"):
            self._run(statement)
        self._run(f"pragma application_id = {APPLICATION}")
        self._sums = {}
        self.put("study", ("format", json.dumps(FORMAT)))
        self.put("study", ("identity", json.dumps(secrets.token_hex(8))))
        self.put("study", ("sums", json.dumps(self._sums)))

    def _migrate(self, found: int | None) -> None:
        """Convert an earlier format, or a file without tables, to the present one."""
        self._run("pragma foreign_keys = off")
        with self.transaction():
            rows: dict[str, list[tuple[Any, ...]]] = {}
            for name, table in TABLES.items() if found else ():
                names = table.earlier(found or FORMAT).columns
                kept = self.select(f"select {', '.join(names)} from {name}")
                rows[name] = [
                    tuple(dict(zip(names, row, strict=True)).get(n) for n in table.columns)
                    for row in kept
                ]
            for name in reversed(rows):
                self._run(f"drop table {name}")
            self._make_tables()
            for name, earlier in rows.items():
                for row in earlier:
                    if (name, row[0]) != ("study", "format"):
                        self.put(name, row)
            if found == 1:
                self.put("study", ("unmarked", json.dumps(True)))
        self.migrated = bool(found)

    def _load_sums(self) -> None:
        ((text,),) = self.select("select value from study where name = 'sums'")
        self._sums = json.loads(text)

    def _check_file(self) -> None:
        if _identity(self.path) != self._file:
            raise OSError(
                errno.ENOENT,
                f"{_where(self.path)} was removed or replaced while the search was running, so "
                "nothing more can be saved; results_ holds the trials so far. Put it back, or "
                "write another directory",
            )
        self._check()

    def _check_holder(self) -> None:
        if self._holder is None:
            return
        found = self.select("select value from study where name = 'holder'")
        if found != [(json.dumps(self._holder),)]:
            raise Taken(self.path.parent, "another search has opened the study in the meantime")

    def _run(self, statement: str, values: Sequence[Any] = ()) -> None:
        with self._explain_errors():
            self._database.execute(statement, values)

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # a bug of ours, not a fault of the file
        except UNREADABLE as error:
            raise explained(error, self.path) from error


# ---- checking ------------------------------------------------------------------------------------


def checksum(table: str, row: Sequence[Any]) -> int:
    """Return the checksum of a row, which depends on its table, key and values."""
    text = json.dumps([table, *row], default=repr)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def examine(path: Path) -> int | None:
    """Read and check the complete file, without changing anything.

    Returns:
        Its format; None for an SQLite file to which nothing was written yet.

    Raises:
        ValueError: not a study, of another format, or damaged.
        OSError: it cannot be read.
    """
    head = _head(path)
    log, _, journal = (_size(path.with_name(name)) for name in SIDE_FILES)
    # without a log, open it as immutable: then SQLite creates no files beside it. A journal, left
    # by a killed write on a file system without a log, must be rolled back before reading.
    mode = "rw" if journal else "ro" if log else "ro&immutable=1"
    address = f"{path.as_uri()}?mode={mode}"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            # text that cannot be decoded must not keep us from reading the rest
            database.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            return _examine(database, path, head)
    except UNREADABLE as error:
        raise explained(error, path) from error


def _head(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{_where(path)} is not a file; remove it, or write another directory")
        with open(path, "rb") as file:
            head = file.read(100)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{_where(path)} cannot be read ({error.strerror}); make sure that you may read and "
            "write it, or write another directory",
        ) from error
    if not head:
        raise ValueError(
            f"{_where(path)} is empty: it was truncated, or a search was killed as it began. "
            "Restore a backup copy; or delete it if it held no trial, or write another directory"
        )
    if not head.startswith(b"SQLite format 3\0"):
        raise ValueError(
            f"{_where(path)} in it is not a study (file is not a database), or its first bytes are "
            "damaged; restore a backup copy, or write another directory"
        )
    return head


def _examine(database: sqlite3.Connection, path: Path, head: bytes) -> int | None:
    found = dict(database.execute("select name, sql from sqlite_master where type = 'table'"))
    application = int.from_bytes(head[68:72], "big")
    if not found and application == 0 and _size(path) == _page(head):
        return None
    if application != APPLICATION and not found.keys() & TABLES.keys():
        tables = ", ".join(map(repr, list(found)[:5])) or "none"
        raise ValueError(
            f"{_where(path)} in it is not a study (its tables: {tables}); write another directory"
        )
    version = _format(database, path)
    wrong = [
        f"the definition of table {name} is not that of format {version}"
        for name, sql in _definitions(version).items()
        if found.get(name) != sql
    ]
    wrong += _integrity(database)
    rows = {name: _rows(database, name, version, wrong) for name in TABLES}
    ids = {row[0] for row in rows["trials"]}
    gaps = [str(i) for i in range(len(ids)) if i not in ids]
    if gaps:
        wrong.append(f"trial {' and '.join(gaps[:5])} is missing")
    wrong += [
        f"a row of {table} names a trial that does not exist"
        for table, *_ in database.execute("pragma foreign_key_check").fetchmany(3)
    ]
    trials = _damaged(rows, version, wrong)
    if wrong or trials:
        raise ValueError(_damage_report(path, rows, wrong, trials))
    return version


def _format(database: sqlite3.Connection, path: Path) -> int:
    row = database.execute("select value from study where name = 'format'").fetchone()
    text = row[0] if row else None
    if text is None or text not in [str(n) for n in range(1, FORMAT + 1)]:
        raise ValueError(
            f"{_where(path)} has format {_short(text)}, and this version reads 1 to {FORMAT}; "
            "install the version that wrote it, or write another directory. If this version wrote "
            "it, the file is damaged: restore a backup copy"
        )
    return int(text)


def _definitions(version: int) -> dict[str, str]:
    with closing(_empty(version)) as database:
        return dict(database.execute("select name, sql from sqlite_master where type = 'table'"))


@functools.cache
def _names(version: int) -> dict[str, list[str]]:
    """Return the names of the columns of each table."""
    with closing(_empty(version)) as database:
        return {
            name: [row[1] for row in database.execute(f"pragma table_info({name})")]
            for name in TABLES
        }


def _empty(version: int) -> sqlite3.Connection:
    schema = _SCHEMA if version == FORMAT else _SCHEMA_2
    if version == 1:
        schema = re.sub(r",\n    checksum integer not null", "", schema)
    database = sqlite3.connect(":memory:")
    database.executescript(schema)
    return database


def _integrity(database: sqlite3.Connection) -> list[str]:
    try:
        lines = [row[0] for row in database.execute("pragma integrity_check(5)")]
    except UNREADABLE as error:
        return [f"SQLite says: {error}"]
    said = "; ".join(" ".join(str(line).split()) for line in lines)
    return [] if lines == ["ok"] else [f"SQLite says: {said}"]


def _rows(
    database: sqlite3.Connection, name: str, version: int, wrong: list[str]
) -> list[tuple[Any, ...]]:
    """Return all rows that can be read, each with its checksum last if the format has them."""
    columns = [*TABLES[name].earlier(version).columns, *(["checksum"] if version > 1 else [])]
    found: list[tuple[Any, ...]] = []
    try:
        found.extend(database.execute(f"select {', '.join(columns)} from {name}"))
    except UNREADABLE as error:
        wrong.append(f"table {name} could be read only up to row {len(found)} ({error})")
    return found


def _damaged(
    rows: dict[str, list[tuple[Any, ...]]], version: int, wrong: list[str]
) -> dict[Any, list[str]]:
    """Return the damage by trial, and append damage to the study itself to `wrong`."""
    trials: dict[Any, list[str]] = {}
    sums: dict[str, list[int]] = {}
    for name in TABLES:
        table = TABLES[name].earlier(version)
        for row in rows[name]:
            why: str | None = None
            if version == 1:
                why = table.damage(row)
            else:
                # its type is that of a row as stored, with the checksum at its end
                *row, written = row  # type: ignore[assignment]
                if written != checksum(name, row):
                    why = "its checksum does not match"
                elif (name, row[0]) == ("study", "sums"):
                    sums = json.loads(row[1])
            if why is None:
                continue
            if name == "study":
                wrong.append(f"the study's value {_short(row[0])} is damaged ({why})")
            else:
                what = dict(zip(list(table.columns)[1 : table.keys], row[1:], strict=False))
                place = "".join(f", {n} {_short(v)}" for n, v in what.items())
                trials.setdefault(row[0], []).append(f"its row in {name}{place}: {why}")
    if version > 1 and not wrong and not sums:
        wrong.append("the study's value 'sums' is missing")
    for name, (n, total) in sums.items():
        own = [r for r in rows[name] if (name, r[0]) != ("study", "sums")]
        if len(own) != n:
            wrong.append(f"table {name} has {len(own)} rows instead of {n}")
        elif not trials and not wrong and sum(r[-1] for r in own) % 2**64 != total:
            wrong.append(f"table {name} holds rows of an earlier version of the file")
    return trials


def _damage_report(
    path: Path,
    rows: dict[str, list[tuple[Any, ...]]],
    wrong: list[str],
    trials: dict[Any, list[str]],
) -> str:
    """Describe what is damaged, what is intact, and how to resume."""
    there = {row[0] for row in rows["trials"]}
    whole = len(there - trials.keys())
    parts = [f"{whole} of {len(there | trials.keys())} trials that can be read are intact"]
    for trial in list(trials)[:5]:
        parts.append(f"trial {_short(trial)} is damaged: {', '.join(trials[trial][:3])}")
    if len(trials) > 5:
        parts.append(f"and {len(trials) - 5} more trials are damaged")
    return (
        f"{_where(path)} is damaged: {'; '.join([*parts, *wrong[:8]])}. Restore a backup copy, and "
        "the same call resumes from there. Or write another directory, and pass the values of "
        "intact trials to enqueue=[...]: pandas.read_sql('select * from trials', "
        f"sqlite3.connect({str(path)!r})) reads them"
    )


# ---- errors --------------------------------------------------------------------------------------


def explained(error: Exception, path: Path) -> Exception:
    """Turn an error of SQLite into one that names the file and says what to do."""
    code = getattr(error, "sqlite_errorcode", None)
    kind = None if code is None else code & 0xFF
    where = _where(path)
    again = "everything saved before is intact, and the same call resumes from there"
    full = _disk_is_full(path)
    if (
        kind == sqlite3.SQLITE_FULL
        or full
        and kind
        in (
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CANTOPEN,
        )
    ):
        return OSError(
            errno.ENOSPC, f"{where} could not be written: the disk is full. Make room; {again}"
        )
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return OSError(
            errno.EBUSY,
            f"{where} is being written to by another program ({error}); end it; {again}",
        )
    if kind in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        number, why = _refused(path)
        return OSError(
            number,
            f"{where} cannot be opened for writing ({why or error}); make sure that you may write "
            "to it and to the folder, or write another directory",
        )
    if kind in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOLFS):
        name = getattr(error, "sqlite_errorname", "")
        return OSError(
            errno.EIO,
            f"{where} could not be read or written ({error}, {name}): the disk or the file system "
            f"reports a fault. Check it; {again}",
        )
    if kind == sqlite3.SQLITE_NOTADB:
        return ValueError(
            f"{where} in it is not a study ({error}), or its first bytes are damaged; restore a "
            "backup copy, or write another directory"
        )
    if kind == sqlite3.SQLITE_CONSTRAINT:
        return ValueError(
            f"{where} holds other trials than this search wrote ({error}): another program has "
            "changed it. Restore a backup copy, or write another directory"
        )
    return ValueError(
        f"{where} is damaged ({error}); restore a backup copy, and the same call resumes from "
        "there, or write another directory"
    )


def _disk_is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < 2**16
    except OSError:  # the folder is gone, which is another error
        return False


def _refused(path: Path) -> tuple[int, str]:
    """Return why the file cannot be opened, if trying again shows it."""
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        return error.errno or errno.EACCES, error.strerror or ""
    if not os.access(path.parent, os.W_OK):
        return errno.EACCES, f"{str(path.parent)!r} is not writable"
    return errno.EACCES, ""


def _sync(log: Path) -> None:
    try:
        with open(log, "rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(
            error.errno,
            f"directory={str(log.parent)!r}: {log.name} could not be written ({error.strerror}); "
            "check the disk; then the same call resumes",
        ) from error


def _where(path: Path) -> str:
    return f"directory={str(path.parent)!r}: {path.name}"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OSError(
            error.errno,
            f"{_where(path)} cannot be reached ({error.strerror}); make sure that you may read the "
            "folder; then the same call resumes",
        ) from error
    return found.st_dev, found.st_ino


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _page(head: bytes) -> int:
    size = int.from_bytes(head[16:18], "big")
    return 65536 if size == 1 else size


def _stored(value: Any, column: tuple[type, bool]) -> Any:
    if value is None:
        return None
    if column[0] is float:
        number = float(value) + 0.0  # SQLite has no negative zero, and null for NaN
        return number if number == number else None
    if column[0] is int:
        return int(value)
    return value.encode("utf-8", "backslashreplace").decode("utf-8")  # lone surrogates


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
