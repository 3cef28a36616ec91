"""Bytes of one source file: its encoding, its lines, and offsets into it.

The parser reports columns in UTF-8 bytes of a line, whatever the file is encoded in. Offsets are therefore
counted in the UTF-8 form first (`LineMap.starts`) and translated where the file's own bytes differ.
"""

from __future__ import annotations

import codecs
import tokenize
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_BOM = codecs.BOM_UTF8


def declared_encoding(data: bytes) -> str:
    """Say how Python would decode a source file.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    str
        `utf-8`, `utf-8-sig` (with a byte order mark), or the encoding that its first two lines declare.

    Raises
    ------
    SyntaxError
        When the declaration names no encoding that Python knows, or contradicts the byte order mark.
    """
    if b"coding" not in data[:1024]:
        return "utf-8-sig" if data.startswith(_BOM) else "utf-8"
    head = iter(data[:4096].splitlines(keepends=True)[:2])
    encoding, _ = tokenize.detect_encoding(lambda: next(head, b""))
    return encoding


def split_lines(data: bytes) -> list[bytes]:
    r"""Split as the tokenizer does: at `\n`, `\r\n` and `\r`, not at form feeds.

    >>> split_lines(b"a\r\nb\x0cc\rd")
    [b'a\r\n', b'b\x0cc\r', b'd']
    """
    return data.splitlines(keepends=True)


class LineMap:
    """Where the lines of a file start.

    Parameters
    ----------
    data : bytes
        The file.
    encoding : str
        Its encoding, from `declared_encoding`.

    Raises
    ------
    UnicodeDecodeError
        When the file is not in its encoding.
    UnicodeError
        When the bytes of a character depend on those before it, so that spans have no meaning.
    """

    __slots__ = ("_lines", "_utf8_starts", "count", "encoding", "starts")

    def __init__(self, data: bytes, encoding: str) -> None:
        self.encoding = encoding
        lines = split_lines(data)
        self.count = len(lines)
        self._lines: list[bytes] = []
        if not encoding.startswith("utf-8"):
            text = data.decode(encoding)
            if not text.isascii() or len(text) != len(data):
                self._lines = lines
                lines = _recoded(lines, text, encoding)
        starts = [0, *accumulate(map(len, lines), initial=0)]
        if encoding == "utf-8-sig":
            starts[1] = len(_BOM)
        self.starts: list[int] = starts
        """Offset of each line in the UTF-8 form, by its number; the first entry stands for no line."""
        self._utf8_starts = starts[1:]

    def translate(self, offsets: Iterable[int]) -> list[int]:
        """Turn offsets in the UTF-8 form into offsets in the file.

        Parameters
        ----------
        offsets : Iterable of int
            Offsets that `starts` gave, each at a character's edge.

        Returns
        -------
        list of int
            Bytes from the start of the file.
        """
        if not self._lines:
            return list(offsets)
        own_starts = list(accumulate(map(len, self._lines), initial=0))
        return [self._own_offset(offset, own_starts) for offset in offsets]

    def _own_offset(self, offset: int, own_starts: list[int]) -> int:
        number = bisect_right(self._utf8_starts, offset) - 1
        if number >= len(self._lines):
            return own_starts[-1]
        before = self._lines[number].decode(self.encoding).encode()[: offset - self._utf8_starts[number]]
        return own_starts[number] + len(before.decode().encode(self.encoding))


def _recoded(lines: list[bytes], text: str, encoding: str) -> list[bytes]:
    decoded = [line.decode(encoding) for line in lines]
    sizes = {character: len(character.encode(encoding)) for character in set(text)}
    stands_alone = all(
        sum(map(sizes.__getitem__, each)) == len(line) for each, line in zip(decoded, lines, strict=True)
    )
    if "".join(decoded) != text or not stands_alone:
        raise UnicodeError(f"In {encoding} the bytes of a character depend on those before it.")
    return [line.encode() for line in decoded]
