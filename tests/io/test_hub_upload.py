"""A folder goes to a repository of the hub byte by byte, and what hinders it is told before."""

import base64
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest
from tiny import ROOT

from rewardjax.io import hub_upload

constants = pytest.importorskip("huggingface_hub.constants")

NAME = "acme/reward"
WRITES = {"name": "ana", "orgs": [{"name": "acme"}], "auth": {"accessToken": {"role": "write"}}}


class Hub:
    """A server that takes a repository's files as the hub does, small ones inline, others by LFS.

    user: what it says of whoever has the token "right". received: path -> bytes of the commits.
    """

    def __init__(self):
        self.user, self.status = WRITES, 0
        self.private: bool | None = None  # None where there is no repository
        self.received: dict[str, bytes] = {}
        self.large: dict[str, bytes] = {}
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, value, code=200, **headers):
                body = json.dumps(value).encode()
                self.send_response(code)
                for key, text in headers.items():
                    self.send_header(key.replace("_", "-"), text)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def handle_request(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("?")[0]
                if path.startswith("/large/"):
                    # As the storage behind the hub, which has signed the address: no token there.
                    hub.large[path.removeprefix("/large/")] = body
                    return self.answer({})
                if self.headers.get("Authorization") != "Bearer right":
                    return self.answer({"error": "who are you?"}, 401)
                if path == "/api/whoami-v2":
                    return self.answer(hub.user)
                if hub.status:
                    return self.answer({"error": "Not with this token"}, hub.status)
                if path == "/api/repos/create":
                    return self.create(json.loads(body))
                if path == f"/api/models/{NAME}":
                    if hub.private is None:
                        return self.answer({}, 404, X_Error_Code="RepoNotFound")
                    return self.answer({"id": NAME, "private": hub.private, "sha": "1" * 40})
                if path == f"/api/models/{NAME}/preupload/main":
                    return self.modes(json.loads(body)["files"])
                if path == f"/{NAME}.git/info/lfs/objects/batch":
                    return self.batch(json.loads(body)["objects"])
                if path == f"/api/models/{NAME}/commit/main":
                    return self.commit(map(json.loads, body.splitlines()))
                return self.answer({"error": f"no {path}"}, 404)

            do_GET = do_HEAD = do_POST = do_PUT = handle_request

            def create(self, wishes):
                code = 200
                if hub.private is not None:
                    code = 409
                else:
                    hub.private = wishes.get("visibility") == "private"
                    assert f"{wishes['organization']}/{wishes['name']}" == NAME
                self.answer({"url": f"{hub.address}/{NAME}"}, code)

            def modes(self, files):
                answers = []
                for file in files:
                    mode = "regular"
                    if file["path"].endswith(".safetensors"):
                        mode = "lfs"
                    answers.append(
                        {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
                    )
                self.answer({"files": answers})

            def batch(self, wanted):
                objects = []
                for each in wanted:
                    upload = {"href": f"{hub.address}/large/{each['oid']}"}
                    objects.append({**each, "actions": {"upload": upload}})
                self.answer({"transfer": "basic", "objects": objects})

            def commit(self, lines):
                for line in lines:
                    value = line["value"]
                    if line["key"] == "file":
                        hub.received[value["path"]] = base64.b64decode(value["content"])
                    elif line["key"] == "lfsFile":
                        body = hub.large[value["oid"]]
                        assert hashlib.sha256(body).hexdigest() == value["oid"]
                        hub.received[value["path"]] = body
                self.answer({"commitUrl": f"{hub.address}/{NAME}/commit/1", "commitOid": "1" * 40})

            def log_message(self, format, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The server, as the hub of this process, whose user has a token."""
    hub = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "right")
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_bytes("ä".encode() * 1000)
    (folder / "model.safetensors").write_bytes(os.urandom(100_000))
    return folder


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("private, visibility", [(False, "public"), (True, "private")])
def test_a_folder_arrives_byte_by_byte(hub, folder, capsys, private, visibility):
    hub_upload.refuse(NAME, private)
    assert hub.private is None, "nothing is made before the folder is there"
    hub_upload.upload(folder, NAME, private)
    assert hub.received == contents(folder)
    assert len(hub.large) == 1
    assert hub.private is private
    assert f"uploading to {hub.address}/{NAME} ({visibility})" in capsys.readouterr().err


def test_a_repository_that_is_there_gets_another_commit(hub, folder):
    hub.private = True
    hub_upload.refuse(NAME)
    hub_upload.upload(folder, NAME)
    assert hub.received == contents(folder) and hub.private


def refusal(name=NAME, private=False):
    with pytest.raises(ValueError) as refused:
        hub_upload.refuse(name, private)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["reward", "acme/reward@main", "acme/a/b", "acme/a--b", "a b/c"])
def test_a_name_that_no_repository_has(hub, name):
    assert refusal(name).startswith(f"--push {name}: ")


def test_tokens_that_are_missing_wrong_or_may_not_write(hub, monkeypatch):
    hub.user = {**WRITES, "auth": {"accessToken": {"role": "read"}}}
    assert "the token of ana may only read" in refusal()
    hub.user = WRITES
    assert "may write to ana, acme and not to other" in refusal("other/reward")
    # What a fine-grained token may do shows when it is used.
    hub.user = {**WRITES, "auth": {"accessToken": {"role": "fineGrained"}}, "orgs": []}
    hub_upload.refuse("other/reward")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert "does not accept the token; log in with `hf auth login`" in refusal()
    monkeypatch.delenv("HF_TOKEN")
    assert "there is no token; log in with `hf auth login`, or set HF_TOKEN" in refusal()


def test_a_public_repository_is_not_taken_for_a_private_one(hub):
    hub.private = False
    assert "is there and public, which --private does not change" in refusal(private=True)


def test_a_hub_that_is_away_or_refuses(hub, folder, monkeypatch):
    hub.status = 403
    with pytest.raises(ValueError, match="refuses: 403, Not with this token"):
        hub_upload.upload(folder, NAME)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "the hub at http://127.0.0.1:9 cannot be reached" in refusal()


def command(hub, *arguments, **environment):
    settings = {"HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1", **environment}
    return subprocess.run(
        [sys.executable, "-m", "rewardjax.export", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
    )


@pytest.mark.slow
def test_export_pushes_what_it_wrote(hub, tiny_run, tmp_path):
    output = tmp_path / "exported"
    arguments = ["--model", tiny_run[0], "--output", output, "--push", NAME]
    done = command(hub, *arguments, HF_TOKEN="wrong")
    assert done.returncode == 2 and "does not accept the token" in done.stderr
    assert not output.exists(), "told before the model was loaded"
    done = command(hub, *arguments)
    assert done.returncode == 0, done.stderr
    assert f"{NAME}: uploaded to the hub" in done.stdout
    assert hub.received == contents(output)
    hub.status = 403
    again = tmp_path / "again"
    hub.user = {**WRITES, "auth": {}}
    done = command(hub, "--model", tiny_run[0], "--output", again, "--push", NAME)
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("rewardjax.export")]
    assert done.returncode == 2 and f"{again} is exported, and `hf upload {NAME}" in sentence
