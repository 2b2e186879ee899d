"""Pretrain the world's language model: the backbone that reward models of the quickstart and the ablations start from.

    export XLA_FLAGS=--xla_force_host_platform_device_count=2                 rows are split over the devices: one a core is fastest
    python -m rewardjax.tools.pretrain_world tokenizer --output DIR                       train the tokenizer on the corpus
    python -m rewardjax.tools.pretrain_world train --output DIR --steps 900 --decay 1 --repeat 0.9
    python -m rewardjax.tools.pretrain_world train --output DIR --steps 3200 --decay 1 --repeat 0.05 --learning_rate 2.5e-3
    python -m rewardjax.tools.pretrain_world train --output DIR --steps 3800 --decay 1 --repeat 0 --learning_rate 2.5e-3 --tasks FEW+...
    python -m rewardjax.tools.pretrain_world train --output DIR --steps 6400 --decay 1800 --repeat 0.02 --learning_rate 2.5e-3
    python -m rewardjax.tools.pretrain_world export --run DIR --output DIR  the newest state as a Hugging Face folder in bfloat16

What it learns from: data/world/corpus.py. Two losses: the next token, and a linear probe that says at each token of an answer whether the
answer has gone wrong by then (the probe is thrown away). Without the probe, and without a first stage that is mostly repeating, a model
of this size was still at chance at telling right from wrong after 5 million tokens of the full mixture: comparing is learnt quickly where
it is asked alone, and then carries over. The third stage is mostly sums, sequences and counting, which are learnt late (FEW: their names
seven times, then those of all tasks). The whole takes about 40 minutes on 2 cores.

Step k reads the conversations k * n .. (k + 1) * n - 1 of the seed's corpus, so the batches are a pure function of (seed, step). A run
that is killed and started again goes on from its newest state. The learning rate is constant after a warmup and falls to zero over the
last `decay` steps, so a run can be prolonged from any state before that. assets/world/pretraining.json records how the shipped backbone
was made.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import time

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
from flax import nnx
from jax.sharding import PartitionSpec as P
from optax import contrib as muon
from safetensors.numpy import load_file, save, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from rewardjax import files, fingerprint
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.world import VERSION
from rewardjax.data.world.corpus import Turn, documents
from rewardjax.data.world.tasks import TASKS
from rewardjax.models import families
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.models.decoder import Decoder
from rewardjax.models.hf_config import write_config
from rewardjax.models.hf_table import names, sizes, to_theirs
from rewardjax.parallel.mesh import Layout, make_mesh, place

COMPUTE = Compute(dtype="float32", remat="none", scan=True)
LAYOUT = Layout(
    **{  # rows over the devices, every weight on each of them
        field.name: P(
            *(
                "data" if field.name.startswith(("act_B", "row_B", "lookup_B")) and i == 0 else None
                for i in range(len(getattr(Layout, field.name)))
            )
        )
        for field in dataclasses.fields(Layout)
    }
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
ADDED = ["<think>", "</think>"]
TOKENIZER_NUM = 40_000  # conversations it is learnt from
VOCAB_SIZE = 1024
# Words with the space before them, single digits, runs of signs, line breaks, blanks: numbers are read digit by digit.
PIECES = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
CHAT_TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
DOCUMENTS_PER_ROW = 4.8  # of 256 tokens: a little more than fit, so that rows are full


# --- tokenizer -------------------------------------------------------------------------------------------


def train_tokenizer(seed: int, num: int) -> Tokenizer:
    """A byte-level BPE of VOCAB_SIZE tokens, special ones included, learnt from `num` conversations of the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(ADDED),
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        (f"{turn.role}\n{turn.content}" for turns in documents(seed, num) for turn in turns),
        trainer,
    )
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ADDED])
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: pathlib.Path) -> None:
    """tokenizer.json and the tokenizer_config.json that transformers reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 4096,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|pad|>",
        "unk_token": None,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


# --- data ------------------------------------------------------------------------------------------------


def encode(tokenizer: Tokenizer, turns: list[Turn]) -> tuple[list[int], list[float], list[int]]:
    """Token ids of a conversation in the chat format; the loss weight of each (`verdict` for the first token of a message, `weight` for
    the rest); and whether the answer it belongs to has gone wrong by then: 1 yes, 0 no, -1 not said."""
    start, end, newline = (
        tokenizer.token_to_id("<|im_start|>"),
        tokenizer.token_to_id("<|im_end|>"),
        tokenizer.encode("\n").ids,
    )
    ids, weights, wrong = [], [], []
    for turn in turns:
        role, content = (
            tokenizer.encode(turn.role).ids + newline,
            tokenizer.encode(turn.content).ids,
        )
        ids += [start, *role, *content, end, *newline]
        weights += (
            [0.1] * (1 + len(role))
            + [turn.verdict]
            + [turn.weight] * len(content)
            + [0.1] * len(newline)
        )
        wrong += (
            [-1] * (1 + len(role))
            + _wrong_by_then(content, turn, tokenizer)
            + [-1 if turn.correct is None else int(not turn.correct)] * (1 + len(newline))
        )
    return ids, weights, wrong


def _wrong_by_then(content: list[int], turn: Turn, tokenizer: Tokenizer) -> list[int]:
    """For each token of a message: 1 from where it leaves its right twin, 0 before; -1 where the turn has no twin."""
    if turn.twin is None:
        return [-1] * len(content)
    twin = tokenizer.encode(turn.twin).ids
    same = next(
        (i for i, (one, other) in enumerate(zip(content, twin, strict=False)) if one != other),
        min(len(content), len(twin)),
    )
    return [int(i >= same) for i in range(len(content))]


def make_batch(
    tokenizer: Tokenizer,
    seed: int,
    step: int,
    rows: int,
    length: int,
    repeat: float,
    tasks: tuple[str, ...],
) -> dict[str, np.ndarray]:
    """Step `step`'s arrays [rows, length]: conversations packed longest first into the first row with room, each seeing only itself.
    Those that fit nowhere are left out."""
    num = int(rows * length / 256 * DOCUMENTS_PER_ROW)
    encoded = sorted(
        (encode(tokenizer, turns) for turns in documents(seed, num, step * num, repeat, tasks)),
        key=lambda item: -len(item[0]),
    )
    batch: dict[str, np.ndarray] = {
        name: np.zeros((rows, length), np.int32) for name in ("tokens", "positions")
    }
    batch |= {
        name: np.tile(np.arange(length, dtype=np.int32), (rows, 1))
        for name in ("see_from", "see_to")
    }
    batch["weights"], batch["wrong"] = (
        np.zeros((rows, length), np.float32),
        np.full((rows, length), -1, np.int32),
    )
    used = np.zeros(rows, int)
    for ids, weights, wrong in encoded:
        fits = np.flatnonzero(used + len(ids) <= length)
        if fits.size:
            row, at = fits[0], slice(used[fits[0]], used[fits[0]] + len(ids))
            batch["tokens"][row, at], batch["positions"][row, at], batch["weights"][row, at] = (
                ids,
                np.arange(len(ids)),
                weights,
            )
            batch["see_from"][row, at], batch["wrong"][row, at] = used[row], wrong
            used[row] += len(ids)
    batch["weights"][batch["positions"] == 0] = (
        0.0  # nothing comes before a conversation's first token
    )
    return batch


# --- training --------------------------------------------------------------------------------------------


def config_of(width: int, layers: int, heads: int, kv_heads: int, mlp_width: int) -> DecoderConfig:
    return DecoderConfig(
        family="qwen3",
        vocab_size=VOCAB_SIZE,
        width=width,
        mlp_width=mlp_width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=32,
        rope_theta=10_000.0,
        norm_eps=1e-6,
        tied=True,
        max_positions=4096,
    )


def make_loss(graph, wrong_weight: float):
    """loss(params, batch): weighted mean cross-entropy of the next token through the tied embedding, plus wrong_weight times the mean
    cross-entropy of a linear probe that says at each token of an answer whether it has gone wrong by then. Also both parts, and the
    verdicts' cross-entropy alone."""

    def loss(params, batch):
        model = nnx.merge(graph, params["decoder"])
        x_BTD = model(batch["tokens"], batch["positions"], batch["see_from"], batch["see_to"])
        logits_BTV = jnp.einsum("BTD,VD->BTV", x_BTD, model.embed[...])[:, :-1]
        nll_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, batch["tokens"][:, 1:])
        weights_BT = batch["weights"][:, 1:]
        mean = lambda values, w: jnp.sum(values * w) / jnp.maximum(jnp.sum(w), 1)
        probe_BT = jnp.einsum("BTD,D->BT", x_BTD, params["probe"]["w"]) + params["probe"]["b"]
        text = mean(nll_BT, weights_BT)
        wrong = mean(
            optax.sigmoid_binary_cross_entropy(probe_BT, jnp.maximum(batch["wrong"], 0)),
            (batch["wrong"] >= 0).astype(jnp.float32),
        )
        return text + wrong_weight * wrong, {
            "text": text,
            "wrong": wrong,
            "verdict": mean(nll_BT, weights_BT > 1),
        }

    return loss


def make_optimizer(
    learning_rate: float, steps: int, warmup: int, decay: int
) -> optax.GradientTransformation:
    """Muon for the matrices (Jordan 2024; update scaled as in arXiv 2502.16982, so that AdamW's rates apply), AdamW for embedding and
    norms."""
    schedule = optax.join_schedules(
        [
            optax.linear_schedule(0.0, learning_rate, warmup),
            optax.constant_schedule(learning_rate),
            optax.linear_schedule(learning_rate, 0.0, decay),
        ],
        [warmup, steps - decay],
    )
    axes = muon.MuonDimensionNumbers
    matrices = {
        "q": axes(1, (2, 3)),
        "k": axes(1, (2, 3)),
        "v": axes(1, (2, 3)),
        "o": axes((1, 2), 3),
        "gate": axes(1, 2),
        "up": axes(1, 2),
        "down": axes(1, 2),
    }
    of_path = lambda path, leaf: next(
        (matrices[key.key] for key in path if getattr(key, "key", None) in matrices), None
    )
    dimensions = lambda params: jax.tree_util.tree_map_with_path(of_path, params)
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        muon.muon(
            schedule,
            muon_weight_dimension_numbers=dimensions,
            consistent_rms=0.2,
            weight_decay=0.05,
            adam_b2=0.98,
            adam_learning_rate=schedule,
        ),
    )


def _named(state) -> dict:
    """{path: leaf} of a tree; the name that flax gives a variable's own array is left out."""
    return {
        jax.tree_util.keystr(path).removesuffix(".value"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def save_state(folder: pathlib.Path, state, step: int) -> None:
    """Everything the next step needs, in one file that is either the old one or the new one."""
    arrays = {name: np.asarray(leaf) for name, leaf in _named(state).items()}
    with files.replacing(folder / "state.safetensors") as part:
        save_file(arrays | {"step": np.asarray(step)}, part)


def load_state(folder: pathlib.Path, state):
    """(state, step) of the newest save, in the shape of `state`; ValueError when it was saved by a run of other sizes."""
    path = folder / "state.safetensors"
    arrays, wanted = load_file(path), _named(state)
    step = int(arrays.pop("step"))
    if {name: leaf.shape for name, leaf in wanted.items()} != {
        name: array.shape for name, array in arrays.items()
    }:
        raise ValueError(
            f"{path} was saved with other sizes or another optimizer; start in a new folder"
        )
    return jax.tree.unflatten(
        jax.tree.structure(state),
        [jax.device_put(arrays[name], leaf.sharding) for name, leaf in wanted.items()],
    ), step


def train(
    output: str,
    *,
    steps: int,
    seed: int,
    width: int,
    layers: int,
    heads: int,
    kv_heads: int,
    mlp_width: int,
    rows: int,
    length: int,
    learning_rate: float,
    wrong_weight: float,
    repeat: float,
    tasks: str,
    warmup: int,
    decay: int,
    save_every: int,
) -> None:
    """Pretrain up to `steps` steps in `output`, going on from its newest state. Appends one JSON line every 50 steps to log.jsonl."""
    settings = {name: value for name, value in locals().items() if name != "output"}
    folder = pathlib.Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = config_of(width, layers, heads, kv_heads, mlp_width)
    (folder / "decoder.json").write_text(json.dumps(dataclasses.asdict(config)) + "\n")
    with jax.set_mesh(make_mesh()):
        graph, params = nnx.split(
            jax.jit(lambda: Decoder(config, COMPUTE, LAYOUT, rngs=nnx.Rngs(params=seed)))(),
            nnx.Param,
        )
        params = {"decoder": params, "probe": {"w": jnp.zeros(width), "b": jnp.zeros(())}}
        tx, loss = (
            make_optimizer(learning_rate, steps, warmup, decay),
            make_loss(graph, wrong_weight),
        )
        state, first = (params, jax.jit(tx.init)(params)), 0
        if (folder / "state.safetensors").exists():
            state, first = load_state(folder, state)
        with open(folder / "log.jsonl", "a") as log:
            log.write(
                json.dumps(
                    {
                        "start": first,
                        "settings": settings,
                        "world_version": VERSION,
                        "jax": jax.__version__,
                    }
                )
                + "\n"
            )
        print(
            f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,} parameters, step {first} of {steps}",
            flush=True,
        )

        @functools.partial(jax.jit, donate_argnums=0)
        def update(state, batch):
            params, opt = state
            (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(params, batch)
            updates, opt = tx.update(grads, opt, params)
            return (optax.apply_updates(params, updates), opt), {"loss": value, **aux}

        started, recent = time.time(), []
        for step in range(first, steps):
            state, metrics = update(
                state,
                place(
                    make_batch(
                        tokenizer, seed, step, rows, length, repeat, tuple(tasks.split("+"))
                    ),
                    LAYOUT,
                ),
            )
            recent.append(metrics)
            if (step + 1) % 50 == 0 or step + 1 == steps:
                means = {name: float(np.mean([m[name] for m in recent])) for name in metrics}
                if not np.isfinite(means["loss"]):
                    raise FloatingPointError(
                        f"the loss is {means['loss']} near step {step + 1}; lower --learning_rate"
                    )
                seconds, recent = time.time() - started, []
                rate = (step + 1 - first) / seconds
                record = {
                    "step": step + 1,
                    "tokens": (step + 1) * rows * length,
                    **means,
                    "seconds": round(seconds, 1),
                    "tokens_per_second": round(rate * rows * length),
                }
                with open(folder / "log.jsonl", "a") as log:
                    log.write(json.dumps(record) + "\n")
                losses = "  ".join(
                    f"{name} {means[name]:.4f}" for name in ("text", "verdict", "wrong")
                )
                left = (steps - step - 1) / rate / 60
                print(
                    f"step {step + 1}/{steps}  {losses}  {record['tokens_per_second']:,} tokens/s  {left:.1f} min left",
                    flush=True,
                )
            if (step + 1) % save_every == 0 or step + 1 == steps:
                save_state(folder, state, step + 1)


# --- export ----------------------------------------------------------------------------------------------


def export(run: str, output: str) -> None:
    """The newest state of `run` as a Hugging Face folder of a Qwen3ForCausalLM in bfloat16, with tokenizer, log and a record."""
    run_folder, folder = pathlib.Path(run), pathlib.Path(output)
    config = DecoderConfig(**json.loads((run_folder / "decoder.json").read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "log.jsonl"):
        (folder / name).write_bytes((run_folder / name).read_bytes())
    arrays, size, tensors = load_file(run_folder / "state.safetensors"), sizes(config), {}
    for rule in families.get(config.family).rules:
        if rule.path.startswith("decoder."):
            ours = arrays[
                "[0]['decoder']" + "".join(f"['{part}']" for part in rule.path.split(".")[1:])
            ]
            for name, layer in names(rule, config.layers):
                theirs = to_theirs(rule, ours if layer is None else ours[layer], size)
                tensors[name] = np.ascontiguousarray(theirs).astype(ml_dtypes.bfloat16)
    (folder / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    chat = ChatTokenizer.load(folder)
    text = write_config(
        config,
        dtype="bfloat16",
        pad_token_id=chat.pad_id,
        eos_token_id=chat.eos_id,
        bos_token_id=None,
    )
    fields = json.loads(text) | {"architectures": ["Qwen3ForCausalLM"]}
    fields = {key: value for key, value in fields.items() if key not in ("id2label", "label2id")}
    (folder / "config.json").write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    record = record_of(
        folder, step=int(arrays["step"]), parameters=sum(array.size for array in tensors.values())
    )
    (folder / "pretraining.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


def record_of(folder: pathlib.Path, step: int, parameters: int) -> dict:
    """How the backbone in `folder` was made, from its log: stages with all settings, last losses, time, hashes."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line.get("step", line.get("start", 0)) <= step]
    starts = [line for line in lines if "start" in line]
    ends = [
        line
        for line, after in zip(lines, [*lines[1:], {"start": step}], strict=True)
        if "step" in line and "start" in after
    ]
    return {
        "model": {
            "fingerprint": fingerprint.of_file(folder / "model.safetensors"),
            "parameters": parameters,
            "steps": step,
        },
        "tokenizer": {
            "fingerprint": fingerprint.of_file(folder / "tokenizer.json"),
            "seed": 0,
            "num": TOKENIZER_NUM,
        },
        "world_version": starts[-1]["world_version"],
        "last": ends[-1],
        "minutes": round(sum(line["seconds"] for line in ends) / 60, 1),
        "stages": starts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rewardjax.tools.pretrain_world",
        description="Pretrain the world's tokenizer and language model.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("tokenizer", help="train the tokenizer")
    one.add_argument("--output", required=True)
    two = commands.add_parser(
        "train",
        help="train the backbone, or go on",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    two.add_argument(
        "--output", required=True, help="a folder with tokenizer.json; state and log go there too"
    )
    two.add_argument("--learning_rate", type=float, default=6e-3)
    two.add_argument(
        "--repeat",
        type=float,
        default=0.2,
        help="share of the corpus that asks to repeat something",
    )
    two.add_argument(
        "--tasks",
        default="+".join(TASKS),
        help="the tasks that the rest of the corpus is about, joined by +",
    )
    two.add_argument(
        "--wrong_weight",
        type=float,
        default=2.0,
        help="weight of the probe that says where an answer goes wrong",
    )
    for name, default in {
        "steps": 7000,
        "seed": 0,
        "width": 128,
        "layers": 7,
        "heads": 4,
        "kv_heads": 2,
        "mlp_width": 320,
        "rows": 12,
        "length": 192,
        "warmup": 50,
        "decay": 1500,
        "save_every": 100,
    }.items():
        two.add_argument(f"--{name}", type=int, default=default)
    three = commands.add_parser("export", help="write the newest state as a Hugging Face folder")
    three.add_argument("--run", required=True)
    three.add_argument("--output", required=True)
    args = vars(parser.parse_args())
    command = args.pop("command")
    if command == "tokenizer":
        write_tokenizer(train_tokenizer(seed=0, num=TOKENIZER_NUM), pathlib.Path(args["output"]))
    else:
        {"train": train, "export": export}[command](**args)


if __name__ == "__main__":
    main()
