"""One command for all that the package does: `rewardjax train` and so on.

A verb is a module of the package: `python -m rewardjax.train` is the same command.
"""

import ast
import pathlib
import runpy
import sys
from collections.abc import Iterator

from rewardjax import config as config_lib
from rewardjax.command import errors, terminal
from rewardjax.command.exit_codes import ExitCode

# In the order in which a newcomer meets them.
VERBS = (
    *("quickstart", "check", "train", "score", "evaluate", "export"),
    *("curate", "prepare", "sweep", "compile"),
)


def main() -> None:
    """Run the verb that the first argument names, as its own command would."""
    verb = "--help"
    if len(sys.argv) > 1:
        verb = sys.argv[1]
    if verb in ("-h", "--help", "help"):
        with errors.one_line("rewardjax"):
            terminal.show(usage())
        return
    if verb not in VERBS:
        near = config_lib.suggestion(verb, VERBS)
        print(f"rewardjax: no verb {verb!r}{near}; there are {', '.join(VERBS)}", file=sys.stderr)
        sys.exit(ExitCode.USER)
    del sys.argv[1]
    # As `python -m` does it, so that processes which the verb starts find their way back to it.
    runpy.run_module(f"rewardjax.{verb}", run_name="__main__", alter_sys=True)


def usage() -> Iterator[str]:
    """The verbs, with the first sentence of what each says of itself."""
    yield "rewardjax VERB [ARGUMENTS]; rewardjax VERB --help lists a verb's own"
    yield ""
    for verb in VERBS:
        # Read and not imported: most of them would start JAX.
        source = pathlib.Path(__file__).with_name(f"{verb}.py").read_text(encoding="utf-8")
        first_line = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
        yield f"    {verb:<12}{first_line}"
    yield ""
    yield "Every verb that has them spells them alike: --config FILE[:ARG], --set FIELD=VALUE,"
    yield "--model, --data, --output, and --debug for the traceback behind an error."


if __name__ == "__main__":
    main()
