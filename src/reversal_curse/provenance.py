"""Where code comes from: its commit, and digests of its sources."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path


def commit() -> str | None:
    """The commit of the running code, with `+changes` where the tree differs; None outside git."""
    describe = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        described = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *describe],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def digest(paths: Iterable[Path]) -> str:
    """Twelve hex digits that stand for the contents of source files, in the order given."""
    combined = hashlib.sha256()
    for path in paths:
        combined.update(path.read_bytes())
    return combined.hexdigest()[:12]
