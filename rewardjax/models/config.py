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

    Args:
        family: a key of families.FAMILIES, which is Hugging Face's `model_type`.
        vocab_size: rows of the embedding table.
        width: numbers of the residual stream.
        mlp_width: numbers inside the feed-forward block.
        layers: how many.
        heads: of attention's queries.
        kv_heads: of attention's keys and values; they divide the heads.
        head_dim: numbers of a head, which need not be width / heads.
        rope_theta: base of the rotary positions.
        rope_scaling: how positions are stretched.
        norm_eps: added to the mean square in a norm.
        tied: whether the language model that it comes from shares its embedding with its vocabulary
            head.
        max_positions: the longest sequence that the language model was made for.
    """

    family: str
    vocab_size: int
    width: int
    mlp_width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-6
    # A reward model has no vocabulary head; the field is kept so that a folder is written back as
    # it was read.
    tied: bool = False
    max_positions: int = 32768

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
    """How a model is run; none of it changes what is computed beyond rounding.

    Args:
        dtype: of activations and of weights at use: bfloat16 or float32; parameters, norms, softmax
            and head stay float32 whatever it is.
        remat: what the backward pass computes again to save memory, a key of decoder.REMAT: full is
            everything, none is nothing.
        scan: one compiled layer that is run L times, or L layers unrolled, slower to compile.
        attention: the kernel, see kernels/attention.py; auto is the platform's best.
    """

    dtype: str = "bfloat16"
    remat: str = "full"
    scan: bool = True
    attention: str = "auto"
