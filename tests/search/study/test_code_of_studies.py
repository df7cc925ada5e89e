"""A study goes on with the code that it began with, or says that it does not."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from light_estimators import Bowl
from light_searches import R, X, sklearn_search
from sklearn.metrics import make_scorer

SOURCE = """
from light_estimators import Bowl

class Own(Bowl):
    def predict(self, x):
        # the mean
        return super().predict(x) * 1

def measured(y, p):
    return -abs(y - p).max()
"""


def _module(folder: Path, source: str, number: int) -> Any:
    path = folder / f"own_{number}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("own_of_study", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["own_of_study"] = module
    spec.loader.exec_module(module)
    return module


def test_a_study_whose_code_has_changed_is_refused_by_name_unless_it_is_forced(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    def run(source: str, number: int, n_iter: int, **options: Any) -> int:
        own = _module(tmp_path, source, number)
        scoring = make_scorer(own.measured)
        given = {"scoring": scoring, "directory": tmp_path / "study", "n_iter": n_iter} | options
        return len(sklearn_search(own.Own(), **given).fit(X, R).results_)

    assert run(SOURCE, 0, 2) == 2
    assert run(SOURCE.replace("# the mean", "# that mean\n"), 1, 3) == 3
    for old, new, name in (("* 1", "* 2", "Own.predict"), ("max()", "mean()", "measured")):
        edited = SOURCE.replace(old, new)
        with pytest.raises(ValueError, match=rf"the code of {name} changed.*resume='force'"):
            run(edited, 2, 4)
    assert run(edited, 3, 4, resume="force") == 4
    assert run(edited, 4, 5) == 5  # compared with what it was forced to
    with pytest.raises(ValueError, match="code of measured changed"):
        run(SOURCE, 5, 6)
    assert not recwarn.list


def test_a_study_without_digests_opens_with_a_warning(tmp_path: Path) -> None:
    search = sklearn_search(directory=tmp_path / "study", n_iter=2).fit(X, R)
    from search.space import Space
    from search.study.storage import Store

    store = Store(tmp_path / "study", Space.of(search.estimator, search.space))
    earlier = store.get("description")
    assert earlier.pop("code")
    store.set("description", earlier)
    store.close()
    with pytest.warns(UserWarning, match="kept no digests of code"):
        search.fit(X, R)
    search.fit(X, R)  # they are kept now: no warning


def test_a_changed_value_that_no_description_shows_is_refused_by_name(tmp_path: Path) -> None:
    def run(weights: Any, n_iter: int, **options: Any) -> int:
        scoring = functools.partial(_weighted, weights=weights)
        given = {"scoring": scoring, "directory": tmp_path / "study", "n_iter": n_iter} | options
        return len(sklearn_search(Bowl(), **given).fit(X, R).results_)

    table = np.ones(2000)
    other = table.copy()
    other[1000] = 2
    assert run(table, 2) == 2
    with pytest.raises(ValueError, match=r"the value of scoring.weights changed.*resume='force'"):
        run(other, 3)
    assert run(table.copy(), 3) == 3
    assert run(other, 4, resume="force") == 4


def _weighted(estimator: Any, x: Any, y: Any, weights: Any) -> float:
    return float(estimator.score(x, y) * weights[0])
