"""Where results come from: versions and the commit of the code.

The versions of data and training stand for the code that makes sentences and trains. They are part
of a training job's name, and a run of another version counts as not trained. Raise one by hand if
a change of the code changes results, and only then: a refactoring must not retrain a sweep of days.
`tests/unit/test_versions.py` fails if results move and the version does not.
"""

import subprocess
from pathlib import Path

VERSION = "0.2.0"
DATA_VERSION = 1
TRAINING_VERSION = 3
PRETRAINED_VERSION = 2


def commit() -> str | None:
    """Return the commit of the running code, `+changes` if the tree differs; None outside git."""
    describe = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    command = ["git", "-C", str(Path(__file__).parent), *describe]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
