"""``python -m forgetting COMMAND ...``: the commands that the workflow's rules call."""

import argparse
import errno
import gc
import importlib
import pkgutil
import sys
from types import ModuleType

from forgetting import commands
from forgetting.errors import UserError

# What a machine, not a mistake in the code, makes of reading and writing, and what helps.
FAULTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make it writable"),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.EFBIG, errno.ENOLCK), "see to the disk"),
}


def main() -> None:
    """Run the command named first.

    A mistake of the user, or a fault of the disk, ends in one message and status 1.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))
    parser = argparse.ArgumentParser(
        prog="python -m forgetting",
        description="Commands: " + ", ".join(names) + ". Each explains itself with --help.",
    )
    parser.add_argument("command", choices=names, metavar="COMMAND")
    chosen = parser.parse_args(sys.argv[1:2]).command
    command = _imported(f"forgetting.commands.{chosen}")
    parser = argparse.ArgumentParser(
        prog=f"python -m forgetting {chosen}", description=command.__doc__
    )
    command.add_arguments(parser)
    try:
        command.run(parser.parse_args(sys.argv[2:]))
    except UserError as error:
        sys.exit(str(error))
    except OSError as error:
        if error.errno not in FAULTS:
            raise
        place = error.filename or "standard output"
        help_ = f"{FAULTS[error.errno]}, then start the same command again"
        sys.exit(f"{place}: {error.strerror}; {help_}")


def _imported(name: str) -> ModuleType:
    """Import a module without looking for garbage, then or later, among all that it imports.

    Which lives as long as the program. Looking through it, while it grows and once more when Python
    ends, takes a third of the time that a job with PyTorch takes to start and to end.
    """
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    main()
