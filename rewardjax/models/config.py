"""What a decoder is (DecoderConfig) and how it is computed (Compute). Both are hashable: static parts of a jitted function."""

import dataclasses

FAMILIES = ("qwen3", "llama", "qwen2")  # named as Hugging Face's `model_type`


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Llama 3's stretching of the rotary wavelengths (see rope.py)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_positions: int


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Sizes and switches of one decoder; the defaults are those that most variants share. ValueError for sizes that cannot work."""

    family: str  # one of FAMILIES
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
    tied: bool = False  # whether the language model it comes from shares its embedding with its vocabulary head; a reward model has none
    max_positions: int = 32768  # the longest sequence the language model was made for

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise ValueError(f"family={self.family!r}; choose one of {FAMILIES}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads={self.heads} must be a multiple of kv_heads={self.kv_heads}")
        if self.head_dim % 2:
            raise ValueError(
                f"head_dim={self.head_dim} must be even: rotary embedding turns pairs of numbers"
            )

    @property
    def qk_norm(self) -> bool:
        """Queries and keys of a head are normalized before they are rotated."""
        return self.family == "qwen3"

    @property
    def qkv_bias(self) -> bool:
        """Query, key and value projections have a bias."""
        return self.family == "qwen2"


@dataclasses.dataclass(frozen=True)
class Compute:
    """How a model is run; none of it changes what is computed beyond rounding."""

    dtype: str = "bfloat16"  # of activations and of weights at use; parameters, norms, softmax and head stay float32
    remat: str = "full"  # what the backward pass finds saved, see decoder.REMAT
    scan: bool = True  # one compiled layer run L times, or L layers unrolled (slower to compile)
    attention: str = "auto"  # see kernels/attention.py
