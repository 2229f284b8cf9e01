"""Start programs, wait for them and kill them."""

import os
import signal
import subprocess
import time
from pathlib import Path


def start_in_a_group(
    command: list, root: Path, environment: dict[str, str]
) -> subprocess.Popen[str]:
    """Start a program in a process group of its own; stdout and stderr come together."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=root, env=environment, start_new_session=True, **pipes)


def output_of(process: subprocess.Popen[str], status: int = 0) -> str:
    """Wait for a program and return what it printed; its exit status must be `status`."""
    try:
        output, _ = process.communicate(timeout=900)
    finally:
        if process.poll() is None:
            kill(process)
    assert process.returncode == status, output
    return output


def kill(process: subprocess.Popen[str]) -> None:
    """Send SIGKILL to a program and to all that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for(condition, seconds: float = 120):
    """Wait until `condition()` is true; return its value."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"still waiting after {seconds} s"
        time.sleep(0.05)
    return found
