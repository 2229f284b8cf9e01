"""A SLURM cluster of one node with two pretend GPUs, on loopback, in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

# Snakemake's job step forgets SLURM_CONF, so the configuration stands where SLURM looks.
ETC = Path("/etc/slurm")
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
GPUS = 2

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
ReturnToService=2
MinJobAge=3600
KillWait=5
InactiveLimit=0
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2,sched_min_interval=100000
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=400000 Gres=gpu:{gpus}
PartitionName=main Default=YES Nodes=ALL MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Programs that are not installed."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [name for name in NEEDED if not shutil.which(name, path=path)]


class Cluster:
    """munged, slurmctld and slurmd; use it as a context."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.host = socket.gethostname().split(".")[0]
        self.daemons: dict[str, subprocess.Popen] = {}
        self.environment = {
            **os.environ,
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        }

    def __enter__(self) -> Cluster:
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _set_up(self) -> None:
        for name in ("munge", "state", "spool"):
            (self.folder / name).mkdir(mode=0o755)
        key = self.folder / "munge/key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        devices = [self.folder / f"gpu{number}" for number in range(GPUS)]
        for device in devices:
            subprocess.run(["mknod", device, "c", "1", "3"], check=True)
        (self.folder / "slurm.conf").write_text(
            SLURM_CONF.format(
                host=self.host,
                folder=self.folder,
                gpus=GPUS,
                controller_port=_free_port(),
                node_port=_free_port(),
            )
        )
        (self.folder / "gres.conf").write_text(
            "".join(f"NodeName={self.host} Name=gpu File={device}\n" for device in devices)
        )
        ETC.mkdir(exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            (ETC / name).symlink_to(self.folder / name)  # fails where the machine has a SLURM
        munge = self.folder / "munge"
        self._start(
            *("munged", "--foreground", "--force", f"--key-file={key}"),
            *(f"--socket={munge}/socket", f"--pid-file={munge}/pid"),
            *(f"--log-file={munge}/log", f"--seed-file={munge}/seed"),
        )
        _wait_for(lambda: (munge / "socket").exists(), "munged")
        self._start("slurmctld", "-D")
        self.start_node()
        _wait_for(lambda: "idle" in self.call("sinfo", "-h", "-o", "%T"), "an idle node")

    def __exit__(self, *error: object) -> None:
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for name in ("slurm.conf", "gres.conf"):
            if (ETC / name).is_symlink():
                (ETC / name).unlink()

    def start_node(self) -> None:
        """Start slurmd."""
        self._start("slurmd", "-D")

    def kill_node(self) -> None:
        """SIGKILL to slurmd; the jobs' own processes go on, as on a real node."""
        self.daemons["slurmd"].kill()
        self.daemons["slurmd"].wait()

    def _start(self, *command: str) -> None:
        log = open(self.folder / f"{command[0]}.out", "ab")  # noqa: SIM115 - the daemon's own
        self.daemons[command[0]] = subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=log, start_new_session=True
        )

    def call(self, *command: str) -> str:
        """The output of a SLURM command; empty where it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Every job that the controller knows, finished or not, as `scontrol show job` says."""
        lines = self.call("scontrol", "--oneliner", "show", "job").splitlines()
        return [dict(re.findall(r"(\w[\w:/]*)=(\S*)", line)) for line in lines if "JobId=" in line]

    def jobs_of(self, rule: str) -> list[dict[str, str]]:
        """The jobs of one Snakemake rule."""
        return [job for job in self.jobs() if job.get("Comment", "").startswith(f"rule_{rule}")]


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def _wait_for(condition, what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} after {seconds} s")
        time.sleep(0.1)
