"""Room for connections: each is an open file, of which a process may often have only 1,024."""

import resource

# Files that a process has open besides: the ledgers, their shards, what JAX opens.
OTHERS = 256


def make_room(connections: int) -> None:
    """Let this process have so many connections at the same time.

    Raises ValueError where the system does not allow it: what is over the limit would fail like a
    server that cannot be reached, and the server would be blamed.
    """
    needed = connections + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise ValueError(
            f"max_in_flight over all judges and servers is {connections}, but this process may "
            f"have {hard} open files and needs {OTHERS} for others: lower it, or raise the limit "
            f"(`ulimit -Hn {needed}` as root, or LimitNOFILE of the service)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
