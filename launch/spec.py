"""What a job is, whatever runs it. Renderers turn a JobSpec into the words of one cluster."""

import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from launch.accelerators import Slice

# Kubernetes appends replica, pod index and a random suffix to the name, and the result must still
# fit 63 characters.
NAME_LIMIT = 40

_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._:/-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})")


@dataclasses.dataclass(frozen=True)
class JobSpec:
    """One training job: `python -m rewardjax.train` on every host of its slices.

    name: a DNS label. tpu, slices: how many slices of which shape. image: a container with a tag or
    a digest. config: "FILE.py:arg" inside the image. overrides: dotted keys of the config. workdir:
    where every host reads and writes. queue: Kueue queue or None. restarts: how many in a row
    without a new checkpoint. grace_seconds: from SIGTERM to SIGKILL. env: extra variables. Raises
    ValueError that names a field which no cluster would take.
    """

    name: str
    tpu: Slice
    image: str
    config: str
    workdir: str
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    slices: int = 1
    queue: str | None = None
    restarts: int = 10
    grace_seconds: int = 120
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        # A frozen dataclass whose mappings could be changed would only look checked.
        for field in ("overrides", "env"):
            object.__setattr__(self, field, MappingProxyType(dict(getattr(self, field))))
        for field in ("name", "queue"):
            value = getattr(self, field)
            if value is not None:
                _check(
                    _DNS_LABEL.fullmatch(value) is not None,
                    field,
                    value,
                    "lower-case letters, digits and '-', a letter first",
                )
        _check(len(self.name) <= NAME_LIMIT, "name", self.name, f"at most {NAME_LIMIT} characters")
        _check(
            self.queue is None or len(self.queue) <= 63,
            "queue",
            self.queue,
            "at most 63 characters",
        )
        _check(
            _IMAGE.fullmatch(self.image) is not None,
            "image",
            self.image,
            "an image with a :tag or an @sha256:digest",
        )
        # The path is opened inside the container, where only what the image holds exists.
        path = self.config.partition(":")[0]
        _check(
            path.endswith(".py") and not path.startswith(("/", "../")),
            "config",
            self.config,
            "a .py file inside the repository",
        )
        _check(
            self.workdir.startswith(("gs://", "/")),
            "workdir",
            self.workdir,
            "gs://bucket/folder or an absolute path",
        )
        for field, low in (("slices", 1), ("restarts", 0), ("grace_seconds", 1)):
            value = getattr(self, field)
            # Not isinstance: True is an int.
            _check(
                type(value) is int and value >= low, field, value, f"a whole number, at least {low}"
            )
        for key, value in self.env.items():
            _check(
                _ENV_NAME.fullmatch(key) is not None and isinstance(value, str),
                "env",
                {key: value},
                "NAME=text",
            )

    @property
    def bucket(self) -> str | None:
        """The bucket of a gs:// workdir, which the hosts mount at /gcs/BUCKET."""
        if not self.workdir.startswith("gs://"):
            return None
        return self.workdir.removeprefix("gs://").partition("/")[0]

    @property
    def mounted_workdir(self) -> str:
        """The workdir as a path on a host."""
        return self.workdir.replace("gs://", "/gcs/", 1)

    def command(self) -> list[str]:
        """The argv of every host; no shell reads it."""
        flags = [f"--config.{key}={value}" for key, value in self.overrides.items()]
        return [
            "python",
            "-m",
            "rewardjax.train",
            f"--config={self.config}",
            f"--workdir={self.mounted_workdir}",
            *flags,
        ]


def _check(condition: bool, field: str, value: Any, expected: str) -> None:
    if not condition:
        raise ValueError(f"job {field} {value!r}: expected {expected}")
