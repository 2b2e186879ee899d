"""A run's checkpoint as a Hugging Face folder that transformers, vLLM and SGLang load.

    python -m rewardjax.export --checkpoint RUN --output DIR [--dtype bfloat16] [--step N]
    python -m rewardjax.export --from FOLDER --output DIR
    python -m rewardjax.export --checkpoint RUN --output DIR --push ORG/NAME [--private]

The folder is read back and must give the golden scores, and transformers the golden token ids,
before it appears under its name. With --from, a folder is written anew with the score contract of
this version. With --push, the folder is also uploaded to the Hugging Face hub (io/hub_upload.py).
"""

import dataclasses
import functools
import pathlib

import jax
from flax import nnx

from rewardjax.command import errors
from rewardjax.io import files, hub_upload, storage
from rewardjax.models import hf
from rewardjax.scoring import contract
from rewardjax.scoring import model as scorer


def export(
    workdir: str | pathlib.Path,
    output: str | pathlib.Path,
    *,
    dtype: str | None = None,
    step: int | None = None,
    push: str | None = None,
    private: bool = False,
) -> contract.ScoreContract:
    """Write a checkpoint of `workdir` to the folder `output`; returns its score contract.

    The newest checkpoint, or that of `step`, with weights in `dtype`, by default as they are.
    `workdir` may be a Hugging Face folder too. push: ORG/NAME of the hub, to which the folder is
    uploaded at the end; private: a repository that is made for it is. Raises FileExistsError if
    `output` exists, ContractMismatch if the folder, read back, scores or tokenizes differently,
    ValueError where the hub refuses.
    """
    complaints = errors.Complaints()
    complaints.of(refuse_output, output)
    complaints.of(scorer.refuse_missing, workdir, step)
    if push is not None:
        complaints.of(hub_upload.refuse, push, private)
    complaints.refuse()
    output = storage.path_of(output)
    files.make_folder(output.parent)
    model = scorer.load(workdir, step=step)
    with files.replacing(output) as part:
        part.mkdir()
        exported = _write_folder(model, part, dtype or model.contract.weights_dtype)
    if push is not None:
        _push(output, push, private)
    return exported


def _push(output: pathlib.Path, name: str, private: bool) -> None:
    """Upload an exported folder. Raises ValueError, with what is left to do, where that fails."""
    try:
        with storage.copied(output) as folder:
            hub_upload.upload(folder, name, private)
    except ValueError as error:
        raise ValueError(
            f"{error}; {output} is exported, and `hf upload {name} FOLDER` uploads it"
        ) from error


def refuse_output(output: str | pathlib.Path) -> None:
    """Raise FileExistsError or ValueError where no new folder `output` can be written."""
    output = storage.path_of(output)
    if reason := files.unwritable(output.parent, addresses=True):
        raise ValueError(f"--output {output}: {reason}")
    if output.exists():
        raise FileExistsError(f"{output} exists; remove it, or export to another folder")


def _write_folder(model: scorer.Scorer, folder: pathlib.Path, dtype: str) -> contract.ScoreContract:
    """Write model, tokenizer and contract to `folder`, and check that it scores as the run did."""
    tokenizer, saved = model.tokenizer, model.contract
    tokenizer.save(folder)
    with jax.set_mesh(model.mesh):
        hf.save(
            nnx.merge(model.graph, model.params),
            folder,
            dtype=dtype,
            pad_token_id=tokenizer.pad_id,
            eos_token_id=tokenizer.eos_id,
        )
    contract.save(
        dataclasses.replace(saved, weights_dtype=dtype, golden=()), folder / contract.FILE
    )

    read_back = scorer.load(folder, mesh=model.mesh)
    score_golden = functools.partial(scorer.conversations, read_back)
    # A folder of another maker comes without golden scores.
    if saved.golden:
        contract.check_golden(saved, score_golden, dtype)
    exported = contract.with_golden(read_back.contract, read_back.tokenizer, score_golden)
    contract.check_reference(exported, read_back.tokenizer, folder)
    contract.save(exported, folder / contract.FILE)
    return exported


@errors.one_line("rewardjax.export")
def main() -> None:
    """Run the command."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.export",
        description="A run's checkpoint as a Hugging Face folder.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", "--model", help="workdir of a run")
    source.add_argument(
        "--from",
        dest="folder",
        metavar="FOLDER",
        help="Hugging Face folder of a reward model, to be written anew",
    )
    parser.add_argument("--output", required=True, help="folder to write; must not exist")
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        help="of the stored weights; default: as they are, float32 for a run",
    )
    parser.add_argument("--step", type=int, help="which checkpoint; default: the newest")
    parser.add_argument(
        "--push",
        metavar="ORG/NAME",
        help="upload the folder to this repository of the Hugging Face hub, which is made unless "
        "it is there: public, unless the organization's default is private; token: HF_TOKEN or "
        "`hf auth login`",
    )
    parser.add_argument(
        "--private", action="store_true", help="make the repository of --push a private one"
    )
    args = parser.parse_args()
    if args.private and not args.push:
        parser.error("--private is for --push ORG/NAME")
    exported = export(
        args.checkpoint or args.folder,
        args.output,
        dtype=args.dtype,
        step=args.step,
        push=args.push,
        private=args.private,
    )
    if args.push:
        print(f"{args.push}: uploaded to the hub")
    print(
        f"{args.output}: weights in {exported.weights_dtype}, score contract {exported.fingerprint}"
    )


if __name__ == "__main__":
    main()
