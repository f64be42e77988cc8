"""``python -m forgetting COMMAND ...``: the commands that the workflow's rules call."""

import argparse
import importlib
import pkgutil
import sys

from forgetting import commands
from forgetting.errors import UserError


def main() -> None:
    """Run the command named first; a user's mistake ends in one message and status 1."""
    names = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))
    parser = argparse.ArgumentParser(
        prog="python -m forgetting",
        description="Commands: " + ", ".join(names) + ". Each explains itself with --help.",
    )
    parser.add_argument("command", choices=names, metavar="COMMAND")
    chosen = parser.parse_args(sys.argv[1:2]).command
    command = importlib.import_module(f"forgetting.commands.{chosen}")
    parser = argparse.ArgumentParser(
        prog=f"python -m forgetting {chosen}", description=command.__doc__
    )
    command.add_arguments(parser)
    try:
        command.run(parser.parse_args(sys.argv[2:]))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
