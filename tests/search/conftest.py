"""Fixtures of the tests of searches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import matplotlib
import matplotlib.pyplot as plt
import pytest


@pytest.fixture
def drawn_without_warnings() -> Iterator[None]:
    matplotlib.use("Agg")
    plt.close("all")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")
