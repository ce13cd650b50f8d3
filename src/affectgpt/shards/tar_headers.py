"""Finds the members of a tar without reading their content, and checks every size in it."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

BLOCK = 512
MAX_EXTENDED_BYTES = 2**16
"""Largest extended header, which holds a long name; ``tarfile`` reads it into memory."""

_PLAIN_FILE = (b"0", b"\0")
_NO_FILE = (b"1", b"2", b"3", b"4", b"5", b"6")
_EXTENDED = (b"x", b"g", b"L", b"K", b"X")
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")


def scan_members(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """Yield name, content offset and size of every file in a tar, in order, including those before a fault.

    It is three times as fast as ``tarfile``, which matters because every worker opens every shard that its rank reads.
    Headers other than the plain ones of WebDataset (long names, sizes above 8 GB) are left to ``tarfile``, after the
    sizes in them are checked.

    Raises:
        tarfile.TarError: If it is not a tar, ends too early, or has an impossible size.
    """
    found = 0
    for offset, header, length in _headers(file):
        kind = header[156:157]
        if (kind not in _PLAIN_FILE and kind not in _NO_FILE) or header[124] & 0x80:
            for _ in _headers(file):  # check all sizes before tarfile uses one
                pass
            yield from islice(_scan_slowly(file), found, None)
            return
        if kind in _PLAIN_FILE:
            name, prefix = (_text(header[a:b], offset) for a, b in ((0, 100), (345, 500)))
            is_ustar = header[257:262] == b"ustar"
            found += 1
            yield f"{prefix}/{name}" if prefix and is_ustar else name, offset + BLOCK, length


def _headers(file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Offset, header and content size of all members; each is within the file and after the previous one."""
    size = os.fstat(file.fileno()).st_size
    offset = 0
    while True:
        header = os.pread(file.fileno(), BLOCK, offset)
        if not header.strip(b"\0"):  # the end mark; a tar without one ends with its file
            return
        if len(header) < BLOCK:
            raise tarfile.ReadError(f"it ends after {size} bytes, in the middle of a header")
        if _octal(header[148:156], offset) != sum(header) - sum(header[148:156]) + 8 * 32:
            raise tarfile.ReadError(f"the header at byte {offset} is broken")
        kind = header[156:157]
        length = int.from_bytes(header[125:136], "big") if header[124] == 0x80 else _octal(header[124:136], offset)
        held = 0 if kind in _NO_FILE else length
        if offset + BLOCK + held > size:
            raise tarfile.ReadError(f"it ends after {size} bytes, in the middle of a member")
        if kind in _EXTENDED and length > MAX_EXTENDED_BYTES:
            raise tarfile.ReadError(
                f"the header at byte {offset} goes on for {length} bytes, more than {MAX_EXTENDED_BYTES} "
                "(MAX_EXTENDED_BYTES)"
            )
        yield offset, header, length
        offset += BLOCK + -(-held // BLOCK) * BLOCK


def _octal(field: bytes, offset: int) -> int:
    digits = _OCTAL.fullmatch(field)
    if digits is None:  # int() would also accept a sign, and tarfile a negative number
        raise tarfile.ReadError(f"the header at byte {offset} is broken: {field!r} is not a size")
    return int(digits[1] or b"0", 8)


def _text(field: bytes, offset: int) -> str:
    try:
        return field.partition(b"\0")[0].decode()
    except UnicodeDecodeError as error:
        raise tarfile.ReadError(f"the header at byte {offset} is broken: its name is not UTF-8") from error


def _scan_slowly(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    size = os.fstat(file.fileno()).st_size
    last = -1
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.issparse():
                    raise tarfile.ReadError(f"{member.name!r} is a sparse file, whose size is not that of its content")
                # a record of an extended header may override the plain one
                if member.offset <= last or member.size < 0 or member.offset_data + member.size > size:
                    raise tarfile.ReadError(f"the header at byte {member.offset} is broken")
                last = member.offset
                if member.isfile():
                    member.name.encode()
                    yield member.name, member.offset_data, member.size
    except (ValueError, OverflowError, RecursionError, EOFError) as error:
        raise tarfile.ReadError(f"a header is broken ({error!r})") from error
