"""Mistral 7B (arXiv 2310.06825) from v0.2 on.

It attends to the whole text, as v0.1 with its sliding window does not; no biases, no q/k norms.
"""

from rewardjax.models.config import DecoderConfig
from rewardjax.models.family import Family, Only, gated_layer_weights, tiny
from rewardjax.models.hf_table import DECODER_ROWS


def _published(vocab_size: int) -> DecoderConfig:
    """Sizes as in the config.json that each model was published with on the Hugging Face hub."""
    return DecoderConfig(
        family="mistral",
        vocab_size=vocab_size,
        width=4096,
        mlp_width=14_336,
        layers=32,
        heads=32,
        kv_heads=8,
        head_dim=128,
        rope_theta=1e6,
        norm_eps=1e-5,
        tied=False,
        max_positions=32_768,
    )


MISTRAL_7B_V3 = _published(vocab_size=32_768)

FAMILY = Family(
    name="mistral",
    architecture="Mistral",
    only=(
        Only("hidden_act", "silu"),
        Only(
            "sliding_window",
            None,
            "take a model without a window (Mistral 7B v0.2 or later), or set the field to null if "
            "no text is longer than the window",
        ),
    ),
    # A file without the field has the window of v0.1, so null must be written out.
    absent={"num_key_value_heads": 8, "sliding_window": 4096},
    rules=DECODER_ROWS,
    layer_weights=gated_layer_weights,
    variants={
        "mistral-7b-v0.2": _published(vocab_size=32_000),
        "mistral-7b-v0.3": MISTRAL_7B_V3,
        "tiny-mistral": tiny(MISTRAL_7B_V3),
    },
)
