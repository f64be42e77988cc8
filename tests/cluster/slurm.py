"""A SLURM of one machine for tests: slurmctld and slurmd, with two make-believe GPUs.

It lives in /etc/slurm, because jobs that Snakemake's plugin submits lose SLURM_CONF. So nothing is
touched where a SLURM is that these tests did not set up; at the end its files are gone again. Its
keys, sockets, states and logs are in a folder of its own under /run.

    python tests/cluster/slurm.py install    installs Debian's slurm-wlm and munge
    python tests/cluster/slurm.py start      starts it, until Ctrl-C, to try things by hand
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ETC = Path("/etc/slurm")
HOME = Path("/run/forgetting-tests")
PROGRAMS = HOME / "programs"
"""To be put in front of PATH: without a database of accounts, `sacctmgr` knows none."""
ACCOUNT = "mygroup"
MARK = "# Written by the tests of the workflow `forgetting`, which remove it again.\n"
PACKAGES = ("slurm-wlm", "munge")
DAEMONS = ("munged", "slurmctld", "slurmd")
NAME = "forgetting-tests"
NODE = socket.gethostname().split(".")[0]
GPUS = 2

# Partitions, account and constraint are those of the README's example; jobs of the partition
# `urgent` preempt others. More CPUs than the machine may have: jobs are to run side by side.
CONFIGURATION = f"""{MARK}
ClusterName={NAME}
SlurmctldHost={NODE}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={HOME}/munge/socket
StateSaveLocation={HOME}/slurmctld
SlurmdSpoolDir={HOME}/slurmd
SlurmctldPidFile={HOME}/slurmctld.pid
SlurmdPidFile={HOME}/slurmd.pid
SlurmctldLogFile={HOME}/slurmctld.log
SlurmdLogFile={HOME}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MinJobAge=600
JobRequeue=1
ReturnToService=1
MailProg=/bin/true
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName={NODE} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Feature=a100 Gres=gpu:{GPUS}
PartitionName=cpu Nodes={NODE} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=gpu Nodes={NODE} MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={NODE} MaxTime=INFINITE State=UP PriorityTier=2
"""
DEVICES = f"{MARK}Name=gpu File={HOME}/nvidia[0-{GPUS - 1}] Flags=nvidia_gpu_env\n"
FILES = {"slurm.conf": CONFIGURATION, "gres.conf": DEVICES}


class Foreign(Exception):
    """There is a SLURM that these tests did not set up."""


class DoesNotStart(Exception):
    """The daemons did not start; the message has the end of their logs."""


def refuse_foreign() -> None:
    """Refuse to go on where there is a SLURM of somebody else.

    Raises:
        Foreign: It says what was found.
    """
    advice = "these tests start a SLURM of their own and leave yours alone: run them elsewhere"
    for name in FILES:
        path = ETC / name
        if path.exists() and not path.read_text().startswith(MARK):
            raise Foreign(f"{path} was not written by these tests; {advice}")
    if "SLURM_CONF" in os.environ:
        raise Foreign(f"SLURM_CONF names {os.environ['SLURM_CONF']}; {advice}")
    if not (ETC / "slurm.conf").exists() and shell("sinfo --noheader", check=False):
        raise Foreign(f"sinfo shows a cluster; {advice}")
    ours = [pid for pid in (_pid(name) for name in DAEMONS) if pid is not None]
    for pid in processes("slurmctld", "slurmd"):
        if pid not in ours:
            raise Foreign(f"process {pid} is a SLURM daemon; {advice}")


def unavailable() -> str | None:
    """Return why the daemons cannot be started here, or None."""
    if os.geteuid() != 0:
        return "SLURM's daemons are started by root"
    missing = [name for name in (*DAEMONS, "sbatch", "scontrol") if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)}: make test-cluster installs {' and '.join(PACKAGES)}"
    return None


def install() -> str | None:
    """Install SLURM where it is missing; return why that was not possible, or None."""
    refuse_foreign()
    if unavailable() is None:
        return None
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "SLURM is installed with apt-get, by root"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        ended = subprocess.run(["apt-get", *command], env=environment)
        if ended.returncode != 0:
            return f"apt-get {command[0]} failed"
    return unavailable()


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Have the cluster while the block runs; afterwards nothing is left of it.

    Raises:
        Foreign: There is a SLURM of somebody else.
        DoesNotStart: A daemon did not.
    """
    refuse_foreign()
    with HOME.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Foreign("these tests run already, elsewhere on this machine") from None
        stop()
        try:
            _start()
            yield
        finally:
            stop()


def empty() -> None:
    """Cancel all jobs and wait for their end; end what SLURM lost sight of."""
    shell("scancel --user=root", check=False)
    until(lambda: not shell("squeue --noheader"), "an empty queue", seconds=60)
    mine = f"SLURM_CLUSTER_NAME={NAME}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if mine in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


def stop() -> None:
    """End the daemons of a cluster of these tests and remove its files, if there is one."""
    if all(_pid(name) is not None for name in DAEMONS):
        empty()
    for name in reversed(DAEMONS):
        pid = _pid(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL if name == "munged" else signal.SIGTERM)
            until(lambda name=name: _pid(name) is None, f"end of {name}", seconds=30)
    for name in FILES:
        path = ETC / name
        if path.exists() and path.read_text().startswith(MARK):
            path.unlink()
    shutil.rmtree(HOME, ignore_errors=True)


def shell(command: str, *, check: bool = True) -> str:
    """Run a command and return what it printed.

    Raises:
        subprocess.CalledProcessError: It failed; its ``stderr`` says why.
    """
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, check=check)
    return ended.stdout


def until(
    true: Callable[[], object], what: str, *, seconds: float = 300, every: float = 0.2
) -> None:
    """Wait until a function returns something true.

    Raises:
        TimeoutError: It did not within so many seconds; ``what`` was waited for.
    """
    ends = time.monotonic() + seconds
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError(f"waited {seconds} seconds in vain for: {what}")
        time.sleep(every)


def _start() -> None:
    own = {"key-file": "key", "socket": "socket", "pid-file": "munged.pid"}
    own |= {"seed-file": "seed", "log-file": "log"}
    options = " ".join(f"--{option}={HOME}/munge/{name}" for option, name in own.items())
    try:
        _write_files()
        for daemon in (f"munged {options}", "slurmctld", "slurmd"):
            shell(daemon)
        until(lambda: "idle" in shell("sinfo --noheader --format=%t"), "an idle node", seconds=60)
    except (subprocess.CalledProcessError, OSError) as error:
        logs = "\n".join(p.read_text()[-2000:] for p in HOME.glob("**/*log") if p.is_file())
        raise DoesNotStart(f"{error}\n{getattr(error, 'stderr', '')}{logs}") from error


def _write_files() -> None:
    ETC.mkdir(parents=True, exist_ok=True)
    for name in ("munge", "slurmctld", "slurmd"):
        (HOME / name).mkdir(parents=True)
    for number in range(GPUS):  # plain files are refused as devices
        os.mknod(HOME / f"nvidia{number}", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    key = HOME / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    PROGRAMS.mkdir()
    (PROGRAMS / "sacctmgr").write_text(f"#!/bin/sh\necho {ACCOUNT}\n")
    (PROGRAMS / "sacctmgr").chmod(0o755)
    for name, text in FILES.items():
        (ETC / name).write_text(text)


def _pid(daemon: str) -> int | None:
    """Return the process of a daemon of these tests, if it runs."""
    path = HOME / "munge" / "munged.pid" if daemon == "munged" else HOME / f"{daemon}.pid"
    try:
        pid = int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return pid if pid in processes(daemon) else None


def processes(*names: str) -> list[int]:
    """Return the processes of programs with these names."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            lives = (process / "cmdline").read_bytes()  # nothing when only its status is left
            if lives and (process / "comm").read_text().strip() in names:
                found.append(int(process.name))
    return found


def main(word: str) -> None:
    """Do what the command line asks for."""
    try:
        if word == "install":
            reason = install()
            if reason is not None:
                print(f"no SLURM here, so its tests are skipped: {reason}")
        elif word == "start":
            with running():
                print("the cluster runs; Ctrl-C ends it")
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
        else:
            sys.exit("say install or start")
    except Foreign as foreign:
        sys.exit(str(foreign))


if __name__ == "__main__":
    main(*(sys.argv[1:2] or [""]))
