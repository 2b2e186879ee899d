"""Rewards and gradients are those of transformers' *ForSequenceClassification, in float32, from
the same folder.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rewardjax.models import families, hf, hf_table, variants
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, place

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PAD, EOS = 1, 2


def torch_model(config, seed=0):
    """A random model in which every tensor matters:

    no bias is 0, no norm 1, attention is far from uniform.
    """
    shared = dict(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        intermediate_size=config.mlp_width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        rms_norm_eps=config.norm_eps,
        max_position_embeddings=config.max_positions,
        tie_word_embeddings=config.tied,
        num_labels=1,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=None,
        attn_implementation="eager",
    )
    rope = dict(rope_type="default", rope_theta=config.rope_theta)
    if s := config.rope_scaling:
        rope |= dict(
            rope_type="llama3",
            factor=s.factor,
            low_freq_factor=s.low_freq_factor,
            high_freq_factor=s.high_freq_factor,
            original_max_position_embeddings=s.original_positions,
        )
    family = families.get(config.family)
    only = {only.field: only.value for only in family.only}
    their_config = getattr(transformers, f"{family.architecture}Config")(
        rope_parameters=rope, **shared, **only
    )
    model = getattr(transformers, f"{family.architecture}ForSequenceClassification")(their_config)
    generator = torch.Generator().manual_seed(seed)
    for tensor_name, tensor in model.named_parameters():
        noise = torch.randn(tensor.shape, generator=generator)
        with torch.no_grad():
            if "norm" in tensor_name:
                tensor.copy_(1 + 0.2 * noise)
            elif tensor.ndim == 1:
                tensor.copy_(0.3 * noise)
            else:
                tensor.copy_(noise * (0.5 if "embed" in tensor_name else tensor.shape[1] ** -0.5))
    return model.eval()


def torch_rewards(model, sequences, side):
    """[n] rewards of token lists of different lengths, padded on one side."""
    width = max(map(len, sequences))
    pads = [[PAD] * (width - len(sequence)) for sequence in sequences]
    join = (
        (lambda pad, sequence: pad + sequence)
        if side == "left"
        else (lambda pad, sequence: sequence + pad)
    )
    tokens = torch.tensor(
        [join(pad, sequence) for pad, sequence in zip(pads, sequences, strict=True)]
    )
    mask = torch.tensor(
        [
            join([0] * len(pad), [1] * len(sequence))
            for pad, sequence in zip(pads, sequences, strict=True)
        ]
    )
    positions = (torch.cumsum(mask, 1) - 1).clamp(min=0)
    return model(input_ids=tokens, attention_mask=mask, position_ids=positions).logits[:, 0]


def sequences_of(conversations):
    """The 16 token lists that the two slots of the 8 rows score:

    row 0 slot 0, row 0 slot 1, row 1 slot 0, ...
    """
    return [
        row[: at + 1].tolist()
        for row, slots in zip(conversations["tokens"], conversations["score_at"], strict=True)
        for at in slots
    ]


@pytest.fixture(scope="module", params=families.FAMILIES)
def both(request, tmp_path_factory, conversations):
    """One model in torch and in ours, with rewards and gradients of -log sigmoid(r1 - r0),
    meaned over the rows, of both.
    """
    folder = tmp_path_factory.mktemp(request.param)
    model = torch_model(variants.get(f"tiny-{request.param}"))
    model.save_pretrained(folder)
    with jax.set_mesh(
        jax.make_mesh((1, 1, 1), ("data", "fsdp", "tensor"), devices=jax.devices()[:1])
    ):
        ours = hf.load(folder, Compute(dtype="float32"), Layout())
        graph, params = nnx.split(ours, nnx.Param)

        @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
        def run(params, batch):
            def loss(params):
                rewards_BS = nnx.merge(graph, params)(**batch)
                return jnp.mean(jax.nn.softplus(rewards_BS[:, 0] - rewards_BS[:, 1])), rewards_BS

            (_, rewards_BS), grads = jax.value_and_grad(loss, has_aux=True)(params)
            return rewards_BS, grads

        rewards_BS, grads = run(params, place(conversations, Layout()))
    theirs = torch_rewards(model, sequences_of(conversations), "right").reshape(-1, 2)
    torch.nn.functional.softplus(theirs[:, 0] - theirs[:, 1]).mean().backward()
    return dict(
        folder=folder,
        config=ours.decoder.config,
        torch=model,
        theirs=theirs.detach().numpy(),
        ours=np.asarray(rewards_BS),
        grads=nnx.merge(graph, grads),
    )


def test_config_is_read_back_as_the_variant_it_was_made_from(both):
    assert both["config"] == variants.get(f"tiny-{both['config'].family}")


def test_rewards_are_the_same(both):
    assert np.std(both["theirs"]) > 0.1
    assert np.max(np.abs(both["ours"] - both["theirs"])) <= 2e-6 * np.max(np.abs(both["theirs"]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_rewards_do_not_depend_on_the_padding_side_or_the_batch_of_the_other(
    both, conversations, side
):
    sequences = sequences_of(conversations)
    with torch.no_grad():
        theirs = np.concatenate(
            [
                torch_rewards(both["torch"], part, side).numpy()
                for part in (sequences[:5], sequences[5:])
            ]
        )
    assert np.max(np.abs(both["ours"].reshape(-1) - theirs)) <= 2e-6 * np.max(np.abs(theirs))


def test_gradients_of_every_parameter_are_the_same(both):
    size, seen = hf_table.sizes(both["config"]), set()
    theirs = {name: tensor.grad.numpy() for name, tensor in both["torch"].named_parameters()}
    for rule in families.get(both["config"].family).rules:
        leaf = both["grads"]
        for part in rule.path.split("."):
            leaf = getattr(leaf, part)
        for name, layer in hf_table.names(rule, both["config"].layers):
            wanted = hf_table.to_ours(rule, theirs[name], size)
            got = np.asarray(leaf[...] if layer is None else leaf[...][layer])
            assert np.linalg.norm(wanted) > 0, name
            assert np.linalg.norm(got - wanted) <= 1e-5 * np.linalg.norm(wanted), name
            seen.add(name)
    assert seen == set(theirs)


def test_a_folder_of_ours_scores_the_same_in_transformers(both, conversations, tmp_path):
    with jax.set_mesh(
        jax.make_mesh((1, 1, 1), ("data", "fsdp", "tensor"), devices=jax.devices()[:1])
    ):
        hf.save(
            hf.load(both["folder"], Compute(), Layout()),
            tmp_path,
            pad_token_id=PAD,
            eos_token_id=EOS,
        )
    model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(info.values())
    assert (
        model.dtype == torch.float32
        and model.config.num_labels == 1
        and model.config.pad_token_id == PAD
    )
    with torch.no_grad():
        theirs = torch_rewards(model, sequences_of(conversations), "right").numpy()
    np.testing.assert_allclose(theirs, both["theirs"].reshape(-1), rtol=1e-5, atol=1e-6)
