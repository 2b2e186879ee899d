"""A decoder's sizes (DecoderConfig) and how it is computed (Compute).

Both are hashable, so that they can be static parts of a jitted function.
"""

import dataclasses

# The fields of DecoderConfig that are counts, or scales that something is divided by.
SIZES = (
    *("vocab_size", "width", "mlp_width", "layers", "heads", "kv_heads", "head_dim"),
    *("rope_theta", "norm_eps", "max_positions"),
)


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Llama 3's stretching of the rotary wavelengths (see rope.py)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_positions: int


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Sizes of one decoder; the defaults are those that most variants share.

    What the block computes beyond its sizes is its family's affair: see families/. Raises
    ValueError for sizes that cannot work.
    """

    family: str  # a key of families.FAMILIES, which is Hugging Face's `model_type`
    vocab_size: int
    width: int
    mlp_width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int  # independent of width / heads
    rope_theta: float
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-6
    # Whether the language model that it comes from shares its embedding with its vocabulary head. A
    # reward model has no vocabulary head; the field is kept so that a folder is written back as it
    # was read.
    tied: bool = False
    max_positions: int = 32768  # the longest sequence the language model was made for

    def __post_init__(self):
        for name in SIZES:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads={self.heads} must be a multiple of kv_heads={self.kv_heads}")
        if self.head_dim % 2:
            raise ValueError(
                f"head_dim={self.head_dim} must be even: rotary embedding turns pairs of numbers"
            )


@dataclasses.dataclass(frozen=True)
class Compute:
    """How a model is run; none of it changes what is computed beyond rounding."""

    # Of activations and of weights at use; parameters, norms, softmax and head stay float32
    # whatever it is.
    dtype: str = "bfloat16"
    remat: str = "full"  # what the backward pass finds saved, see decoder.REMAT
    scan: bool = True  # one compiled layer run L times, or L layers unrolled (slower to compile)
    attention: str = "auto"  # see kernels/attention.py
