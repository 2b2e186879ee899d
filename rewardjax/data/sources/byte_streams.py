"""The bytes of a file, decompressed, or one sentence about what the file is instead of data."""

import bz2
import contextlib
import gzip
import io
import lzma
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple, cast

import pyarrow as pa

from rewardjax.io import storage
from rewardjax.io.files import HEAD, refuse_stand_in


def _open_zstd(stream: IO[bytes]) -> IO[bytes]:
    packed = pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")
    return cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, packed)))


# Compressed files by their first bytes: RFC 1952, RFC 8878, and the formats of xz and bzip2.
COMPRESSIONS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"\x28\xb5\x2f\xfd": _open_zstd,
    b"\xfd7zXZ\0": lzma.open,
    b"BZh": bz2.open,
}


class Other(NamedTuple):
    """What a file may be in place of text: its first bytes, its name, and what to do about it."""

    start: bytes
    name: str
    remedy: str


UNPACK = "unpack it, and name the file or folder that was in it"
OTHERS = (
    Other(b"PAR1", "a Parquet file", "give it a name that ends with .parquet"),
    Other(b"ARROW1", "an Arrow file", "give it a name that ends with .arrow"),
    Other(b"\xff\xff\xff\xff", "an Arrow stream", "give it a name that ends with .arrow"),
    Other(b"PK\x03\x04", "a zip archive", UNPACK),
    Other(b"7z\xbc\xaf", "a 7z archive", UNPACK),
    Other(b"Rar!", "a RAR archive", UNPACK),
    Other(b"\x04\x22\x4d\x18", "compressed by lz4", "decompress it: lz4 -d"),
    Other(b"SQLite format 3", "a SQLite database", "export its table as CSV"),
    Other(b"\x80\x04", "a Python pickle", "write its records as JSON lines"),
    Other(b"\x80\x05", "a Python pickle", "write its records as JSON lines"),
    Other(b"%PDF", "a PDF", "name the data itself"),
)
# Bytes of one record. A file of a few MB may unpack to one line that no memory could hold.
LONGEST = 1 << 27
TAR_AT, TAR = 257, b"ustar"  # where the header of a tar archive says what it is

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
    try:
        with storage.opened(file) as raw, _decompressing(raw) as stream:
            head = stream.peek(HEAD)[:HEAD]
            _refuse_other_kind(file, head)
            _refuse_other_text(file, head)
            yield stream
    except (EOFError, zlib.error, lzma.LZMAError, pa.ArrowException, OSError) as error:
        # The system's own refusals name the file themselves.
        if isinstance(error, OSError) and error.filename:
            raise
        raise ValueError(
            f"{file}: cut off or damaged ({error}); download or copy it again"
        ) from None


def _decompressing(raw: IO[bytes]) -> Any:
    """A buffered stream of what is packed in `raw`; `raw` itself where it is not packed."""
    start = raw.read(max(map(len, COMPRESSIONS)))
    raw.seek(0)
    # By content, not by name: some downloads are decompressed on the way and keep the suffix.
    for magic, opener in COMPRESSIONS.items():
        if start.startswith(magic):
            return opener(raw)
    return raw


def _refuse_other_kind(file: pathlib.Path, head: bytes) -> None:
    """Raise ValueError for what is no text at all, such as an archive under the data's name."""
    for other in OTHERS:
        if head.startswith(other.start):
            raise ValueError(f"{file}: {other.name}, not text; {other.remedy}")
    if head[TAR_AT:].startswith(TAR):
        raise ValueError(f"{file}: a tar archive, not text; {UNPACK}")
    # Blocks that a file system had kept for a file, but of which it never got the content.
    if head and not head.strip(b"\0"):
        raise ValueError(
            f"{file}: nothing but zero bytes, as after a crash or a full disk; download or copy it "
            "again"
        )


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
