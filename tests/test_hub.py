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

import pytest
from tiny import ROOT

from rewardjax import assets, hub

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


def cache(home: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """`folder` in the cache as the library lays it out; returns its snapshot."""
    repository = home / "hub" / f"models--{NAME.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "blobs").mkdir()
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        blob = repository / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


@pytest.fixture
def serve():
    """Starts a hub that has the files of a folder as NAME; returns (address, paths that were read)."""
    servers = []

    def start(folder: pathlib.Path) -> tuple[str, list[str]]:
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
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
                path = self.path.partition("?")[0]
                if path == f"/api/models/{NAME}/revision/main" or path == f"/api/models/{NAME}":
                    names = [{"rfilename": name} for name in files]
                    self.answer(json.dumps({"id": NAME, "sha": COMMIT, "siblings": names}).encode())
                elif path.startswith(f"/api/models/{NAME}/tree/"):
                    tree = [
                        {
                            "type": "file",
                            "path": name,
                            "size": len(body),
                            "oid": hashlib.sha1(body).hexdigest(),
                        }
                        for name, body in files.items()
                    ]
                    self.answer(json.dumps(tree).encode())
                elif path.startswith(f"/{NAME}/resolve/") and path.rpartition("/")[2] in files:
                    name = path.rpartition("/")[2]
                    if self.command == "GET":
                        read.append(name)
                    etag = hashlib.sha1(files[name]).hexdigest()
                    self.answer(files[name], ETag=f'"{etag}"', X_Repo_Commit=COMMIT)
                else:
                    self.answer(b"{}", 404, X_Error_Code="RepoNotFound")

            do_HEAD = do_GET

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
    # One line says how the source is read, the next one what is missing.
    *reading, mistake = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(reading) == 1 and "prompt from `prompt`" in reading[0]
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
