"""The table of known decoders. Sizes as in the config.json that each model was published with on the Hugging Face hub."""

import dataclasses

from rewardjax.models.config import DecoderConfig, RopeScaling


def _qwen3(width, mlp_width, layers, heads, tied):
    return DecoderConfig(
        family="qwen3",
        vocab_size=151_936,
        width=width,
        mlp_width=mlp_width,
        layers=layers,
        heads=heads,
        kv_heads=8,
        head_dim=128,
        rope_theta=1e6,
        norm_eps=1e-6,
        tied=tied,
        max_positions=40_960,
    )


def _llama3(width, mlp_width, layers, heads, head_dim, stretch, tied):
    scaling = RopeScaling(
        factor=stretch, low_freq_factor=1.0, high_freq_factor=4.0, original_positions=8192
    )
    return DecoderConfig(
        family="llama",
        vocab_size=128_256,
        width=width,
        mlp_width=mlp_width,
        layers=layers,
        heads=heads,
        kv_heads=8,
        head_dim=head_dim,
        rope_theta=5e5,
        rope_scaling=scaling,
        norm_eps=1e-5,
        tied=tied,
        max_positions=131_072,
    )


def _qwen2(width, mlp_width, layers, heads, kv_heads, head_dim, tied, vocab_size=151_936):
    return DecoderConfig(
        family="qwen2",
        vocab_size=vocab_size,
        width=width,
        mlp_width=mlp_width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        rope_theta=1e6,
        norm_eps=1e-6,
        tied=tied,
        max_positions=32_768,
    )


def _tiny(of, **changes):
    """A published model's switches at a size that compiles in seconds; Qwen3's and Llama's heads do not add up to the width."""
    sizes = dict(
        vocab_size=512,
        width=48,
        mlp_width=96,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=16,
        rope_theta=1e4,
        max_positions=4096,
    )
    return dataclasses.replace(of, **(sizes | changes))


VARIANTS = {
    "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, tied=True),
    "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, tied=True),
    "qwen3-4b": _qwen3(2560, 9728, 36, 32, tied=True),
    "qwen3-8b": _qwen3(4096, 12_288, 36, 32, tied=False),
    "llama3.1-8b": _llama3(4096, 14_336, 32, 32, head_dim=128, stretch=8.0, tied=False),
    "llama3.2-1b": _llama3(2048, 8192, 16, 32, head_dim=64, stretch=32.0, tied=True),
    "llama3.2-3b": _llama3(3072, 8192, 28, 24, head_dim=128, stretch=32.0, tied=True),
    "qwen2.5-0.5b": _qwen2(896, 4864, 24, 14, 2, head_dim=64, tied=True),
    "qwen2.5-1.5b": _qwen2(1536, 8960, 28, 12, 2, head_dim=128, tied=True),
    "qwen2.5-3b": _qwen2(2048, 11_008, 36, 16, 2, head_dim=128, tied=True),
    "qwen2.5-7b": _qwen2(3584, 18_944, 28, 28, 4, head_dim=128, tied=False, vocab_size=152_064),
}
VARIANTS |= {
    "tiny-qwen3": _tiny(VARIANTS["qwen3-0.6b"]),
    "tiny-llama": _tiny(
        VARIANTS["llama3.2-1b"], rope_scaling=RopeScaling(4.0, 1.0, 4.0, original_positions=64)
    ),
    "tiny-qwen2": _tiny(VARIANTS["qwen2.5-0.5b"], head_dim=12),
}


def get(name: str, **changes) -> DecoderConfig:
    """The named config with fields replaced. ValueError for an unknown name, TypeError for an unknown field."""
    if name not in VARIANTS:
        raise ValueError(f"unknown variant {name!r}; there are {', '.join(VARIANTS)}")
    return dataclasses.replace(VARIANTS[name], **changes)
