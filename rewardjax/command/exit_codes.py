"""What every command's exit code says, and what a restart policy makes of it: one table.

| code  | says                                                  | a job is                |
| ----- | ----------------------------------------------------- | ----------------------- |
| 0     | done                                                  | over                    |
| 1     | a bug, with its traceback                             | failed                  |
| 2     | a mistake of the user, in one sentence                | failed                  |
| 3     | curation waits for people, money or a server          | (not a job of a pod)    |
| 42    | preempted, and everything is saved                    | restarted, not counted  |
| 43    | a host hangs, or computes wrongly                     | restarted, counted      |
| 44    | more steps were not finite than the budget allows     | failed                  |
| 45    | no checkpoint can be used, or no restart made one     | failed                  |
| 128+n | ended by signal n, or by the runtime (134: its abort) | restarted, counted      |
"""

import enum


class ExitCode(enum.IntEnum):
    """How a process ended; the module's table says what each code means."""

    DONE = 0
    BUG = 1
    USER = 2  # as argparse's
    WAITS = 3
    PREEMPTED = 42
    HANG = 43
    NOT_FINITE = 44
    NO_CHECKPOINT = 45
    OUTAGE = 134  # SIGABRT, by which the JAX runtime ends a process that lost its peers


# Codes after which a restart would meet the same thing again.
FATAL = (ExitCode.BUG, ExitCode.USER, ExitCode.NOT_FINITE, ExitCode.NO_CHECKPOINT)
# Codes after which a job is started again whatever its budget of restarts: nothing went wrong.
UNCOUNTED = (ExitCode.PREEMPTED,)
