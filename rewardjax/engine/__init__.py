"""Work that outgrows one process: units in, shards out, on datatrove's executors.

    executors   the config's section `engine`: in this process, local, Slurm or Ray
    tasks       what a task does with its units, wherever it runs
    jobs        the tasks as one job: a process beside this one, or a job array of Slurm
    spread      the rounds of jobs that a stage takes, waited for and joined

A stage says which units are missing, what makes a unit's rows and how they are joined: cleaning,
tagging, judging, embedding and tokenizing alike. Tasks may be killed at any time: each unit appears
whole or not at all, beside the ledger, and is joined by whoever owns the workspace.
"""
