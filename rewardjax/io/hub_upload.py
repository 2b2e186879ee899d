"""A folder of a model to a repository of the Hugging Face hub, by its client library.

As transformers' `push_to_hub` does it: the repository is made unless it is there, public unless the
organization's default is private or `private` says so, and the files become a commit on its main
branch. The token is that of HF_TOKEN or of `hf auth login`. All that the hub can tell beforehand is
asked before anything is computed.
"""

import pathlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from rewardjax.io import hub

LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


def refuse(name: str, private: bool = False) -> None:
    """Raise ValueError where the folder could not be uploaded to `name`, as far as that is known.

    private: that the repository is to be, which one that is there and public would not become.
    Raises ImportError without huggingface_hub.
    """
    client = _client()
    spelled = hub.SPELLING.fullmatch(name)
    if spelled is None or spelled["revision"] or spelled["folder"]:
        raise ValueError(f"--push {name}: a repository of the hub is written ORG/NAME")
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except ValueError as error:
        raise ValueError(f"--push {name}: {_first_line(error)}") from None
    user = _ask(name, client.HfApi().whoami)
    _refuse_token(name, user)
    if private and _is_public(client, name):
        raise ValueError(
            f"--push {name}: the repository is there and public, which --private does not change; "
            "make it private in its settings, or push to another name"
        )


def upload(folder: pathlib.Path, name: str, private: bool = False) -> None:
    """Upload all files of `folder` as a commit to the repository `name`; says where they go.

    Raises ValueError where the hub refuses or is lost on the way.
    """
    client = _client()
    api = client.HfApi()
    # None and not False: an organization whose default is private stays as it is.
    url = _ask(name, api.create_repo, name, private=private or None, exist_ok=True)
    visibility = "private"
    # Said before the first byte goes there.
    if _is_public(client, name):
        visibility = "public"
    print(f"uploading to {url} ({visibility})", file=sys.stderr, flush=True)
    message = "Reward model, exported by rewardjax"
    _ask(name, api.upload_folder, repo_id=name, folder_path=folder, commit_message=message)


def _client() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError("--push needs huggingface_hub: pip install 'rewardjax[hub]'") from None
    return huggingface_hub


def _is_public(client: ModuleType, name: str) -> bool:
    """Whether the repository is there for everybody to see."""
    api = client.HfApi()
    if not _ask(name, api.repo_exists, name):
        return False
    return not _ask(name, api.model_info, name).private


def _refuse_token(name: str, user: Mapping[str, Any]) -> None:
    """Raise ValueError where the token's owner may not write to the repository."""
    owner = name.partition("/")[0]
    role = user.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise ValueError(
            f"--push {name}: the token of {user['name']} may only read; make one that may write "
            f"(https://huggingface.co/settings/tokens), and {LOGIN}"
        )
    # What a fine-grained token may do is known to the hub alone.
    organizations = [each["name"] for each in user.get("orgs", [])]
    if role == "write" and owner not in (user["name"], *organizations):
        raise ValueError(
            f"--push {name}: the token is that of {user['name']}, who may write to "
            f"{', '.join([user['name'], *organizations])} and not to {owner}"
        )


def _ask(name: str, request: Any, *arguments: Any, **options: Any) -> Any:
    """The hub's answer to a request. Raises ValueError, in a sentence, for all that goes wrong."""
    from huggingface_hub import constants, errors

    try:
        return request(*arguments, **options)
    except errors.LocalTokenNotFoundError:
        raise ValueError(f"--push {name}: there is no token; {LOGIN}") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            reason = f"the hub does not accept the token; {LOGIN}"
        else:
            reason = f"the hub at {constants.ENDPOINT} refuses: {status}, {_reason(error)}"
        raise ValueError(f"--push {name}: {reason}") from error
    # Of the HTTP client, of threads that upload, of files: they have nothing in common.
    except Exception as error:
        raise ValueError(
            f"--push {name}: the hub at {constants.ENDPOINT} cannot be reached "
            f"({_first_line(error)}); check the network"
        ) from error


def _reason(error: Any) -> str:
    """What the hub itself says of an error, else the first line of the client's words."""
    return getattr(error, "server_message", None) or _first_line(error)


def _first_line(error: BaseException) -> str:
    # A thread that uploads says which file it was; the reason is that of the error behind it.
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        return f"{_line(error)} {_line(error.__cause__)}"
    return _line(error)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
