"""Common parts of all plots: figures, colours and labels.

Responsible for registering figures with pyplot, the palette and the length of texts. Not for the
plots themselves (`history`, `plots`).

With an interactive backend (a notebook, a window), figures are managed by pyplot and appear as
usual. Otherwise only the newest figure stays registered with pyplot, so that a long run does not
leak memory; returned Axes and their figures stay usable as long as there is a reference to them.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import numpy as np

from trainer.utils.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The palette of Okabe and Ito, safe for the colour-blind; without yellow, which is hard to see.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WRONG = "#C00000"

_newest: weakref.ref[Figure] | None = None


def width_of(text: str) -> int:
    """Return the width of a text in Latin characters; Chinese, Japanese and Korean ones take two.

    >>> width_of("cat"), width_of("猫")
    (3, 2)
    """
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def shortened(text: str, length: int) -> str:
    """Return `text`, cut to the width of `length` characters, with an ellipsis at the end."""
    if width_of(text) <= length:
        return text
    while text and width_of(text) > length - 1:
        text = text[: -max(1, (width_of(text) - length) // 2)]
    return text + "…"


def as_label(text: Any, length: int | None = None) -> str:
    """Return text from the user as a label in a plot, with "$" escaped so it starts no formula.

    Args:
        text: A name, a class, or a value.
        length: The maximum width in Latin characters, or None.
    """
    plain = printable(text)
    return (plain if length is None else shortened(plain, length)).replace("$", r"\$")


def distinct_colours(n: int) -> list[Any]:
    """Return `n` different colours, from the palette if it has enough."""
    from matplotlib import colormaps

    if n <= len(COLOURS):
        return list(COLOURS[:n])
    # The last part of the map is too light to be seen on white.
    return list(colormaps["viridis"](np.linspace(0, 0.9, n)))


def new_figure(size: tuple[float, float]) -> Figure:
    """Create a figure of this size in inches; if not interactive, unregister the previous one."""
    global _newest
    import matplotlib
    import matplotlib.pyplot as plt
    from matplotlib.backends import BackendFilter, backend_registry

    figure: Figure = plt.figure(figsize=size, layout="constrained")
    silent = backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)
    if matplotlib.get_backend().lower() in silent:
        # The newest stays registered, so that plt.savefig works. Closing the previous one only
        # unregisters it.
        previous = _newest() if _newest is not None else None
        if previous is not None:
            plt.close(previous)
        _newest = weakref.ref(figure)
    return figure
