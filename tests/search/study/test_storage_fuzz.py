"""Studies with damaged files: each is read as it was, or refused with one error that names it.

    FUZZ_STUDIES=2000 pytest -n0 -s tests/search/test_store_fuzz.py

FUZZ_STUDIES is the number of damaged files of each kind of study; the figures are printed with -s.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import of_0_1_0
import pandas as pd
import pytest
from light_estimators import Bowl
from light_searches import R, X, sklearn_search

from search.study.storage import NAME, Store
from search.study.trial import Fold

FILES = int(os.environ.get("FUZZ_STUDIES", "40"))
WAL = f"{NAME}-wal"
HEADER, FRAME = 32, 24  # bytes of a write-ahead log before its frames, and of a frame's own


def _fit(directory: Path) -> Any:
    search = sklearn_search(
        Bowl(fail=0.5),
        {"a": [0.1, 0.5, 0.9, 0.2, 0.3], "b": [0, 1]},
        directory=directory,
        method="grid",
        refit=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the trials that fail
        return search.fit(X, R)


def _content(directory: Path, *, times: bool) -> str:
    """What a person gets of a study, from the same call of fit that began it."""
    search = _fit(directory)
    frames = [search.results_, search.epochs_, pd.DataFrame(search.cv_results_)]
    if not times:
        frames = [f.drop(columns=[c for c in f if "time" in c or c == "seconds"]) for f in frames]
    found = [frame.to_json(double_precision=15) for frame in frames]
    return json.dumps([*found, repr(search.best_params_), repr(search.best_score_), search.seed_])


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A study that has ended, and two that a kill could have left."""
    root = tmp_path_factory.mktemp("studies")
    whole, waiting, torn = (root / name for name in ("whole", "waiting", "torn"))
    settle = Store.settle
    records = [{"epoch": i + 1, "loss": 1 / (i + 1)} for i in range(40)]

    def settled(store: Store) -> None:
        ended = sum(trial.state in ("completed", "failed") for trial in store.trials())
        if ended == 2:
            folds = [Fold(i, 0, 0.5, {"m": 0.25}, 1.0, 1.0, records) for i in range(2)]
            store.add_folds(1, folds)
        if ended == 10:
            # killed after the last trial was committed, and before that was moved into the file
            shutil.copytree(whole, waiting)
        settle(store)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Store, "settle", settled)
        _fit(whole)
    assert (waiting / WAL).stat().st_size > 0
    # killed while it was moved
    shutil.copytree(waiting, torn)
    log = (torn / WAL).read_bytes()
    page = int.from_bytes(log[8:12], "big")
    newest = {}
    for start in range(HEADER, len(log), FRAME + page):
        number = int.from_bytes(log[start : start + 4], "big")
        newest[number] = log[start + FRAME : start + FRAME + page]
    with open(torn / NAME, "r+b") as file:
        for number in sorted(newest)[: len(newest) // 2]:
            file.seek((number - 1) * page)
            file.write(newest[number])
    return {"whole": whole, "waiting": waiting, "torn": torn}


def damage(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Content that is damaged in one of many ways, and the way."""
    raw = bytearray(content)
    n = len(raw)
    size = rng.choice([1, 16, 512, 4096])
    first, second = (rng.randrange(max(1, n - size)) // size * size for _ in range(2))
    way = rng.choice(["bits", "bits", "bits", "bytes", "cut", "zeros", "swap", "copy", "longer"])
    if way == "bits":
        for _ in range(rng.choice([1, 1, 1, 2, 8])):
            raw[rng.randrange(n)] ^= 1 << rng.randrange(8)
    elif way == "bytes":
        raw[first : first + size] = rng.randbytes(size)
    elif way == "cut":
        del raw[rng.randrange(n) :]
    elif way == "zeros":
        raw[first : first + size] = bytes(size)
    elif way == "swap":
        one, other = raw[first : first + size], raw[second : second + size]
        raw[first : first + size], raw[second : second + size] = other, one
    elif way == "copy":
        raw[first : first + size] = raw[second : second + size]
    else:
        raw += rng.randbytes(size)
    return way, bytes(raw)


def _outcomes(
    study: Path, name: str, scratch: Path, seed: int, read: Callable[[Path], str], same: bool
) -> Counter[str]:
    """Damage a file of the study again and again, and open it."""
    rng = random.Random(seed)
    expected = read(Path(shutil.copytree(study, scratch / "first")))
    content = (study / name).read_bytes()
    outcomes: Counter[str] = Counter()
    for i in range(FILES):
        directory = Path(shutil.copytree(study, scratch / "damaged"))
        way, damaged = damage(content, rng)
        (directory / name).write_bytes(damaged)
        where = f"seed {seed}, file {i}, {way}"
        try:
            found = read(directory)
        except (ValueError, OSError) as error:
            said = str(error)
            assert str(directory) in said, f"{where}: {error!r}"
            assert not isinstance(error, (UnicodeError, json.JSONDecodeError)), f"{where}: {said}"
            outcomes["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"{where}: {error!r}") from error
        else:
            outcomes["as it was" if found == expected else "another"] += 1
            assert found == expected or not same, f"{where}: another result"
        shutil.rmtree(directory)
    print(f"\n{study.name}, {name}: {FILES} damaged files: {dict(outcomes)}")
    return outcomes


@pytest.mark.parametrize(
    ("study", "name"),
    [("whole", NAME), ("waiting", NAME), ("waiting", WAL), ("torn", NAME), ("torn", WAL)],
)
def test_a_damaged_study_is_read_as_it_was_or_refused_by_name(
    studies: dict[str, Path], study: str, name: str, tmp_path: Path
) -> None:
    # a trial whose last transaction is lost is run again, which takes another time
    read = lambda directory: _content(directory, times=study == "whole")  # noqa: E731
    outcomes = _outcomes(studies[study], name, tmp_path, 7, read, same=True)
    assert outcomes["refused"] + outcomes["as it was"] == FILES
    if (study, name) != ("waiting", WAL):  # nobody had heard of its transaction: it is done again
        assert outcomes["refused"] > 0


def _of_0_1_0(directory: Path) -> str:
    found = of_0_1_0.searched("light", directory)
    return json.dumps([of_0_1_0.results(found), found.epochs_.to_json()])


def test_a_damaged_study_of_0_1_0_is_opened_or_refused_by_name(tmp_path: Path) -> None:
    # without checksums a damaged number cannot be known, but nothing else gets through
    study = Path(__file__).parents[2] / "data" / "v0_1_0" / "studies" / "light"
    outcomes = _outcomes(study, NAME, tmp_path, 7, _of_0_1_0, same=False)
    assert outcomes["refused"] > 0
