"""What the tables of bad input of a search share: its makers, and the check of one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from light_estimators import Nearest, Tiny
from light_searches import R, X, Y, sklearn_search, tuner_search

from search import SklearnSearch, TunerSearch

RATE = ["learning_rate"]
SHIFT = {"shift": [0.0, 0.5]}


def bowl(**options: Any) -> tuple[SklearnSearch, Any]:
    return sklearn_search(**options), (X, R)


def near(**options: Any) -> tuple[SklearnSearch, Any]:
    return sklearn_search(**{"estimator": Nearest(), "space": SHIFT} | options), (X, Y)


def tuned(**options: Any) -> tuple[TunerSearch, Any]:
    return tuner_search(**options), (X, R)


def net(estimator: Any = None, **options: Any) -> tuple[TunerSearch, Any]:
    return tuner_search(estimator or Tiny(), **{"space": RATE} | options), (X, Y)


def net_cv(estimator: Any = None, **options: Any) -> tuple[SklearnSearch, Any]:
    return sklearn_search(estimator or Tiny(), **{"space": RATE} | options), (X, Y)


def fit(made: tuple[Any, Any], *rows: Any, **more: Any) -> tuple[Any, Any, Any]:
    return made[0], rows or made[1], more


Row = tuple[Callable[[], Any], type[Exception], str]


def check(search: Any, rows: Any, more: Any, kind: type[Exception], says: str) -> str:
    with pytest.raises(kind, match=f"(?s){says}") as raised:
        search.fit(*rows, **more)
    text = str(raised.value)
    assert type(raised.value) is kind
    assert "Traceback" not in text and 'File "' not in text
    return text
