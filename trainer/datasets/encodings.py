"""Finds the encoding of a text file from its bytes.

Unicode is certain: by its mark at the start, by the pattern of zero bytes (UTF-16), or because the
bytes are valid UTF-8. Everything else is judged by its characters: bytes of one East Asian
encoding are often valid in another one, but there they stand for rare characters. The everyday
ones are the first level of each national standard (GB 2312, Big5, JIS X 0208, KS X 1001). Not for
parsing what the text says.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable

_CHUNK = 1 << 20  # bytes that are decoded at a time, so that a large file is never held as text
_SAMPLE = 1 << 20  # bytes whose characters are judged
_EVERYDAY = 0.5  # the least share of everyday characters; names have many rare ones
_ALL_BUT_FEW = 0.9  # the least share of Chinese characters, rare ones included
# Korean bytes are always valid and common in GB 2312 too. Among this many different characters,
# Chinese text almost surely has one that Korean does not use.
_MANY = 12

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Text has none of these, but binary files have.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x19\x1c-\x1f]")
# What Western text has besides letters.
_WESTERN = set("€‚„…‘’“”•–—™ §©«»®°±²³µ·¹º¼½¾¿¡£¥ªŠšŽžŒœŸ×÷\xa0")


def encoding_of(content: bytes) -> str | None:
    """Return the name of the encoding for bytes.decode, or None if it is unknown.

    An East Asian encoding is returned if at least half of the characters are everyday ones in it,
    the Chinese one first if several are equally likely, or if nearly all are Chinese. "cp1252"
    (Western European) is returned for text with a few accented letters among plain ones.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name if _is_valid(content, name) else None
    if b"\0" in content:
        return _utf_16(content)
    if _is_valid(content, "utf-8"):
        return "utf-8"
    if _CONTROLS.search(content[:_SAMPLE].decode("latin-1")):
        return None
    shares = {
        name: _everyday_share(content, name, everyday)
        for name, everyday in _EAST_ASIAN.items()
        if _is_valid(content, name)
    }
    best = max(shares, key=lambda name: shares[name], default=None)
    if best is not None and shares[best] >= _EVERYDAY:
        return best
    if _is_valid(content, "cp1252") and _is_western(content[:_SAMPLE]):
        return "cp1252"
    # Traditional characters in GBK: rare ones, but nothing else is as regular.
    if "gb18030" in shares and _everyday_share(content, "gb18030", _rare_chinese) >= _ALL_BUT_FEW:
        return "gb18030"
    return None


def _is_valid(content: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for start in range(0, len(content), _CHUNK):
            decoder.decode(content[start : start + _CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _utf_16(content: bytes) -> str | None:
    """Return the byte order of UTF-16 without a mark, where separators and digits have zeros."""
    sample = content[:_SAMPLE]
    zeros = [sample[start::2].count(0) for start in (0, 1)]
    name = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    one_sided = min(zeros) <= 0.05 * max(zeros)
    plain = not _CONTROLS.search(sample.decode(name, "ignore"))
    return name if one_sided and plain and _is_valid(content, name) else None


def _everyday_share(content: bytes, encoding: str, everyday: Callable[[bytes], bool]) -> float:
    # The sample may end inside a character.
    text = content[:_SAMPLE].decode(encoding, "ignore")
    # Each character that is not ASCII, with the plain letter after it, if there is one.
    counts = Counter(re.findall(r"([^\x00-\x7f])([a-zA-Z]?)", text))
    common = 0
    for (character, letter), count in counts.items():
        code = character.encode(encoding, "replace")
        # Among letters, a code that ends in one is rather an accented letter: Ä of "Ägypten".
        if everyday(code) and not (letter and code[-1:].isalpha()):
            common += count
    share = common / max(counts.total(), 1)
    # See _MANY: with fewer characters, Chinese is the better guess.
    many = len({character for character, _ in counts}) >= _MANY
    return share + (0.001 if encoding == "cp949" and many else 0)


def _in_rows(code: bytes, *rows: tuple[int, int]) -> bool:
    """Return whether a character of two bytes is in these rows of a national standard."""
    return len(code) == 2 and code[1] >= 0xA1 and any(low <= code[0] <= high for low, high in rows)


def _chinese(code: bytes) -> bool:
    return _in_rows(code, (0xA1, 0xA3), (0xB0, 0xD7))


def _rare_chinese(code: bytes) -> bool:
    return "\u4e00" <= code.decode("gb18030") <= "\u9fff" or _chinese(code)


def _traditional_chinese(code: bytes) -> bool:
    return len(code) == 2 and 0xA1 <= code[0] <= 0xC6


def _korean(code: bytes) -> bool:
    return _in_rows(code, (0xA1, 0xA3), (0xB0, 0xC8))


def _japanese(code: bytes) -> bool:
    return _in_rows(code, (0xA1, 0xA5), (0xB0, 0xCF))


def _japanese_shifted(code: bytes) -> bool:
    return len(code) == 2 and (0x81 <= code[0] <= 0x83 or 0x88 <= code[0] <= 0x97)


# In the order of preference.
_EAST_ASIAN: dict[str, Callable[[bytes], bool]] = {
    "gb18030": _chinese,  # includes GBK and GB 2312
    "cp950": _traditional_chinese,  # Big5
    "cp932": _japanese_shifted,  # Shift JIS
    "euc_jp": _japanese,
    "cp949": _korean,  # includes EUC-KR
}


def _is_western(sample: bytes) -> bool:
    """Return whether this may be Western European text: mostly plain letters, some accented."""
    text = sample.decode("cp1252")
    accented = sum("À" <= character <= "ÿ" for character in text)
    plain = sum(character.isascii() and character.isalpha() for character in text)
    # Ł, ą and ż of Polish, which other encodings have at the place of these symbols
    if re.search(r"[£¥³¹](?=[^\W\d_])|(?<=[^\W\d_])¿", text):
        return False
    known = all(
        character.isascii() or "À" <= character <= "ÿ" or character in _WESTERN
        for character in set(text)
    )
    return known and accented <= 0.3 * (accented + plain)
