"""Useful FLOPs of scoring and training, and what devices can do at most."""

from rewardjax.models import families
from rewardjax.models.config import DecoderConfig


def layer_weights(config: DecoderConfig) -> dict[str, int]:
    """Matmul weights of one layer by the name of what they compute, as the family says."""
    return families.get(config.family).layer_weights(config)


def layer_params(config: DecoderConfig) -> int:
    """Matmul weights of all layers.

    Not the embedding (a lookup), norms and biases (no matmul) or the reward head (one column at
    scored tokens).
    """
    return config.layers * sum(layer_weights(config).values())


def forward_flops(config: DecoderConfig, unique_tokens: int, live_attention_entries: int) -> float:
    """Useful FLOPs of scoring tokens whose attention has so many live (query, key) entries.

    2 * layer_params * unique_tokens + 4 * layers * heads * head_dim * live_attention_entries: a
    multiply-add counts two, and each live (query, key) entry costs 2 * head_dim for q.k and 2 *
    head_dim for p.v, in each query head and layer (`pack.attention_entries` counts the entries). A
    prefix that two responses share counts once; padding, masked entries and rematerialization count
    nothing.
    """
    attention = 4 * config.layers * config.heads * config.head_dim * live_attention_entries
    return 2.0 * layer_params(config) * unique_tokens + attention


def train_flops(config: DecoderConfig, unique_tokens: int, live_attention_entries: int) -> float:
    """Useful FLOPs of a training step: three times `forward_flops`.

    The backward pass has two matmuls for each one of the forward pass (the gradients of its input
    and of its weight), so 6 * layer_params * unique_tokens + 12 * layers * heads * head_dim *
    live_attention_entries. Frozen weights are not taken off: the figure is what full training would
    need, as in published comparisons.
    """
    return 3 * forward_flops(config, unique_tokens, live_attention_entries)


# Dense bf16 FLOP/s of one JAX device by the start of `device_kind`, first match; vendors' data
# sheets. A v7x chip shows up as two devices.
PEAK_FLOPS = {
    "TPU v4 lite": 138e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,  # v5p
    "TPU v6": 918e12,  # v6e, "TPU v6 lite"
    "TPU7": 1153.5e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
}


def peak_flops(device_kind: str) -> float | None:
    """Dense bf16 FLOP/s of one device.

    None where it is not known (a CPU, for one): then MFU is not reported.
    """
    # The first match counts, so a kind stands after those that it is the start of.
    for kind, peak in PEAK_FLOPS.items():
        if device_kind.startswith(kind):
            return peak
    return None
