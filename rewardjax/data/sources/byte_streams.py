"""The bytes of a file, decompressed, or one sentence about what the file is instead of data."""

import contextlib
import gzip
import io
import pathlib
import zlib
from collections.abc import Iterator
from typing import IO, cast

import pyarrow as pa

from rewardjax.files import HEAD, refuse_stand_in

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # first bytes, RFC 1952 and RFC 8878

# Spellings of a byte order mark; UTF-32's first, since UTF-16's is the start of one of them.
WIDE_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


@contextlib.contextmanager
def decompressed(file: pathlib.Path) -> Iterator[IO[bytes]]:
    """A buffered stream of the file's text as bytes.

    Raises ValueError with the remedy for a file that is cut off, damaged, not UTF-8 text, or
    something else under the data's name.
    """
    refuse_stand_in(file)
    with open(file, "rb") as raw:
        start = raw.read(len(ZSTD))
    try:
        # By content, not by name: some downloads are decompressed on the way and keep the suffix.
        with contextlib.ExitStack() as stack:
            if start.startswith(GZIP):
                stream = cast(IO[bytes], stack.enter_context(gzip.open(file, "rb")))
            elif start.startswith(ZSTD):
                packed = pa.CompressedInputStream(pa.OSFile(str(file)), "zstd")
                stream = stack.enter_context(io.BufferedReader(cast(io.RawIOBase, packed)))
            else:
                stream = stack.enter_context(open(file, "rb"))
            _refuse_other_text(file, cast(io.BufferedReader, stream).peek(HEAD)[:HEAD])
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException, OSError) as error:
        # The system's own refusals name the file themselves.
        if isinstance(error, OSError) and error.filename:
            raise
        raise ValueError(
            f"{file}: cut off or damaged ({error}); download or copy it again"
        ) from None


def _refuse_other_text(file: pathlib.Path, head: bytes) -> None:
    """Raise ValueError for text in 16 or 32 bits per character."""
    encoding = None
    for mark, name in WIDE_BOMS.items():
        if head.startswith(mark):
            encoding = name
            break
    # Without a mark: JSON and tables begin with ASCII, of which every second byte is a zero.
    if encoding is None and len(head) >= 4:
        is_zero = [byte == 0 for byte in head[:4]]
        if is_zero == [False, True, False, True]:
            encoding = "UTF-16LE"
        elif is_zero == [True, False, True, False]:
            encoding = "UTF-16BE"
    if encoding is not None:
        raise ValueError(
            f"{file}: {encoding} text, and only UTF-8 is read; convert it: "
            f"iconv -f {encoding} -t UTF-8 {file.name} > utf8-{file.name}"
        )
