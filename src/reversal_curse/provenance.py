"""Where results come from: the commit of the code, and versions by content.

Snakemake compares these as parameters: a changed plot is rendered again, without training, and a
checkout that only touches file times renders nothing.
"""

import hashlib
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from reversal_curse.registry.plots import PLOTS

PACKAGE = Path(__file__).parent
_READ = ("analysis.py", "tables.py", "pretrained/analysis.py")
_NAMED = ("config/settings.py", "config/grid.py", "families.py")


def commit() -> str | None:
    """The commit of the running code, with `+changes` where the tree differs; None outside git."""
    describe = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    command = ["git", "-C", str(PACKAGE), *describe]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def digest_of(content: Any) -> str:
    """Twelve hex digits that stand for what can be written as JSON."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


@cache
def plot_version(name: str) -> str:
    """A digest of the plot's module, of what plots share, and of what names and reads."""
    plot = PLOTS[name]
    modules = {other.path for other in PLOTS.values()}
    shared = sorted(set((PACKAGE / "figures").glob("*.py")) - modules)
    files = [PACKAGE / file for file in (*_READ, *_NAMED, "registry/maskings.py")]
    return digest_of([path.read_text("utf-8") for path in (*files, *shared, plot.path)])


@cache
def claims_version() -> str:
    """A digest of all claims and of what they read tables with."""
    files = [PACKAGE / file for file in (*_READ, "config/grid.py")]
    files += sorted((PACKAGE / "claims").glob("*.py"))
    return digest_of([path.read_text("utf-8") for path in files])
