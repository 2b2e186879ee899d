"""Model repositories of the Hugging Face hub, fetched into the cache of its client library.

A job without a network reads what the cache (HF_HOME) holds, as with transformers.
"""

import functools
import os
import pathlib
import re

PREFIX = "hf://"
# The root of a repository only: folders inside repeat the weights in the formats of other readers.
SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model")
WEIGHTS = ("*.safetensors",)
LEFT_OUT = ("*/*", "consolidated*")  # Mistral's name for a second copy of the weights


def is_repository(name: str) -> bool:
    """Whether `name` is written like ORG/NAME and cannot be meant as a local path.

    `runs/world`, mistyped in a folder that has `runs`, is a path.
    """
    if name.startswith(PREFIX):
        return True
    owner, _, _ = name.partition("/")
    spelled = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name)
    return spelled is not None and not os.path.exists(owner)


# Once per process: the files of one run come from one commit, and a name is looked up once.
@functools.cache
def snapshot(name: str, weights: bool) -> pathlib.Path:
    """The local folder of the repository `name`, ORG/NAME or hf://ORG/NAME.

    Without `weights` only configs and tokenizer are fetched. Raises ImportError without
    huggingface_hub, FileNotFoundError where the repository can neither be reached nor is cached.
    """
    repository = name.removeprefix(PREFIX)
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError(
            f"{name}: there is no such folder here, and reading from the hub needs "
            "huggingface_hub: pip install 'rewardjax[hub]'"
        ) from None
    patterns = SMALL_FILES
    if weights:
        patterns += WEIGHTS
    try:
        folder = huggingface_hub.snapshot_download(
            repository, allow_patterns=list(patterns), ignore_patterns=list(LEFT_OUT)
        )
    except Exception as error:  # the hub's own errors, the HTTP client's, the cache's
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(
            f"{name}: there is no such folder here, and the hub's repository of that name is "
            f"neither in the cache ({huggingface_hub.constants.HF_HUB_CACHE}) nor to be had "
            f"({type(error).__name__}: {reason}); check the name and the network, and set HF_TOKEN "
            "for a private or gated one"
        ) from error
    return pathlib.Path(folder)
