"""Lines of text files that others wrote: decompressed, without a byte order mark, and UTF-8 or refused."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import UserError

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
MAGIC = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
ZSTANDARD = b"\x28\xb5\x2f\xfd"


def kind_of_name(path: Path) -> str:
    """The ending that says what a file holds, in small letters: that in front of `.gz` and its like."""
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return inner.suffix.lower()


def lines_of(file: Path, name: str | None = None) -> Iterator[tuple[int, str]]:
    """(number from 1, line with its end) of a text file; what ends a line is a newline alone, because texts hold other ends.

    Args:
        name: what messages call it; default: its path.

    Raises:
        UserError: it is not UTF-8, or its compression is damaged.
    """
    name, position = name or str(file), 0
    try:
        with _open(file) as stream:
            for number, line in enumerate(stream, 1):
                if number == 1:
                    line = _without_mark(line, name)
                try:
                    yield number, line.decode()
                except UnicodeDecodeError as error:
                    raise UserError(
                        f"{name} is not valid UTF-8 near byte {position + error.start}; re-encode it, for example with "
                        "`iconv -f latin1 -t utf-8`"
                    ) from None
                position += len(line)
    except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(f"{name} cannot be decompressed ({error}): it is damaged or cut short") from None


def _open(file: Path) -> BinaryIO:
    """A file for reading, decompressed by what its first bytes say."""
    with open(file, "rb") as stream:
        start = stream.read(6)
    if start.startswith(ZSTANDARD):
        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(str(file), compression="zstd"))
    for magic, opener in MAGIC.items():
        if start.startswith(magic):
            return opener(file, "rb")
    return open(file, "rb")


def _without_mark(line: bytes, name: str) -> bytes:
    """The first line without UTF-8's byte order mark."""
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 3 * line.count(0) > len(line):
        raise UserError(f"{name} is UTF-16, not UTF-8: re-encode it, for example with `iconv -f utf-16 -t utf-8`")
    return line.removeprefix(codecs.BOM_UTF8)
