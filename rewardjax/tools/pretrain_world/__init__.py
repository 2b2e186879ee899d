r"""Pretrain the world's language model, from which quickstart and ablations start reward models.

The four stages of the shipped backbone, whose every setting is in assets/world/pretraining.json;
rows are split over the devices, and one per core is fastest:

    export XLA_FLAGS=--xla_force_host_platform_device_count=2
    python -m rewardjax.tools.pretrain_world tokenizer --output runs/world
    python -m rewardjax.tools.pretrain_world train --output runs/world --steps 900 --decay 1 \
        --repeat 0.9
    python -m rewardjax.tools.pretrain_world train --output runs/world --steps 3200 --decay 1 \
        --repeat 0.05 --learning_rate 2.5e-3
    python -m rewardjax.tools.pretrain_world train --output runs/world --steps 3800 --decay 1 \
        --repeat 0 --learning_rate 2.5e-3 --tasks $TASKS
    python -m rewardjax.tools.pretrain_world train --output runs/world --steps 6400 --decay 1800 \
        --repeat 0.02 --learning_rate 2.5e-3
    python -m rewardjax.tools.pretrain_world export --run runs/world --output runs/world-hf

What it learns from is data/world/corpus.py. There are two losses: the next token, and a linear
probe that says at each token of an answer whether the answer has gone wrong by then (the probe is
thrown away). Without the probe, and without a first stage that is mostly repeating, a model of this
size was still at chance at telling right from wrong after 5 million tokens of the full mixture:
comparing is learned quickly where it is asked alone, and then carries over. The third stage is
mostly sums, sequences and counting, which are learned late: $TASKS has `add+next+count` seven
times, then all tasks. The whole takes about 40 minutes on 2 cores.

Step k reads the conversations k * n .. (k + 1) * n - 1 of the seed's corpus, so that the batches
are a pure function of (seed, step). A run that is killed and started again goes on from its newest
state. The learning rate is constant after a warmup and falls to zero over the last `decay` steps,
so a run can be prolonged from any state before that.

This is a training loop beside the package's own, and shares little with it on purpose: it fits a
decoder and a probe to weighted tokens instead of a head to pairs, with Muon instead of AdamW, from
a corpus that is written while it is read. What it does share is the decoder, the mesh, the tables
of Hugging Face names, and the rule that a file appears whole or not at all.
"""
