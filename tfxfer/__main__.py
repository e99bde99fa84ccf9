"""`tfxfer COMMAND …`, also `python -m tfxfer COMMAND …`: the commands of `tfxfer.commands`.

Neither the help texts nor `list` and `clean` start TensorFlow.
"""

import importlib
import sys
from collections.abc import Sequence

from tfxfer import cli
from tfxfer.commands import COMMANDS
from tfxfer.errors import UserError, suggest
from tfxfer.version import __version__

OPTIONS = ("--help", "--version")


def work(argv: Sequence[str]) -> None:
    """Run the command that the first word names."""
    first, rest = (argv[0], argv[1:]) if argv else ("--help", ())
    if first in ("-h", "--help"):
        print(help_text())
    elif first == "--version":
        print(f"tfxfer {__version__}")
    elif first in COMMANDS:
        importlib.import_module(COMMANDS[first].module).work(rest)
    elif first.startswith("-"):
        raise UserError(f"unknown option {first}; {suggest(first, OPTIONS)}")
    else:
        raise UserError(f"there is no command '{first}'; {suggest(first, COMMANDS)}")


def help_text() -> str:
    """Return the help text: one line for each command."""
    width = max(map(len, COMMANDS))
    lines = ["usage: tfxfer COMMAND [OPTIONS]", "", "Measured transfer between vision and language.", "", "commands:"]
    lines += [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([*lines, "", "tfxfer COMMAND --help shows a command's options, tfxfer --version the version"])


def main() -> int:
    """Run the command line of this process; return its exit code."""
    return cli.main(work)


if __name__ == "__main__":
    sys.exit(main())
