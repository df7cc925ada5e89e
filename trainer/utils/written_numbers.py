"""Recognises numbers written for people, such as "3,5", "$1,000", "3.1%", "15.3 kg" and "−1.2".

Responsible for telling such columns of text from codes and categories, and for the line of pandas
that converts one. Not for what is done about a column.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_SIGN = "[-+\u2212\u2013]?"  # with the minus of typesetters, and the dash that is used for it
_MINUSES = "\u2212\u2013"
_WIDE_BLANKS = "\u00a0\u2009\u202f\u3000"
_GROUP = "[ \u00a0\u2009\u202f'\u2019]"  # blanks and apostrophes between thousands
_ISO = (
    "USD|EUR|GBP|JPY|CNY|RMB|CHF|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|RUB|INR|KRW|BRL|MXN|ZAR|TRY"
    "|SGD|HKD|TWD|THB|IDR|VND|PHP|MYR|ILS|AED|SAR"
)
_SYMBOL = "(?:[A-Z]{1,2})?[$\uff04]|[\u00a2-\u00a5\u0e3f\u20a0-\u20c0\uffe1\uffe5\uffe6]"
# Codes such as CAD123 are more common than amounts without a blank.
_BEFORE = rf"(?:{_SYMBOL}|(?:{_ISO}|kr\.?|Rs\.?|Fr\.?|RM)(?=[\s-])|Rs\.?)"
_PERCENT = "[%\u2030\uff05]"
_CURRENCY = rf"(?:{_SYMBOL}|{_ISO}|z\u0142|K\u010d|kr\.?|\u0440\u0443\u0431\.?)"
# After a blank, any short word is a unit. Directly after a number, letters may be part of a code
# (12A), so these are units, or letters of other scripts.
_WORD = r"[\u00b0\u00b5\u03bc]?[^\W\d_]{1,5}[\u00b2\u00b323]?"
_UNIT = rf"{_WORD}(?:[/\u00b7*]{_WORD})*\.?|sq\.? ?(?:ft|m|in|mi)|fl\.? ?oz"
_LETTERS = (
    r"[kmcn\u00b5\u03bc]?[gms]|kg|mg|lbs?|oz|ft|in|mi|yd|[kcm]?m[\u00b2\u00b323]|ha|[mcd]?[lL]|[hd]"
    r"|min|sec|hrs?|km/h|m/s|mph|kph|[kMGTP]i?B|[kMGT]?bps|Mbit/s|[kMG]?Hz|[mk]?V|[kMG]?Wh?|m?Ah"
    r"|[kMh]?Pa|bar|psi|[km]?[cC]al|[kM]?J|px|pt|dpi|ppm|x|hp|PS|[\"\u2033]"
)
_ATTACHED = rf"{_LETTERS}|\u00b0[A-Za-z]?|[^\W\d_\x00-\x7f]{{1,3}}|[\u3380-\u33df]"
# Numbers of houses, rooms, floors, classes and lines, and times of the day.
_NAMES_A_PLACE = re.compile(
    "[\u53f7\u865f\u5ba4\u697c\u680b\u68df\u73ed\u5c4a\u671f\u756a\u5c42\u5c64\u968e\u7ebf\ud638"
    "\ub3d9\uce35]+|[AaPp]\\.?[Mm]\\.?"
)
_WHOLE = re.compile(
    rf"({_SIGN})({_BEFORE})?\s?({_SIGN})"
    rf"([.,]?[0-9](?:(?:[0-9.,]|{_GROUP}(?=[0-9]))*[0-9])?)([eE][-+]?[0-9]+)?"
    rf"(?:\s?({_PERCENT}|{_CURRENCY})|({_ATTACHED})|\s({_UNIT}))?"
)
_LEADING_ZERO = re.compile("0[0-9]")


class _Style(NamedTuple):
    """How digits are grouped, and the mark before fractions."""

    number: re.Pattern[str]
    groups: str  # what separates thousands, as a regular expression
    decimal: str


def _style(groups: str, decimal: str, also: str = "") -> _Style:
    mark = re.escape(decimal)
    grouped = rf"[0-9]{{1,3}}(?:{groups}[0-9]{{3}})+{also}"
    return _Style(
        re.compile(rf"(?:{grouped}|[0-9]+)(?:{mark}[0-9]+)?|{mark}[0-9]+"), groups, decimal
    )


_STYLES = (
    _style(",", ".", "|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}"),  # and lakhs: 12,34,567
    _style(r"\.", ","),
    _style(_GROUP, "."),
    _style(_GROUP, ","),
)


class WrittenNumbers(NamedTuple):
    """A column of text that holds numbers.

    Attributes:
        code: An expression of pandas that converts the column to floats.
        example: One of its values that pandas.to_numeric cannot read.
        other: A value that is not a number, or None.
        note: What to check before using `code`, as the end of a sentence, or "".
    """

    code: str
    example: str
    other: str | None
    note: str


class _Parts(NamedTuple):
    minus: bool  # whether a minus is not that of ASCII
    before: str
    number: str
    exponent: bool
    after: str
    needed: bool  # whether `after` is a unit, without which a number means something else
    plain: bool


def _parts(value: str) -> _Parts | None:
    found = _WHOLE.fullmatch(value.strip())
    if found is None or (found[1] and found[3]) or _LEADING_ZERO.match(found[4]):
        return None
    unit = found[7] or found[8] or ""
    if unit and _NAMES_A_PLACE.fullmatch(unit):
        return None
    minus = bool({found[1], found[3]} & set(_MINUSES))
    plain = not (minus or found[2] or found[6] or unit) and bool(
        re.fullmatch(r"[0-9]*\.?[0-9]+", found[4])
    )
    return _Parts(
        minus, found[2] or "", found[4], bool(found[5]), found[6] or unit, bool(unit), plain
    )


def find_written_numbers(
    values: Sequence[str], counts: Sequence[int], label: str, others: float
) -> WrittenNumbers | None:
    """Return how a column of text holds written numbers, or None if it does not.

    All of them must have the same currency or unit and the same marks. Numbers that
    pandas.to_numeric reads may be among them, but not be all of them.

    Args:
        values: The distinct values.
        counts: How often each occurs.
        label: Of the column, in `code`.
        others: How many values may be anything else.
    """
    parts = []
    total, wrong_ones = sum(counts), 0
    for value, n in zip(values, counts, strict=True):
        parts.append(_parts(value))
        wrong_ones += n if parts[-1] is None else 0
        if wrong_ones > others:  # at once: most columns of text hold no numbers, and may be long
            return None
    pairs = [(p, n) for p, n in zip(parts, counts, strict=True) if p is not None]
    before = _most_common((p.before, n) for p, n in pairs)
    after = _most_common((p.after, n) for p, n in pairs)

    def fits(p: _Parts | None, style: _Style) -> bool:
        return (
            p is not None
            and p.before in ("", before)
            and (p.after == after or (p.after == "" and not unit))
            and style.number.fullmatch(p.number) is not None
            # 1,234e3 has a decimal comma
            and not (p.exponent and re.search(style.groups, p.number))
        )

    unit = any(p.needed for p, _ in pairs if p.after == after)
    fitting = {s: sum(n for p, n in pairs if fits(p, s)) for s in _STYLES}
    style = max(_STYLES, key=lambda s: fitting[s])
    good = [(v, p) for v, p in zip(values, parts, strict=True) if p is not None and fits(p, style)]
    written = [value for value, p in good if not p.plain]
    if total - fitting[style] > others or not written:
        return None
    numbers = [p.number for _, p in good]
    if not (before or after) and _are_codes(numbers, style):
        return None
    wrong = next((v for v, p in zip(values, parts, strict=True) if not fits(p, style)), None)
    code = _code(label, [p for _, p in good], style, before, after)
    if re.search(f"[{_WIDE_BLANKS}]", "".join(written)):
        code += ".str.strip()"  # pandas.to_numeric only skips those of ASCII
    coerce = ", errors='coerce'" if wrong is not None else ""
    return WrittenNumbers(
        f"pd.to_numeric({code}{coerce})", written[0], wrong, _note(numbers, style)
    )


def _most_common(found: Iterable[tuple[str, int]]) -> str:
    """Return the text that occurs most often, leaving out empty ones."""
    counter: collections.Counter[str] = collections.Counter()
    for text, n in found:
        if text:
            counter[text] += n
    return counter.most_common(1)[0][0] if counter else ""


def _are_codes(numbers: Sequence[str], style: _Style) -> bool:
    """Return whether grouped digits are rather telephone numbers or network addresses.

    The former have blanks, three groups or more and the same length, the latter have four groups.
    """
    if style.groups == "," or any(style.decimal in number for number in numbers):
        return False
    groups = {len(re.split(style.groups, number)) for number in numbers}
    if style.groups == _GROUP:
        return min(groups) >= 3 and len(set(map(len, numbers))) == 1
    return groups == {4}


def _code(label: str, found: Sequence[_Parts], style: _Style, before: str, after: str) -> str:
    code = label
    if any(p.minus for p in found):
        code += f".str.replace('[{_MINUSES}]', '-', regex=True)"
    for affix in dict.fromkeys(affix for affix in (after, before) if affix):
        code += f".str.replace({affix!r}, '')"
    if any(re.search(style.groups, p.number) for p in found):
        if style.groups == _GROUP:
            code += """.str.replace(r"[\\s'\u2019]", '', regex=True)"""
        else:
            code += f".str.replace({style.groups[-1]!r}, '')"
    if style.decimal == "," and any("," in p.number for p in found):
        code += ".str.replace(',', '.')"
    return code


def _note(numbers: Sequence[str], style: _Style) -> str:
    """Return a hint where commas before three digits might be decimal commas."""
    with_commas = [number for number in numbers if "," in number]
    unclear = style.groups == "," and with_commas and not any("." in n for n in numbers)
    if unclear and all(re.fullmatch("[0-9]{1,3},[0-9]{3}", n) for n in with_commas):
        return " (with .str.replace(',', '.') if the commas are decimal commas)"
    return ""
