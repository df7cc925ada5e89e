"""Figures of matplotlib as SVG within HTML: of pages, and of what notebooks show.

Responsible for SVG that is safe to place in HTML. Not for what is drawn (`history`, `plots`).
"""

from __future__ import annotations

import hashlib
import html
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainer.utils.text import printable

_WIDE = 7.5  # inches, from which on letters become too small in half of a page


@dataclass(frozen=True)
class Picture:
    """A picture of a page.

    Attributes:
        title: Its caption.
        says: What it shows, for those who cannot see it.
        svg: The SVG, safe to place in a page as it is.
        wide: Whether it has several axes side by side, and needs the width of a page.
    """

    title: str
    says: str
    svg: str
    wide: bool = False

    def as_html(self) -> str:
        """Return it as an element of its own, for notebooks."""
        says = html.escape(self.says)
        return f'<div role="img" aria-label="{says}" style="background: #fff">{self.svg}</div>'


def as_text(text: str) -> str:
    """Return preformatted text as HTML."""
    return f"<pre>{html.escape(printable(text, lines=True))}</pre>"


def picture(title: str, says: str, draw: Callable[[], Any]) -> Picture:
    """Draw a picture.

    Args:
        title: Its caption.
        says: What it shows, in a sentence.
        draw: Returns an Axes, an array of them, or a Figure.
    """
    import matplotlib as mpl
    import matplotlib.pyplot as plt
    import numpy as np

    text = io.StringIO()
    # Letters stay letters, which matplotlib escapes: whoever reads the page has fonts for them, so
    # that those which are missing here are nothing to warn of.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+|no installed font has")
        drawn = draw()
        figure = drawn if hasattr(drawn, "savefig") else np.ravel(drawn)[0].figure
        across = float(figure.get_size_inches()[0])
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    # several pictures lie in one page or notebook, where an identifier may be there once
    prefix = f"p{hashlib.sha256((title + text.getvalue()).encode()).hexdigest()[:12]}"
    return Picture(title, says, _inline(text.getvalue(), prefix), wide=across > _WIDE)


def _inline(svg: str, prefix: str) -> str:
    """Return the element alone, without comments and metadata, and with identifiers of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.S)

    def own(tag: re.Match[str]) -> str:
        return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", tag[0])

    svg = re.sub(r"<[^>]*>", own, svg)  # in the tags alone, not in text
    svg = re.sub(r'^<svg ([^>]*?)height="[^"]*"([^>]*?)width="[^"]*"', r"<svg \1\2", svg)
    svg = svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
    return printable(svg, lines=True)
