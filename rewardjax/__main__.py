"""One command for all that the package does: `rewardjax train` and so on.

A verb is a module of the package: `python -m rewardjax.train` is the same command.
"""

import ast
import pathlib
import runpy
import sys

from rewardjax import config as config_lib
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
        print(usage())
        return
    if verb not in VERBS:
        near = config_lib.suggestion(verb, VERBS)
        print(f"rewardjax: no verb {verb!r}{near}; there are {', '.join(VERBS)}", file=sys.stderr)
        sys.exit(ExitCode.USER)
    del sys.argv[1]
    # As `python -m` does it, so that processes which the verb starts find their way back to it.
    runpy.run_module(f"rewardjax.{verb}", run_name="__main__", alter_sys=True)


def usage() -> str:
    """The verbs, with the first sentence of what each says of itself."""
    lines = ["rewardjax VERB [ARGUMENTS]; rewardjax VERB --help lists a verb's own", ""]
    for verb in VERBS:
        # Read and not imported: most of them would start JAX.
        source = pathlib.Path(__file__).with_name(f"{verb}.py").read_text(encoding="utf-8")
        first_line = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
        lines.append(f"    {verb:<12}{first_line}")
    lines += [
        "",
        "Every verb that has them spells them alike: --config FILE[:ARG], --set FIELD=VALUE,",
        "--model, --data, --output, and --debug for the traceback behind an error.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
