"""Finds the encoding of a text file from its bytes.

Unicode is certain: by its mark at the start, by the pattern of zero bytes (UTF-16), or because the
bytes are valid UTF-8. Any other encoding is a guess of the package chardet. Not for parsing what
the text says.
"""

from __future__ import annotations

import codecs
import collections
import re
import unicodedata
from typing import NamedTuple

_CHUNK = 1 << 20  # bytes that are decoded at a time, so that a large file is never held as text
_SAMPLE = 1 << 20  # bytes that an encoding is guessed from
_CLEAR = 2.0  # a guess is clear if the best encoding is this many times as likely as the next
_LIKELY = 0.01  # the least confidence of chardet that counts as clear
_UNLIKELY = 0.05  # the confidence of chardet in a language that it only guesses
_DAMAGED = 0.8  # a file in which this share of the cells with other characters is UTF-8 is damaged
_DAMAGED_ROWS = 0.5  # the same for all cells, counting only those that are UTF-8 not by chance
_HANJA = 0.1  # more Chinese characters than this among the Korean ones: it is Chinese

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# By chardet's names, which are also Python's, in the order of preference where the text is the
# same in several. Each includes the older standards of its languages: gb18030 has GBK and GB 2312,
# cp1252 has Latin-1, big5hkscs Big5, cp932 Shift JIS, cp949 EUC-KR, euc_jis_2004 EUC-JP.
_EAST_ASIAN = ("gb18030", "big5hkscs", "cp932", "cp949", "euc_jis_2004")
_OTHERS = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874")
_CANDIDATES = (*_EAST_ASIAN, *_OTHERS, "koi8-r")
# Text has none of these, but binary files have.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x19\x1c-\x1f]")
# What Western text has besides letters: "20 °C", "£5".
# Two of them side by side are rather one character of another encoding.
_SYMBOLS = re.compile("(?:[\x00-\x7f‚„…‘’“”•–—«»\xa0]|[€™§©®°±²³µ·¹º¼½¾¿¡£¥ª×÷](?![^\x00-\x7f]))*")


class Encoding(NamedTuple):
    """An encoding.

    Attributes:
        name: For bytes.decode.
        doubt: Why the encoding may be another one, or None if it is certain or clear.
    """

    name: str
    doubt: str | None = None


def encoding_of(content: bytes) -> Encoding | None:
    """Return the encoding of a text, or None if it is none of the known ones, or no text."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return Encoding(name) if _is_valid(content, name) else None
    if b"\0" in content:
        return _utf_16(content)
    if _is_valid(content, "utf-8"):
        return Encoding("utf-8")
    if _CONTROLS.search(content[:_SAMPLE].decode("latin-1")):
        return None
    return _guess(content)


def _is_valid(content: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for start in range(0, len(content), _CHUNK):
            decoder.decode(content[start : start + _CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _utf_16(content: bytes) -> Encoding | None:
    """Return the byte order of UTF-16 without a mark, where separators and digits have zeros."""
    sample = content[:_SAMPLE]
    zeros = [sample[start::2].count(0) for start in (0, 1)]
    name = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    one_sided = min(zeros) <= 0.05 * max(zeros)
    plain = not _CONTROLS.search(sample.decode(name, "ignore"))
    return Encoding(name) if one_sided and plain and _is_valid(content, name) else None


def _guess(content: bytes) -> Encoding | None:
    # Only cells with other characters than ASCII, each once: chardet would take a table with few
    # words among many numbers for plain text.
    pieces = (c for c in re.split(rb'[,;\t\r\n"]', content) if not c.isascii())
    counts = collections.Counter(pieces)
    cells = list(counts)
    if sum(map(_is_utf_8, cells)) >= _DAMAGED * len(cells):
        return None
    # Where few words repeat, one damaged cell is a large share of the different ones.
    clear = sum(count for cell, count in counts.items() if _is_clearly_utf_8(cell))
    if clear >= _DAMAGED_ROWS * counts.total():
        return None
    valid = [name for name in _CANDIDATES if _is_valid(content, name)]
    sample = _up_to(_SAMPLE, cells)
    if "cp1252" in valid and _SYMBOLS.fullmatch(sample.decode("cp1252", "replace")):
        return _named("cp1252", (), cells, sure=False)
    scores = _scores(sample, valid)
    if not scores:
        return None
    # Bytes of Chinese text may be Korean ones too, and seem more likely where many are rare, as in
    # names; but some then stand for Chinese characters, which Korean text hardly has.
    if "gb18030" in valid and _share_of_hanja(sample) > _HANJA:
        scores["gb18030"] = max(scores.get("gb18030", 0.0), scores.pop("cp949", 0.0))
    best = max(scores, key=lambda name: scores[name])
    unlikely = best not in _EAST_ASIAN and scores[best] < _UNLIKELY
    if unlikely and "gb18030" in valid and _seems_chinese(sample):
        best = "gb18030"  # traditional characters in GBK, which chardet does not expect
        scores[best] = 0.0
    text = sample.decode(best, "ignore")
    alike = [name for name in valid if sample.decode(name, "ignore") == text]
    others = tuple(
        name
        for name in scores
        if name not in (best, *alike) and scores[name] * _CLEAR > scores[best]
    )
    sure = scores[best] >= _LIKELY
    return _named(min(alike, key=_CANDIDATES.index), others, cells, sure=sure)


def _is_utf_8(cell: bytes) -> bool:
    return _is_valid(cell, "utf-8")


def _is_clearly_utf_8(cell: bytes) -> bool:
    """Return whether a cell is valid UTF-8, and not by chance, as short words of Asia may be.

    By chance it has one or two letters of two bytes each, of scripts that are not written together.
    """
    if not _is_utf_8(cell):
        return False
    text = cell.decode("utf-8")
    letters = [character for character in text if not character.isascii()]
    if any(c.isascii() and c.isalpha() for c in text) or max(letters) >= "\u0800":
        return True
    scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in letters}
    return len(letters) > 1 and len(scripts) == 1


def _up_to(size: int, cells: list[bytes]) -> bytes:
    """Return as many whole cells as fit, at least the first one."""
    joined = b" ".join(cells)
    return joined if len(joined) <= size else joined[: joined.rfind(b" ", 1, size)]


def _scores(sample: bytes, names: list[str]) -> dict[str, float]:
    """Return how likely each encoding is, without those that are out of the question."""
    import chardet

    if not names:
        return {}
    found = chardet.detect_all(
        sample,
        ignore_threshold=True,
        include_encodings=names,
        no_match_encoding=names[0],
        max_bytes=len(sample),
        compat_names=False,
    )
    return {
        result["encoding"]: result["confidence"]
        for result in found
        if result["encoding"] is not None and result["confidence"] > 0
    }


def _share_of_hanja(sample: bytes) -> float:
    letters = [character for character in sample.decode("cp949", "ignore") if character > "\x7f"]
    return sum("\u4e00" <= character <= "\u9fff" for character in letters) / max(len(letters), 1)


def _seems_chinese(sample: bytes) -> bool:
    """Return whether bytes in GB 18030 are nearly all Chinese characters.

    Accented letters before plain ones are such characters, too; but the second bytes of these are
    letters, which they seldom are in Chinese.
    """
    letters = [character for character in sample.decode("gb18030", "ignore") if character > "\x7f"]
    chinese = [character for character in letters if "\u3000" <= character <= "\u9fff"]
    high = sum(character.encode("gb18030")[1] >= 0x80 for character in chinese)
    return len(chinese) >= 0.95 * len(letters) and high >= 0.7 * len(letters)


def _named(name: str, others: tuple[str, ...], cells: list[bytes], *, sure: bool) -> Encoding:
    if name in _EAST_ASIAN and sure and not others:
        return Encoding(name)
    also = f", or else {', '.join(others[:3])}" if others else ""
    return Encoding(name, f"{name}{also}; one of its cells is then {cells[0].decode(name):.40}")
