"""What training would refuse in any trial, said before the first one starts.

Hours may lie between the start of a sweep and that of its last trial. Nothing is tokenized here,
and no device is touched: the trials need them.
"""

import pathlib
from collections.abc import Sequence

from rewardjax import fingerprint
from rewardjax.command import errors
from rewardjax.io import files
from rewardjax.sweeps import local
from rewardjax.sweeps import trials as trials_lib
from rewardjax.sweeps.trials import Trial

# What the checks of data, tokenizer and model look at, beside `batch.row_length`.
SECTIONS = ("data", "evals", "tokenizer", "model", "log")


def refuse_mistakes(trials: Sequence[Trial], config: str, workdir: str | pathlib.Path) -> None:
    """Raise errors.Refusal with the faults in fields, data and models of the trials, each once.

    Of a trial that is done in `workdir` no data and no model are needed any more.
    """
    # Not at the top: they start JAX, for which `--plan` need not wait.
    import jax

    from rewardjax.training.preflight import fields

    jax.config.update("jax_platforms", "cpu")
    complaints = errors.Complaints()
    if reason := files.unwritable(workdir):
        complaints.add([f"--workdir: {reason}"])
    numbers_with: dict[str, list[int]] = {}  # sentence -> numbers of the trials that it is about
    remembered: dict[str, list[str]] = {}
    for trial in trials:
        sentences = fields.check(trials_lib.load(config, trial)).sentences()
        # A sweep that is done is started again for its page, when its data may have been moved.
        if not local.is_done(local.home_of(pathlib.Path(workdir), trial), trial):
            sentences = [*sentences, *_faults_of_files(config, trial, remembered)]
        for sentence in sentences:
            numbers_with.setdefault(sentence, []).append(trial.number)
    for sentence, numbers in numbers_with.items():
        where = f"trial {', '.join(map(str, numbers))}"
        if len(numbers) == len(trials):
            where = "every trial"
        complaints.add([f"{where}: {sentence}"])
    complaints.refuse()


def _faults_of_files(config: str, trial: Trial, remembered: dict[str, list[str]]) -> list[str]:
    """What is wrong with the data, the tokenizer and the model of a trial, as training says it.

    remembered: what was looked at before, which most trials of a sweep have in common.
    """
    from rewardjax.training.preflight import fields, machine

    looked_at = {section: trial.resolved[section] for section in SECTIONS}
    key = fingerprint.of_json([looked_at, trial.resolved["batch"]["row_length"]])
    if key not in remembered:
        complaints, loaded = errors.Complaints(), trials_lib.load(config, trial)
        checks = machine.caches, machine.sources, machine.packages, machine.tokenizer_and_model
        for check in checks:
            complaints.add(check(loaded, trial.name))
        remembered[key] = list(fields.without_echoes(loaded, complaints).sentences())
    return remembered[key]
