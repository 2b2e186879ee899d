"""Repositories of the hub stand wherever a folder does: from a server, and from the cache without one."""

import hashlib
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import urllib.parse
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet
import pytest
from tiny import ROOT

from rewardjax import assets
from rewardjax.io import hub

pytest.importorskip("huggingface_hub")

NAME, COMMIT = "maker/tiny-reward", "0123456789abcdef0123456789abcdef01234567"
RESOLVE = "import sys; from rewardjax import assets; print(assets.resolve(sys.argv[1]))"


def run(home: pathlib.Path, *command: str, **environment: str) -> subprocess.CompletedProcess:
    """A command whose hub client has its cache in `home` and reads its settings when it starts."""
    settings = {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **environment}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
    )


def cache(
    home: pathlib.Path, folder: pathlib.Path, kind: str = "models", name: str = NAME
) -> pathlib.Path:
    """`folder` in the cache as the library lays it out; returns its snapshot."""
    repository = home / "hub" / f"{kind}--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "blobs").mkdir()
    for file in files_of(folder):
        blob = repository / "blobs" / hashlib.sha256((folder / file).read_bytes()).hexdigest()
        shutil.copy(folder / file, blob)
        (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / file).symlink_to(os.path.relpath(blob, (snapshot / file).parent))
    return snapshot


def files_of(folder: pathlib.Path) -> list[str]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path.relative_to(folder).as_posix() for path in paths]


class Revision(NamedTuple):
    """The files of a repository at a commit, and the branches and tags that name it."""

    files: dict[str, bytes]
    commit: str
    names: tuple[str, ...]


@pytest.fixture
def serve():
    """Starts a hub with one repository; returns (address, paths of files that were read).

    It answers as the hub does: the repository at a revision, its tree, its files by commit.
    """
    servers = []

    def start(
        folder: pathlib.Path,
        *older: tuple[pathlib.Path, str, str],
        kind: str = "models",
        name: str = NAME,
    ) -> tuple[str, list[str]]:
        content = lambda of: {path: (of / path).read_bytes() for path in files_of(of)}
        revisions = [Revision(content(folder), COMMIT, ("main", COMMIT))]
        for files, commit, tag in older:
            revisions.append(Revision(content(files), commit, (tag, commit)))
        read: list[str] = []

        class Hub(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, body: bytes, code: int = 200, **headers: str) -> None:
                self.send_response(code)
                for key, value in headers.items():
                    self.send_header(key.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def do_GET(self):
                path = urllib.parse.unquote(self.path.partition("?")[0])
                api = f"/api/{kind}/{name}"
                # Models alone have no word of their own in the addresses of files.
                of_kind = {"models": "", "datasets": "/datasets"}[kind]
                for revision in revisions:
                    for called in revision.names:
                        file = path.removeprefix(f"{of_kind}/{name}/resolve/{called}/")
                        if path == f"{api}/revision/{called}":
                            self.describe(revision)
                        elif path == f"{api}/tree/{called}":
                            self.tree(revision)
                        elif file in revision.files:
                            self.send(revision, file)
                        else:
                            continue
                        return
                code = "RepoNotFound"
                if path.startswith(f"{api}/"):
                    code = "RevisionNotFound"
                self.answer(b"{}", 404, X_Error_Code=code)

            do_HEAD = do_GET

            def describe(self, revision: Revision) -> None:
                siblings = [{"rfilename": file} for file in revision.files]
                info = {"id": name, "sha": revision.commit, "siblings": siblings}
                self.answer(json.dumps(info).encode())

            def tree(self, revision: Revision) -> None:
                entries = []
                for path, body in revision.files.items():
                    oid = hashlib.sha1(body).hexdigest()
                    entries.append({"type": "file", "path": path, "size": len(body), "oid": oid})
                self.answer(json.dumps(entries).encode())

            def send(self, revision: Revision, file: str) -> None:
                if self.command == "GET":
                    read.append(file)
                body = revision.files[file]
                etag = hashlib.sha1(body).hexdigest()
                self.answer(body, ETag=f'"{etag}"', X_Repo_Commit=revision.commit)

            def log_message(self, format, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", read

    yield start
    for server in servers:
        server.shutdown()


def test_a_repository_is_fetched_scored_and_then_read_without_a_network(exported, serve, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "served")
    (folder / "pytorch_model.bin").write_bytes(b"what is not read is not fetched")
    address, read = serve(folder)
    groups = tmp_path / "groups.jsonl"
    groups.write_text(json.dumps({"id": "a", "prompt": "1 + 1?", "chosen": "2", "rejected": "3"}))
    score = ["-m", "rewardjax.score", "--input", str(groups), "--model"]
    home, online, offline, local = (tmp_path / name for name in ("home", "a", "b", "c"))
    done = run(home, *score, NAME, "--output", f"{online}.jsonl", HF_ENDPOINT=address)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors" in read and "pytorch_model.bin" not in read
    done = run(home, *score, NAME, "--output", f"{offline}.jsonl", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    done = run(home, *score, str(exported), "--output", f"{local}.jsonl")
    assert done.returncode == 0, done.stderr
    rewards = {path.with_suffix(".jsonl").read_text() for path in (online, offline, local)}
    assert len(rewards) == 1


@pytest.mark.parametrize("name", [NAME, f"hf://{NAME}"])
@pytest.mark.parametrize(
    "settings", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}], ids=str
)
def test_a_cached_repository_needs_no_network(name, settings, tmp_path):
    snapshot = cache(tmp_path, assets.resolve("assets:world"))
    done = run(tmp_path, "-c", RESOLVE, name, **settings)
    assert done.returncode == 0, done.stderr
    assert pathlib.Path(done.stdout.strip()) == snapshot


def test_configs_and_tokenizers_are_read_without_fetching_weights(serve, tmp_path):
    address, read = serve(assets.resolve("assets:world"))
    code = (
        f"from rewardjax.models import build; print(build.decoder_config(folder={NAME!r}).width);"
        f"print(build.load_tokenizer(model_folder={NAME!r}).vocab_size)"
    )
    done = run(tmp_path, "-c", code, HF_ENDPOINT=address)
    assert done.returncode == 0, done.stderr
    assert "tokenizer.json" in read and "model.safetensors" not in read


def test_what_is_missing_is_said_in_one_line(serve, tmp_path):
    address, _ = serve(assets.resolve("assets:world"))
    source, output = "world:heldout?num=2", str(tmp_path / "y.jsonl")
    score = ["-m", "rewardjax.score", "--input", source, "--output", output, "--model"]
    done = run(tmp_path, *score, "maker/other", HF_ENDPOINT=address)
    # Nothing is read before it is known that there is a model.
    (mistake,) = done.stderr.strip().splitlines()
    assert done.returncode == 2
    assert "maker/other: there is no such folder here" in mistake and "HF_TOKEN" in mistake
    done = run(tmp_path, *score, NAME, HF_HUB_OFFLINE="1")
    assert done.returncode == 2 and f"neither in the cache ({tmp_path}" in done.stderr


def test_without_the_client_library_its_name_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"maker/no-library.*pip install 'rewardjax\[hub\]'"):
        assets.resolve("maker/no-library")


def test_a_path_is_not_taken_for_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for path in ("runs/mistyped", "/models/qwen", "./a/b", "../a", "a/b/c", "name"):
        assert not hub.is_repository(path)
        with pytest.raises(FileNotFoundError, match="no such folder"):
            assets.resolve(path)
    (tmp_path / "maker" / "model").mkdir(parents=True)
    assert assets.resolve("maker/model") == pathlib.Path("maker/model")


# ------------------------------------------------------------------ data sets

DATA = "maker/preferences"
OLDER = "fedcba9876543210fedcba9876543210fedcba98"
READ = """
import json, sys
from rewardjax.io import hub
from rewardjax.data.sources import open_source
source = open_source(sys.argv[1], split=(sys.argv[2:] or [None])[0])
records = [record["prompt"] for record in source]
print(json.dumps([source.name, records, hub.commits()]))
"""
CARD = """---
license: mit
configs:
- config_name: helpful
  default: true
  data_files:
  - split: train
    path: helpful/train-*
  - split: test
    path: helpful/test-*
- config_name: harmless
  data_files:
  - {split: train, path: [harmless/part.jsonl]}
---
# Preferences
"""


def data_set(folder: pathlib.Path, said: str = "new") -> pathlib.Path:
    """A repository with two configurations, of Parquet shards and of JSON lines, and a card."""
    for place in ("helpful", "harmless", "pictures"):
        (folder / place).mkdir(parents=True)
    for split, shards in (("train", 2), ("test", 1)):
        for i in range(shards):
            prompt = f"{said} helpful {split} {i}"
            table = pa.Table.from_pylist([{"prompt": prompt, "chosen": "a", "rejected": "b"}])
            name = f"{split}-{i:05}-of-{shards:05}.parquet"
            pa.parquet.write_table(table, folder / "helpful" / name)
    record = {"prompt": f"{said} harmless", "chosen": "a", "rejected": "b"}
    (folder / "harmless" / "part.jsonl").write_text(json.dumps(record) + "\n")
    (folder / "pictures" / "large.png").write_bytes(b"not fetched")
    (folder / "README.md").write_text(CARD)
    return folder


def read_source(home: pathlib.Path, *arguments: str, **environment: str) -> tuple:
    done = run(home, "-c", READ, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout))


def test_a_data_set_s_splits_are_read_from_a_server_and_then_from_the_cache(serve, tmp_path):
    address, read = serve(data_set(tmp_path / "served"), kind="datasets", name=DATA)
    helpful = ["new helpful train 0", "new helpful train 1"]
    for name in (f"hf://{DATA}", DATA, f"hf://datasets/{DATA}"):
        for settings in ({"HF_ENDPOINT": address}, {"HF_HUB_OFFLINE": "1"}):
            _, records, commits = read_source(tmp_path / "home", name, "train", **settings)
            assert records == helpful and commits == {DATA: COMMIT}
    assert "README.md" in read and "pictures/large.png" not in read
    # A configuration that is not the default one has its name before its splits' names.
    name, records, _ = read_source(
        tmp_path / "home", f"hf://{DATA}", "harmless/train", HF_HUB_OFFLINE="1"
    )
    assert records == ["new harmless"] and name == f"{DATA}/harmless/train"


def test_a_revision_is_the_one_that_is_read_and_recorded(serve, tmp_path):
    older = data_set(tmp_path / "older", "old")
    served = data_set(tmp_path / "served")
    address, _ = serve(served, (older, OLDER, "v1.0"), kind="datasets", name=DATA)
    for revision in ("v1.0", OLDER):
        for settings in ({"HF_ENDPOINT": address}, {"HF_HUB_OFFLINE": "1"}):
            name = f"{DATA}@{revision}"
            _, records, commits = read_source(tmp_path / "home", name, "test", **settings)
            assert records == ["old helpful test 0"] and commits == {name: OLDER}
    done = run(tmp_path / "home", "-c", READ, f"{DATA}@v9", "test", HF_ENDPOINT=address)
    assert "has no branch, tag or commit v9" in done.stderr.splitlines()[-1]


def test_a_part_of_a_data_set_is_fetched_alone(serve, tmp_path):
    address, read = serve(data_set(tmp_path / "served"), kind="datasets", name=DATA)
    expected = {
        "harmless": 1,
        "helpful/test-00000-of-00001.parquet": 1,
        "helpful/train-*.parquet": 2,
    }
    for place, count in expected.items():
        read.clear()
        _, records, _ = read_source(
            tmp_path / str(count) / place[:8], f"hf://{DATA}/{place}", HF_ENDPOINT=address
        )
        assert len(records) == count
        assert {path.split("/")[0] for path in read} <= {place.split("/")[0], "README.md"}
    done = run(tmp_path / "x", "-c", READ, f"hf://{DATA}/nowhere", HF_ENDPOINT=address)
    assert "no data in nowhere" in done.stderr.splitlines()[-1]


def test_a_data_set_in_the_cache_needs_no_network(tmp_path):
    cache(tmp_path / "home", data_set(tmp_path / "served"), "datasets", DATA)
    for settings in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        _, records, _ = read_source(tmp_path / "home", f"hf://{DATA}", "test", **settings)
        assert records == ["new helpful test 0"]


def test_check_says_in_one_line_what_is_missing_of_a_data_set(serve, tmp_path):
    address, _ = serve(data_set(tmp_path / "served"), kind="datasets", name=DATA)
    check = ["-m", "rewardjax.check"]
    cases = {
        f"hf://{DATA}": "splits harmless/train, test, train; choose one",
        "hf://maker/other": "hf://maker/other: there is no such folder here, and the hub's dataset",
        "hf://maker": "hf://maker: not the name of a repository",
        f"hf://{DATA}@none": "no branch, tag or commit none",
    }
    for source, sentence in cases.items():
        done = run(tmp_path / "home", *check, source, HF_ENDPOINT=address)
        # Above it are the client's bars.
        line = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 2 and sentence in line
    done = run(tmp_path / "home", *check, f"hf://{DATA}", "--split", "test", HF_ENDPOINT=address)
    assert done.returncode == 0 and "1 of 1 records can be used" in done.stdout


def test_a_model_s_revision_is_the_one_that_is_read(serve, tmp_path):
    world = assets.resolve("assets:world")
    older = shutil.copytree(world, tmp_path / "older")
    config = json.loads((older / "config.json").read_text()) | {"max_position_embeddings": 77}
    (older / "config.json").write_text(json.dumps(config))
    address, _ = serve(world, (older, OLDER, "refs/pr/3"))
    code = (
        "import sys; from rewardjax.io import hub; from rewardjax.models import build;"
        "build.decoder_config(folder=sys.argv[1]); print(hub.commits())"
    )
    for name, commit in ((NAME, COMMIT), (f"{NAME}@refs/pr/3", OLDER)):
        done = run(tmp_path / "home", "-c", code, name, HF_ENDPOINT=address)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str({name: commit})
