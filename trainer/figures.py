"""What all pictures share: new figures that do not pile up, colours that can be told apart.

Responsible for a figure's life in pyplot, the palette and the length of texts. Not responsible
for what is drawn: `curves` and `plots` do that.

Where figures can be shown (a notebook, a window), they are pyplot's and appear as usual. Where
they cannot, pyplot keeps only the newest one, so that a long run leaks none; the Axes that a
function returned, and their figure, stay usable for as long as someone holds them.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, without its yellow: told apart by the colour-blind, and on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WRONG = "#C00000"

_newest: weakref.ref[Figure] | None = None


def shortened(text: str, length: int) -> str:
    """`text`, cut to `length` characters, of which the last then is an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def as_label(text: Any, length: int | None = None) -> str:
    """Text from outside as a label of a picture, in which "$" is a dollar and no formula.

    Args:
        text: a name, a class, a value.
        length: the most characters; None: as many as there are.
    """
    plain = printable(text)
    return (plain if length is None else shortened(plain, length)).replace("$", r"\$")


def distinct_colours(n: int) -> list[Any]:
    """`n` colours that differ from each other: of the palette while it lasts."""
    from matplotlib import colormaps

    if n <= len(COLOURS):
        return list(COLOURS[:n])
    # The last part of the map is too light to be seen on white.
    return list(colormaps["viridis"](np.linspace(0, 0.9, n)))


def new_figure(size: tuple[float, float]) -> Figure:
    """A figure of this size in inches, which pyplot shows where it can and does not pile up."""
    global _newest
    import matplotlib
    import matplotlib.pyplot as plt
    from matplotlib.backends import BackendFilter, backend_registry

    figure: Figure = plt.figure(figsize=size, layout="constrained")
    silent = backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)
    if matplotlib.get_backend().lower() in silent:
        # The newest stays pyplot's, so that plt.savefig writes it. Closing the one before takes
        # it from pyplot's register only.
        previous = _newest() if _newest is not None else None
        if previous is not None:
            plt.close(previous)
        _newest = weakref.ref(figure)
    return figure
