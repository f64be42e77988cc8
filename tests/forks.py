"""Commands by the dozen: a server that has imported what they need forks a process for each.

Starting Python and importing PyTorch or Snakemake takes seconds, a fork milliseconds. What is
forked is then ``python -m forgetting ...`` or ``python -m snakemake ...`` in everything but its
start. The server computes nothing, so it has no threads when it forks. Run as a script, with the
name of the program, this file is the server.
"""

import gc
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    """Its exit status; minus the signal that killed it."""
    shown: str
    """What it wrote on both its outputs."""
    cpu: float
    """Seconds of the processor that it used."""


def message(ended: Ended) -> str:
    """Return the one line that a process says beside what training reports; it ended in error."""
    assert ended.code == 1, ended.shown
    reports = ("resumed at task", "another process")
    lines = [line for line in ended.shown.splitlines() if not line.startswith(reports)]
    assert len(lines) == 1, ended.shown
    return lines[0]


class Fork:
    """A process that runs a command."""

    def __init__(self, pid: int, answers: Any, log: Path) -> None:
        self.pid, self._answers, self._log = pid, answers, log

    def wait(self, seconds: float = 600) -> Ended | None:
        """Return how it ended; None if it is still there after so many seconds."""
        if not select.select([self._answers], [], [], seconds)[0]:
            return None
        code, cpu = self._answers.readline().split()
        return Ended(int(code), self.shown, float(cpu))

    @property
    def shown(self) -> str:
        """What it has written so far."""
        return self._log.read_text() if self._log.exists() else ""

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)  # the id is its own, for the server reaps it later

    def signal(self, number: int) -> Ended:
        """Send it a signal and wait for its end."""
        self.send(number)
        ended = self.wait()
        assert ended is not None
        return ended


class Server:
    """The server, seen from a test; one process at a time."""

    def __init__(self, home: Path, program: str, environment: Mapping[str, str]) -> None:
        """Start it; ``home`` takes what the processes write on their outputs."""
        self._home, self._number, self._program = home, 0, program
        self._process = subprocess.Popen(
            [sys.executable, __file__, program],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def start(self, command: Sequence[str], **order: Any) -> Fork:
        """Start the program with the arguments that follow its name in a command line.

        ``order`` may hold ``folder`` (where it works), ``environment`` (all its variables), ``cpu``
        (it is killed when it has used so many seconds of the processor), ``die`` ((number, "before"
        or "after"): it kills itself before or after the so-manieth time that a file takes its name,
        or a folder comes or goes; instead of a number the name of that file) and ``largest`` (bytes
        beyond which it cannot make a file grow).
        """
        self._number += 1
        log = self._home / f"{self._number}.log"
        words = [*command][command.index(self._program) + 1 :]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order |= {"words": words, "log": str(log)}
        self._process.stdin.write(f"{json.dumps(order)}\n".encode())
        return Fork(int(self._process.stdout.readline()), self._process.stdout, log)

    def run(self, command: Sequence[str], *, seconds: float = 600, **order: Any) -> Ended:
        """Run a command to its end, which comes within so many seconds."""
        ended = self.start(command, **order).wait(seconds)
        assert ended is not None
        return ended

    def close(self) -> None:
        """End the server and whatever it has forked."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _forgetting() -> Callable[[], None]:
    """Import what most commands need; return the program."""
    import forgetting.__main__
    import forgetting.commands.measure
    import forgetting.commands.train
    from forgetting.fingerprint import fingerprint

    fingerprint("train", [("benchmarks", "split"), ("architectures", "mlp"), ("strategies", "sgd")])
    return forgetting.__main__.main


def _snakemake() -> Callable[[], None]:
    """Import what Snakemake and our Snakefile need, but nothing of ours: it lies in the clone."""
    from snakemake import cli, workflow

    for name in ("pydantic", "yaml"):
        importlib.import_module(name)

    def main() -> None:
        # It takes the folder in which it was imported for the one in which it was started.
        workflow.Workflow._rundir = os.getcwd()
        cli.main()

    return main


PROGRAMS = {"forgetting": _forgetting, "snakemake": _snakemake}


def _serve(program: str) -> None:
    main = PROGRAMS[program]()
    gc.freeze()
    pid = 0
    for line in sys.stdin:
        if pid:
            os.waitpid(pid, 0)
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(program, order)
            os._exit(_status(main))
        print(pid, flush=True)
        # Reaped with the next order only: until then its id is not given to another process.
        look = os.WEXITED | os.WNOWAIT | (os.WNOHANG if "cpu" in order else 0)
        while (ended := os.waitid(os.P_PID, pid, look)) is None:
            if _cpu(pid) >= order["cpu"]:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        print(code, _cpu(pid), flush=True)


def _status(main: Callable[[], None]) -> int:
    """Return the exit status of a program, which says what Python would; its end takes no time."""
    try:
        main()
        return 0
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()


def _cpu(pid: int) -> float:
    """Return the seconds that a process (which has one thread) ran; a load changes them little."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _become(program: str, order: dict[str, Any]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for own in (1, 2):
        os.dup2(log, own)
    if "folder" in order:
        os.chdir(order["folder"])
    if "environment" in order:
        os.environ.clear()
        os.environ.update(order["environment"])
    sys.argv = [program, *order["words"]]
    sys.path[0] = os.getcwd()
    if "largest" in order:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], resource.RLIM_INFINITY))
    if "die" in order:
        _die_at(*order["die"])


def _die_at(which: int | str, moment: str) -> None:
    """Kill this process before or after the so-manieth change of a folder, or that of a file."""
    changes = 0

    def deadly(change: Any) -> Any:
        def changed(*arguments: Any, **options: Any) -> None:
            nonlocal changes
            path = Path(arguments[-1] if change is replace else arguments[0])
            fatal = which in (changes + 1, path.name)
            if change is mkdir and (path.exists() or not path.parent.exists()):
                fatal = False  # it changes nothing
            if fatal and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            change(*arguments, **options)
            changes += 1
            if fatal:
                os.kill(os.getpid(), signal.SIGKILL)

        return changed

    replace, mkdir = os.replace, os.mkdir
    for name in ("replace", "mkdir", "rmdir"):
        setattr(os, name, deadly(getattr(os, name)))


if __name__ == "__main__":
    _serve(sys.argv[1])
