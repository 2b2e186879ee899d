"""A reward model ready to score: loaded from a Hugging Face folder or a run.

It is checked against its score contract before the first score leaves it.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from flax import nnx

from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord, Group, Message
from rewardjax.data.pack import TokenGroup
from rewardjax.models import hf, reward, run_folder, vocabulary
from rewardjax.models.build import decoder_in
from rewardjax.models.checkpoints import checkpoints
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.parallel.mesh import Layout, make_mesh
from rewardjax.reporting import run_record
from rewardjax.scoring import contract, rows, shapes
from rewardjax.scoring.prepare import prepare_whole


@dataclasses.dataclass(frozen=True)
class Scorer:
    """A model ready to score, with the tokenizer and the contract that its scores depend on."""

    graph: nnx.GraphDef
    params: Any
    score_rows: rows.ScoreRows
    tokenizer: ChatTokenizer
    contract: contract.ScoreContract
    mesh: jax.sharding.Mesh
    tokens_per_device: int

    @property
    def compute_dtype(self) -> str:
        """That of the trunk's arithmetic, which the caller may have chosen."""
        return nnx.merge(self.graph, self.params).decoder.compute.dtype

    def rewards(
        self, prompt: str | list[Message], responses: Sequence[str | list[Message]]
    ) -> list[float]:
        """The reward of each response, as `rewards` gives it: the number of `rewardjax score`."""
        return rewards(self, prompt, responses).tolist()


def load(
    folder: str | pathlib.Path,
    *,
    dtype: str | None = None,
    mesh: jax.sharding.Mesh | None = None,
    step: int | None = None,
    tokens_per_device: int = 16_384,
) -> Scorer:
    """The model of a Hugging Face folder or of a run, checked against its score contract.

    Args:
        folder: whatever `assets.resolve` takes, hub repositories included, or the workdir of a run,
            which may be an address.
        dtype: of the trunk's arithmetic; None is the contract's, and without a contract that of the
            stored weights.
        mesh: the devices; None for all.
        step: which checkpoint of a run; None for the newest.
        tokens_per_device: of one batch.

    Raises:
        FileNotFoundError: where there is no model.
        ContractMismatch: where tokenizer or golden scores differ.
    """
    refuse_missing(folder, step)
    folder = run_folder.resolve(folder)
    mesh = mesh or make_mesh()
    with jax.set_mesh(mesh):
        if run_folder.is_run(folder):
            with run_folder.tokenizer_of(folder) as tokenizer_folder:
                tokenizer = ChatTokenizer.load(tokenizer_folder)
            model, saved = _from_run(folder, dtype, step)
        else:
            # Before the tokenizer: where the folder is not a whole model, its config tells why.
            decoder = hf.read_config(folder)
            tokenizer = ChatTokenizer.load(folder)
            model, saved = _from_hugging_face(folder, dtype, tokenizer, decoder)
        graph, params = nnx.split(model, nnx.Param)
    contract.check_tokenizer(saved, tokenizer)
    scorer = Scorer(
        graph, params, rows.make_score_rows(graph), tokenizer, saved, mesh, tokens_per_device
    )
    score = functools.partial(conversations, scorer)
    if saved.version == 1:
        unchanged = contract.of_unchanged_ids(saved, tokenizer)
        logging.warning(
            "%s has a score contract of version 1: %d of its %d golden conversations have the "
            "token ids that they had, and are re-checked; rewrite it with python -m "
            "rewardjax.export --from %s --output FOLDER",
            folder,
            len(unchanged.golden),
            len(saved.golden),
            folder,
        )
        saved = unchanged
    # A folder of another maker has no golden scores, and a warning has said so.
    if saved.golden:
        contract.check_golden(saved, score, dtype or saved.compute_dtype)
    if saved.version == 1:
        # What is written from here on says what is computed from here on.
        fields: dict[str, Any] = tokenizer.fingerprints()
        saved = contract.with_golden(dataclasses.replace(saved, **fields), tokenizer, score)
        scorer = dataclasses.replace(scorer, contract=saved)
    return scorer


def in_float32(scorer: Scorer) -> Scorer:
    """The same model with its arithmetic in float32; its parameters are shared, not copied."""
    decoder = nnx.merge(scorer.graph, scorer.params).decoder
    with jax.set_mesh(scorer.mesh):
        compute = dataclasses.replace(decoder.compute, dtype="float32")
        graph, _ = nnx.split(reward.abstract(decoder.config, compute, Layout()), nnx.Param)
    return dataclasses.replace(scorer, graph=graph, score_rows=rows.make_score_rows(graph))


def refuse_missing(folder: str | pathlib.Path, step: int | None = None) -> None:
    """Raise FileNotFoundError or ValueError where `folder` has no model, or not that checkpoint.

    No weight is read, so that a command can ask before it does anything else.
    """
    path = run_folder.resolve(folder, weights=False)
    if not run_folder.is_run(path):
        if step is not None:
            raise ValueError(
                f"step {step}: {folder} is not the workdir of a run, so it has no checkpoints to "
                "choose from; leave the step out"
            )
        hf.read_config(path)
        return
    run_record.read_config(path)
    run_folder.refuse_unfinished(path)
    steps = checkpoints.steps_of(path / run_folder.CHECKPOINTS)
    if step is not None and step not in steps:
        raise ValueError(
            f"step {step}: {folder} has checkpoints of the steps {', '.join(map(str, steps))}"
        )


def _from_run(
    workdir: pathlib.Path, dtype: str | None, step: int | None
) -> tuple[reward.RewardModel, contract.ScoreContract]:
    """The model of a training run's checkpoint, and the contract saved with it."""
    decoder = decoder_in(workdir)
    with checkpoints.reading(workdir / run_folder.CHECKPOINTS) as saved:
        # The contract comes first, because its dtype decides how the parameters are read; a step
        # whose record is whole may still be damaged, and then an older one has the same contract
        # but for its golden scores.
        newest = saved.newest_meta()
        if step is not None:
            newest = saved.read_meta(step)
        assert newest is not None, "`refuse_missing` has seen one"
        compute = _compute(dtype, contract.from_record(newest["contract"]))
        model, meta = run_folder.restore(saved, decoder, compute, Layout(), step)
    return model, contract.from_record(meta["contract"])


def _from_hugging_face(
    folder: pathlib.Path, dtype: str | None, tokenizer: ChatTokenizer, decoder: DecoderConfig
) -> tuple[reward.RewardModel, contract.ScoreContract]:
    """The model of a Hugging Face folder, and its contract.

    A folder of another maker gets a contract without golden scores.
    """
    saved, rows = contract.load(folder), decoder.vocab_size
    # Also where the contract will compare fingerprints: the tokenizer and its fingerprint may have
    # been replaced together.
    vocabulary.refuse_ids_beyond(
        tokenizer, rows, f"{folder} needs the tokenizer that it was trained with"
    )
    if saved is None:
        vocabulary.refuse_other_size(tokenizer, rows, folder)
        # What its maker chose. A float32 folder in bfloat16 would be off by up to 2% of a reward.
        own_dtype = hf.read_dtype(folder)
        dtype = dtype or own_dtype
        logging.warning(
            "%s has no %s: its scores cannot be checked against those of the model's maker; "
            "computing in %s",
            folder,
            contract.FILE,
            dtype,
        )
        saved = contract.make(
            tokenizer,
            max_length=decoder.max_positions,
            over_long="drop",
            compute_dtype=dtype,
            weights_dtype=own_dtype,
        )
    return hf.load(folder, _compute(dtype, saved), Layout()), saved


def _compute(dtype: str | None, saved: contract.ScoreContract) -> Compute:
    # Nothing is saved for a backward pass, so there is nothing to recompute.
    return Compute(dtype=dtype or saved.compute_dtype, remat="none")


def rewards(
    scorer: Scorer, prompt: str | list[Message], responses: Sequence[str | list[Message]]
) -> np.ndarray:
    """Rewards [K] float32 of K responses to one prompt, each a text or messages.

    Raises BadRecord for what cannot be scored, ValueError where there are no responses, TypeError
    where they are one text.
    """
    # A text is a sequence too, and each of its letters would be scored.
    if isinstance(responses, str):
        raise TypeError("responses: a list of texts, not one text; write [response]")
    if not len(responses):
        raise ValueError("responses: the list is empty; name at least one response")
    group = Group(
        "",
        _messages("user", prompt),
        [_messages("assistant", response) for response in responses],
        [],
    )
    limits = scorer.contract.max_length, scorer.contract.over_long
    tokens = prepare_whole(group, scorer.tokenizer, *limits)
    # As the score command computes them, or a number here might be none there.
    rewards_K = finite_rewards(scorer, [tokens])[0]
    if not np.isfinite(rewards_K).all():
        raise not_finite()
    return rewards_K


def _messages(role: str, content: str | list[Message]) -> list[Message]:
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    return content


def conversations(scorer: Scorer, whole: Sequence[list[Message]]) -> np.ndarray:
    """Rewards [n] of whole conversations, the last message of each being the response."""
    return rows.score_conversations(
        lambda _, groups: token_groups(scorer, groups), scorer.params, scorer.tokenizer, whole
    )


def token_groups(scorer: Scorer, groups: Sequence[TokenGroup]) -> list[np.ndarray]:
    """Rewards [K] of each of some tokenized groups, in rows of `shapes.of_groups`."""
    shards = scorer.mesh.shape["data"] * scorer.mesh.shape["fsdp"]
    shape = shapes.of_groups(groups, scorer.tokens_per_device, shards)
    with jax.set_mesh(scorer.mesh):
        return rows.score_groups(
            scorer.score_rows,
            scorer.params,
            groups,
            **shape._asdict(),
            pad_id=scorer.tokenizer.pad_id,
            layout=Layout(),
        )


def finite_rewards(scorer: Scorer, groups: Sequence[TokenGroup]) -> list[np.ndarray]:
    """Rewards [K] of each of some tokenized groups, NaN where there is no finite number.

    One that is not finite is computed once more in float32, alone: bfloat16 and float16 have other
    ranges, and a neighbor in the row might be to blame.
    """
    rewards = token_groups(scorer, groups)
    exact = None
    for group, rewards_K in zip(groups, rewards, strict=True):
        for index in np.flatnonzero(~np.isfinite(rewards_K)):
            # Made once: each has a program of its own to compile.
            exact = exact or in_float32(scorer)
            own = TokenGroup(group.prefix, [group.suffixes[index]])
            reward = token_groups(exact, [own])[0][0]
            # Infinity is no reward either, and would be the best or the worst of all.
            if not np.isfinite(reward):
                reward = np.nan
            rewards_K[index] = reward
    return rewards


def not_finite() -> BadRecord:
    """Why a response has none of `finite_rewards`."""
    return BadRecord("not_finite", "the reward is not a finite number, in float32 too")
