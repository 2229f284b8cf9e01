"""A SLURM cluster of one node with two pretend GPUs, on loopback, in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

from processes import wait_for

# Snakemake's job step forgets SLURM_CONF, so the configuration is put where SLURM looks.
ETC = Path("/etc/slurm")
NEEDED = ("munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "sbatch", "squeue", "sacct")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
GPUS = 2

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
{accounting}
GresTypes=gpu
ReturnToService=2
MinJobAge=3600
KillWait=5
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2,sched_min_interval=100000
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=400000 Gres=gpu:{gpus}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Default=YES Nodes=ALL MaxTime=INFINITE State=UP PreemptMode=CANCEL
PartitionName=again Nodes=ALL MaxTime=INFINITE State=UP PreemptMode=REQUEUE
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""

ACCOUNTING = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=limits,qos
AccountingStoreFlags=job_comment
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
"""
SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
"""
CONFIGS = ("slurm.conf", "gres.conf", "slurmdbd.conf")


def missing() -> list[str]:
    """List the programs that are not installed."""
    return [name for name in NEEDED if not shutil.which(name, path=PATH)]


class Cluster:
    """munged, slurmctld, slurmd and, with `accounting`, slurmdbd; use it as a context."""

    def __init__(self, folder: Path, accounting: bool):
        self.folder = folder
        self.accounting = accounting
        self.host = socket.gethostname().split(".")[0]
        self.daemons: dict[str, subprocess.Popen] = {}
        self.environment = {**os.environ, "PATH": PATH}

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
        port, database_port = _free_port(), _free_port()
        accounting = ACCOUNTING if self.accounting else ""
        (self.folder / "slurm.conf").write_text(
            SLURM_CONF.format(
                accounting=accounting.format(port=port, folder=self.folder),
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
        slurmdbd = self.folder / "slurmdbd.conf"
        slurmdbd.touch(mode=0o600)
        slurmdbd.write_text(
            SLURMDBD_CONF.format(folder=self.folder, port=port, database_port=database_port)
        )
        ETC.mkdir(exist_ok=True)
        for name in CONFIGS:
            (ETC / name).symlink_to(self.folder / name)  # fails if the machine has a SLURM
        munge = self.folder / "munge"
        self._start(
            *("munged", "--foreground", "--force", f"--key-file={key}"),
            *(f"--socket={munge}/socket", f"--pid-file={munge}/pid"),
            *(f"--log-file={munge}/log", f"--seed-file={munge}/seed"),
        )
        wait_for(lambda: (munge / "socket").exists())
        if self.accounting:
            self._start_database(database_port)
            self._start("slurmdbd", "-D")
            wait_for(lambda: self.call("sacctmgr", "-i", "add", "cluster", "test"))
            self.call("sacctmgr", "-i", "add", "qos", "few", "MaxSubmitJobsPerUser=1")
            self.call("sacctmgr", "-i", "modify", "user", "root", "set", "qos+=few")
        self.start("slurmctld")
        self.start("slurmd")
        wait_for(lambda: "idle" in self.call("sinfo", "-h", "-o", "%T"))

    def __exit__(self, *error: object) -> None:
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for name in CONFIGS:
            if (ETC / name).is_symlink():
                (ETC / name).unlink()

    def _start_database(self, port: int) -> None:
        folder, socket_file = self.folder / "database", self.folder / "database.socket"
        subprocess.run(
            ["mariadb-install-db", "--user=root", f"--datadir={folder}", "--skip-test-db"],
            check=True,
            capture_output=True,
        )
        self._start(
            *("mariadbd", "--no-defaults", "--user=root", f"--datadir={folder}"),
            *(f"--socket={socket_file}", "--bind-address=127.0.0.1", f"--port={port}"),
            f"--pid-file={self.folder}/mariadbd.pid",
        )
        grant = "CREATE USER slurm@'%' IDENTIFIED BY 'slurm'; GRANT ALL ON slurm.* TO slurm@'%';"
        client = ["mariadb", "--no-defaults", f"--socket={socket_file}", "--execute"]
        wait_for(lambda: not subprocess.run([*client, grant], capture_output=True).returncode)

    def start(self, daemon: str, *through: str) -> None:
        """Start slurmctld or slurmd, through a program that starts it."""
        self._start(daemon, "-D", through=through)

    def kill(self, daemon: str) -> None:
        """Send SIGKILL to a daemon; the jobs' own processes go on, as on a real node."""
        self.daemons[daemon].kill()
        self.daemons[daemon].wait()

    def drain(self) -> None:
        """Start no more jobs until `resume`."""
        self.call("scontrol", "update", f"NodeName={self.host}", "State=DRAIN", "Reason=test")

    def resume(self) -> None:
        self.call("scontrol", "update", f"NodeName={self.host}", "State=RESUME")

    def _start(self, *command: str, through: tuple[str, ...] = ()) -> None:
        log = open(self.folder / f"{command[0]}.out", "ab")  # noqa: SIM115 - the daemon's own
        self.daemons[command[0]] = subprocess.Popen(
            [*through, *command],
            env=self.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def call(self, *command: str) -> str:
        """Return the output of a SLURM command, empty if it fails."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True).stdout

    def jobs(self) -> list[dict[str, str]]:
        """List every job that the controller knows, finished or not: see `scontrol show job`."""
        lines = self.call("scontrol", "--oneliner", "show", "job").splitlines()
        return [dict(re.findall(r"(\w[\w:/]*)=(\S*)", line)) for line in lines if "JobId=" in line]

    def accounts(self) -> list[dict[str, str]]:
        """List every job that the accounting database knows: see `sacct`."""
        fields = ("JobID", "Comment", "State", "AllocTRES", "ReqMem", "Timelimit")
        lines = self.call("sacct", "-X", "-P", "-n", "-o", ",".join(fields)).splitlines()
        return [dict(zip(fields, line.split("|"), strict=True)) for line in lines]


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]
