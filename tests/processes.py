"""Programs that tests start."""

from __future__ import annotations

import subprocess
from pathlib import Path


def start_in_a_group(
    command: list, root: Path, environment: dict[str, str]
) -> subprocess.Popen[str]:
    """Start a program in a process group of its own; stdout and stderr come together."""
    return subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
