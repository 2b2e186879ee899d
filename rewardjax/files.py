"""Files and folders that appear whole or not at all."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike, *, many_writers: bool = False) -> Iterator[pathlib.Path]:
    """Yield a temporary path beside `path`, and give it the name `path` when the block ends well.

    The block writes a file there, or makes a folder. A reader sees what was at `path` before, or
    all of the new content. If the block raises, the temporary path is removed and `path` stays as
    it was. A folder can only replace nothing or an empty folder (OSError otherwise).

    Args:
        path: what appears at the end; the folder around it must exist.
        many_writers: whether several processes may write `path` at the same time.
    """
    final = pathlib.Path(path)
    # By default the name is the same for every process: what a killed one left behind is
    # overwritten by the next try instead of filling the disk. Where processes may write at the
    # same time, each needs a name of its own, or one could rename what another has half written.
    # At the end of the name, so that a glob for *.json or *.parquet does not match it.
    ending = ".part"
    if many_writers:
        ending = f".{os.getpid()}.part"
    part = final.with_name(final.name + ending)
    _remove(part)
    try:
        yield part
        if part.is_file():
            # The rename may reach the disk before the bytes do: after a power cut the file would
            # exist and be empty.
            with open(part, "rb") as file:
                os.fsync(file.fileno())
        os.replace(part, final)
    finally:
        _remove(part)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
