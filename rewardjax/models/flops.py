"""Useful FLOPs of scoring and training, and what devices can do at most."""

import numpy as np


def layer_params(config) -> int:
    """Matmul weights of all layers of a DecoderConfig: q, k, v, o, gated MLP. No embedding (a lookup), norms or head (negligible)."""
    attention = (
        2 * config.width * config.heads * config.head_dim
        + 2 * config.width * config.kv_heads * config.head_dim
    )
    return config.layers * (attention + 3 * config.width * config.mlp_width)


def live_attention_entries(see_from, see_to, unique_tokens: int) -> int:
    """(query, key) pairs that attention must compute for rows [..., T]: the sum of see_to - see_from + 1 over tokens that are not padding.

    A padding token sees only itself, so all slots are summed and one is taken off for each of the (slots - unique_tokens) padding ones."""
    see_from, see_to = np.asarray(see_from, np.int64), np.asarray(see_to, np.int64)
    return int(np.sum(see_to - see_from + 1)) - (see_from.size - int(unique_tokens))


def forward_flops(config, unique_tokens: int, live_attention_entries: int) -> float:
    """Useful FLOPs of scoring: 2 * layer_params * unique_tokens + 4 * layers * heads * head_dim * live_attention_entries.

    A multiply-add counts two. Each live (query, key) entry costs 2 * head_dim for q.k and 2 * head_dim for p.v, in each query head and
    layer. A prefix that two responses share counts once; padding, masked entries and rematerialization count nothing."""
    attention = 4 * config.layers * config.heads * config.head_dim * live_attention_entries
    return 2.0 * layer_params(config) * unique_tokens + attention


def train_flops(config, unique_tokens: int, live_attention_entries: int) -> float:
    """Useful FLOPs of a training step: three times `forward_flops`, as the backward pass has two matmuls for each one of the forward pass.

    So 6 * layer_params * unique_tokens + 12 * layers * heads * head_dim * live_attention_entries."""
    return 3 * forward_flops(config, unique_tokens, live_attention_entries)


# Dense bf16 FLOP/s of one JAX device by the start of `device_kind`, first match; vendors' data sheets. A v7x chip shows up as two devices.
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
    """Dense bf16 FLOP/s of one device, or None for a device that is not in the table (a CPU, for one): then MFU is not reported."""
    return next((peak for kind, peak in PEAK_FLOPS.items() if device_kind.startswith(kind)), None)
