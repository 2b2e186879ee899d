"""The records of a run (metrics, figures, report, account of its time) where its workdir is.

On a disk they are written into the workdir. A bucket takes no appended line and no half a file: of
a run whose workdir is an address, the records are kept on this machine's disk, and those that have
changed are copied, whole, every few seconds, before each save and at the end. What a killed process
had not copied are records of steps that are taken again.
"""

import contextlib
import pathlib
import sys
import tempfile
import threading
from collections.abc import Iterator

from rewardjax.command import owner
from rewardjax.command.background import beside
from rewardjax.io import storage

COPIED_EVERY = 15.0  # seconds


class Records:
    """The folder in which a run's records are written, and where they are copied to."""

    def __init__(self, folder: pathlib.Path, address: pathlib.Path | None = None):
        """address: where copies go, None where the folder is the workdir itself."""
        self.folder, self._address = folder, address
        self._copied: dict[pathlib.Path, storage.Version | None] = {}
        # The loop copies, and so does the thread beside it.
        self._copying = threading.Lock()

    def fetch(self) -> None:
        """Copy what earlier starts have left, as far as this one goes on with it."""
        if self._address is None:
            return
        for name in storage.names_in(self._address):
            path, source = self.folder / name, self._address / name
            # Folders are checkpoints, pictures and event files, which nobody goes on with.
            if name.startswith(owner.LEASE) or storage.version(source) is None:
                continue
            storage.download(source, path)
            self._copied[path] = storage.version(path)

    def copy(self) -> None:
        """Copy what has changed since the last time."""
        if self._address is None:
            return
        with self._copying:
            # The oldest first: whoever sees DONE finds everything that was written before.
            for path in sorted(self._written(), key=_changed_at):
                version = storage.version(path)
                if version is None or version == self._copied.get(path):
                    continue
                storage.upload(path, self._address / path.relative_to(self.folder).as_posix())
                self._copied[path] = version

    def try_to_copy(self) -> None:
        """As `copy`, but what goes wrong is told: no run ends because of its records."""
        try:
            self.copy()
        # The client raises errors of many kinds.
        except Exception as error:
            print(
                f"{self._address}: the records were not copied ({error}); it is tried again",
                file=sys.stderr,
                flush=True,
            )

    def copy_regularly(self, stop: threading.Event) -> None:
        """Copy every few seconds until `stop`."""
        while not stop.wait(COPIED_EVERY):
            self.try_to_copy()

    def _written(self) -> list[pathlib.Path]:
        """The files that are whole."""
        paths = self.folder.rglob("*")
        return [path for path in paths if path.suffix != ".part" and path.is_file()]


def _changed_at(path: pathlib.Path) -> int:
    version = storage.version(path)
    if version is None:
        return 0
    return version.change


@contextlib.contextmanager
def kept(workdir: pathlib.Path) -> Iterator[Records]:
    """The records of a run in `workdir`, which are all there when the block has ended well."""
    if not storage.is_address(workdir):
        yield Records(workdir)
        return
    with tempfile.TemporaryDirectory(prefix="rewardjax-") as name:
        folder = pathlib.Path(name) / workdir.name
        folder.mkdir()
        records = Records(folder, workdir)
        records.fetch()
        try:
            with beside(records.copy_regularly):
                yield records
        except BaseException:
            records.try_to_copy()
            raise
        records.copy()
