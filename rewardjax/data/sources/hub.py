"""Data set repositories of the Hugging Face hub, downloaded into its client's cache."""

import pathlib

from rewardjax.data.sources.files import SUFFIXES


def snapshot(path: str) -> pathlib.Path:
    """The folder of a hub data set repository's data files, downloaded.

    Raises ImportError without huggingface_hub, ConnectionError where the download fails.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError(
            f"{path}: reading from the hub needs huggingface_hub: pip install 'rewardjax[hub]'"
        ) from None
    organization, name, inner = (path.removeprefix("hf://").strip("/") + "//").split("/", 2)
    try:
        root = huggingface_hub.snapshot_download(
            f"{organization}/{name}",
            repo_type="dataset",
            allow_patterns=[f"*{suffix}" for suffix in SUFFIXES],
        )
    except Exception as error:  # the hub's own errors, the HTTP client's, the cache's
        raise ConnectionError(
            f"{path}: cannot be downloaded ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "is there a network, and does the data set exist? A local folder works without one"
        ) from error
    return pathlib.Path(root, inner.strip("/"))
