"""Where results come from: versions and the commit of the code.

The versions of data and training stand for the code that makes sentences and trains. They are part
of a training job's name, and a run of another version counts as not trained. Raise one by hand if
a change of the code changes results, and only then: a refactoring must not retrain a sweep of days.
`tests/unit/test_versions.py` fails if results move and the version does not.
"""

import json
import platform
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from reversal_curse.tables.atomic_write import replacing

VERSION = "0.2.0"
DATA_VERSION = 2
TRAINING_VERSION = 5
PRETRAINED_VERSION = 3


def commit() -> str | None:
    """Return the commit of the running code, `+changes` if the tree differs; None outside git."""
    describe = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    command = ["git", "-C", str(Path(__file__).parent), *describe]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def write_record(folder: Path, started: float, versions: dict[str, Any], **known: Any) -> None:
    """Write `run.json`: what is `known` about a run, the code, and the time since `started`."""
    code = {"reversal_curse": VERSION, "python": platform.python_version()}
    begun = datetime.fromtimestamp(started, timezone.utc).isoformat(timespec="seconds")
    times = {"started": begun, "wall_seconds": round(time.time() - started, 3)}
    record = {**known, "commit": commit(), "versions": code | versions, **times}
    with replacing(folder / "run.json") as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
