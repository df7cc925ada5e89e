"""What the tests of pictures share."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator

import pytest
from matplotlib.axes import Axes


@pytest.fixture
def drawn_without_warnings() -> Iterator[None]:
    """No window, no figure left from another test, and every warning is an error."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    plt.close("all")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


@pytest.fixture
def png_size() -> Callable[[Axes], int]:
    """Draws the figure of some Axes and gives the bytes of the PNG file that it makes."""

    def draw(ax: Axes) -> int:
        buffer = io.BytesIO()
        ax.figure.savefig(buffer, format="png")
        assert buffer.getvalue().startswith(b"\x89PNG")
        return len(buffer.getvalue())

    return draw
