"""Fonts for the characters of a plot that the user's font lacks, such as Chinese ones.

Responsible for finding an installed font that has the characters, and for adding it, as a fallback,
to just those texts that need it; rcParams stay as they are. If no installed font has them, one
warning says which to install. Not for what the texts say (`figures`).
"""

from __future__ import annotations

import functools
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

_P = ParamSpec("_P")
_Axes = TypeVar("_Axes")

# Families for each script, those with its own shapes of shared characters first: fonts of Linux,
# Windows and macOS.
_CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "SimHei",
    "Heiti SC",
    "STHeiti",
    "Noto Sans CJK TC",
    "Microsoft JhengHei",
    "PingFang TC",
    "Heiti TC",
)
_JAPANESE = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "Source Han Sans",
    "Hiragino Sans",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
    "IPAexGothic",
    "IPAGothic",
    "TakaoGothic",
    "VL Gothic",
)
_KOREAN = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Source Han Sans K",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "NanumGothic",
    "UnDotum",
)
_ANY = ("Arial Unicode MS", "Droid Sans Fallback", "Unifont")
# matplotlib's font of placeholders, and that of macOS: they have a box for every character.
_PLACEHOLDERS = ("last resort", "lastresort")

_chosen: dict[tuple[frozenset[str], int], list[str]] = {}
_refreshed = False  # whether fonts that were installed after matplotlib's list was made are in it
_hinted: set[str] = set()  # scripts that a warning was given of


def legible(plot: Callable[_P, _Axes]) -> Callable[_P, _Axes]:
    """Decorate a function that draws and returns Axes, so that all its texts have their glyphs."""

    @functools.wraps(plot)
    def drawn(*args: _P.args, **options: _P.kwargs) -> _Axes:
        axes = plot(*args, **options)
        first: Any = np.ravel(np.asarray(axes, dtype=object))[0]
        add_fonts(first.get_figure(root=True))
        return axes

    return drawn


def add_fonts(figure: Figure) -> None:
    """Add fallback fonts to the texts of a figure whose characters their fonts lack.

    Warns once for each script in a process, naming fonts to install, if no installed font has its
    characters.
    """
    from matplotlib.text import Text

    # Tick labels are recreated for every drawing, so their font is set for the whole axis.
    of_ticks: set[int] = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            labels = axis.get_ticklabels() + axis.get_ticklabels(minor=True) if ax.axison else []
            of_ticks.update(map(id, labels))
            families = _families(labels)
            if families:
                axis.set_tick_params(which="both", labelfontfamily=families)
    for text in figure.findobj(Text):
        if id(text) not in of_ticks:
            families = _families([text])
            if families:
                text.set_fontfamily(families)


def _families(texts: Iterable[Any]) -> list[str]:
    """Return the families of texts with those added that they need; [] if they need none."""
    letters: set[str] = set()
    font: FontProperties | None = None
    for text in texts:
        written = text.get_text()
        # A text with a font file of its own has no families, and TeX has its own fonts.
        plain = written.isascii() or text.get_usetex()
        if not plain and text.get_fontproperties().get_file() is None:
            letters |= {letter for letter in written if not letter.isascii()}
            font = font or text.get_fontproperties()
    if font is None:
        return []
    missing = _lacking(font, {x for x in letters if unicodedata.category(x)[0] not in "CZ"})
    return [*font.get_family(), *_fallbacks(frozenset(missing))] if missing else []


def _lacking(font: FontProperties, letters: set[str]) -> set[str]:
    from matplotlib.font_manager import fontManager, get_font

    lacking = set(letters)
    for family in font.get_family():
        one = font.copy()
        one.set_family(family)
        try:
            path = fontManager.findfont(one, fallback_to_default=False)
        except ValueError:  # it is not installed, and matplotlib goes on to the next one
            continue
        lacking -= _covered(get_font(path), lacking)
    return lacking


def _covered(font: Any, letters: Iterable[str]) -> set[str]:
    return {letter for letter in letters if font.get_char_index(ord(letter))}


def _fallbacks(missing: frozenset[str]) -> list[str]:
    """Return installed families that have the characters, as few as possible."""
    global _refreshed
    from matplotlib.font_manager import fontManager

    key = (missing, len(fontManager.ttflist))
    if key in _chosen:
        return _chosen[key]
    found, lacking = _search(missing)
    if lacking and not _refreshed:
        _refreshed = True
        _add_new_fonts()
        found, lacking = _search(missing)
    if lacking:
        _hint(lacking)
        # Draws the same boxes as matplotlib does, but without a warning for each character.
        found += [
            entry.name
            for entry in fontManager.ttflist
            if entry.fname.endswith("LastResortHE-Regular.ttf")
        ][:1]
    _chosen[missing, len(fontManager.ttflist)] = found
    return found


def _search(missing: frozenset[str]) -> tuple[list[str], set[str]]:
    """Return families that have as many characters as possible, and the characters left over."""
    from matplotlib.ft2font import FT2Font

    covers: dict[str, set[str]] = {}
    for name, path, face in _installed(missing):
        try:
            covered = _covered(FT2Font(path, face_index=face), missing)
        except (OSError, RuntimeError):  # removed since, or broken
            continue
        if covered == missing:
            return [name], set()
        if covered:
            covers[name] = covered
    found: list[str] = []
    lacking = set(missing)
    while lacking and covers:
        # The first of equals, because max keeps the order.
        name = max(covers, key=lambda each: len(covers[each] & lacking))
        if not covers[name] & lacking:
            break
        found.append(name)
        lacking -= covers.pop(name)
    return found, lacking


def _installed(missing: frozenset[str]) -> Iterator[tuple[str, str, int]]:
    """Yield each installed family with a file and its face, the most suitable first."""
    from matplotlib.font_manager import fontManager

    scripts = " ".join(unicodedata.name(letter, "") for letter in missing)
    order = [_CHINESE, _JAPANESE, _KOREAN]
    if "HIRAGANA" in scripts or "KATAKANA" in scripts:
        order = [_JAPANESE, _CHINESE, _KOREAN]
    elif "HANGUL" in scripts:
        order = [_KOREAN, _CHINESE, _JAPANESE]
    preferred = [name for names in (*order, _ANY) for name in names]
    rank = {name: position for position, name in enumerate(preferred)}
    entries = {}
    for entry in fontManager.ttflist:
        if not entry.name.lower().lstrip(".").startswith(_PLACEHOLDERS):
            # Any weight has the same characters, but the regular one decides where there is one.
            regular = entry.weight in (400, "normal", "regular") and entry.style == "normal"
            if regular or entry.name not in entries:
                entries[entry.name] = entry
    for name in sorted(entries, key=lambda each: (rank.get(each, len(rank)), each)):
        yield name, entries[name].fname, entries[name].index


def _add_new_fonts() -> None:
    """Add fonts that were installed after matplotlib wrote its list of fonts to its cache."""
    import logging

    from matplotlib import font_manager

    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            try:
                font_manager.fontManager.addfont(path)
            except Exception as error:  # as in matplotlib: a broken font must not stop a plot
                logging.getLogger(__name__).info("%s is not a usable font: %s", path, error)


def _hint(lacking: set[str]) -> None:
    # The first word of a character's name is its script: CJK, HANGUL, THAI.
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in lacking}
    if scripts <= _hinted:
        return
    _hinted.update(scripts)
    letters = "".join(sorted(lacking)[:10])
    # From here to the caller of the decorated function.
    warnings.warn(
        f"no installed font has the characters {letters!r}, so plots show boxes instead of them; "
        "install a font that has them, such as Noto Sans CJK for Chinese, Japanese and Korean "
        "(the package fonts-noto-cjk on Debian and Ubuntu, google-noto-sans-cjk-fonts on Fedora), "
        "or WenQuanYi Micro Hei (fonts-wqy-microhei), and restart Python",
        stacklevel=6,
    )
