"""Make `.venv-gpu`, which has this machine's PyTorch, and what else the stages need.

    python3 tests/gpu/environment.py cuda [WHEELS]

It sees the packages of the Python that makes it, also if that is in an environment itself. What is
missing is installed, from the folder WHEELS if that is given; PyTorch never is. What cannot be had
is named, and the stages that need it are not run.
"""

import os
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / ".venv-gpu"


def refusal(device: str) -> str:
    """Say why the stages cannot run with this Python; empty if they can."""
    try:
        import torch
    except ImportError:
        return "torch must be 2.11 or newer, got none"
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 11):
        return f"torch must be 2.11 or newer, got {torch.__version__}"
    if device == "cuda" and not torch.cuda.is_available():
        return f"torch must see a GPU, got none (torch {torch.__version__})"
    return ""


def make() -> None:
    """Make the environment anew if it is not that of this Python."""
    seen = [path for path in sys.path if path.endswith("-packages")]
    lines = "".join(f"import site; site.addsitedir({path!r})\n" for path in seen)
    number = f"{sys.version_info.major}.{sys.version_info.minor}"
    listed = FOLDER / f"lib/python{number}/site-packages/machine.pth"
    if not listed.exists() or listed.read_text() != lines:
        venv.create(FOLDER, clear=True, symlinks=True)
        listed.write_text(lines)


def complete(wheels: str) -> None:
    """Install what is missing, in the versions of the lock unless a folder has others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["pretrained"], "pytest"]
    missing = [name for name in needed if not _is_there(name)]
    if not missing:
        return
    print(f"installing into {FOLDER.name}: {' '.join(missing)}", flush=True)
    if not _is_there("pip"):
        subprocess.run([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL, check=True)
    lock = [] if wheels else (ROOT / "requirements.lock").read_text().splitlines()
    kept = [line for line in lock if not line.startswith("torch==")]
    constraints = FOLDER / "constraints.txt"
    constraints.write_text("\n".join([*kept, f"torch=={version('torch')}", ""]))
    source = ["--no-index", "--find-links", wheels] if wheels else []
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["-c", str(constraints), *source]
    if subprocess.run([*command, *missing]).returncode:  # then one by one
        lost = [name for name in missing if subprocess.run([*command, name]).returncode]
        print(f"without {' '.join(lost)}: stages that need them are not run", flush=True)


def _is_there(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    device, *wheels = sys.argv[1:]
    if Path(sys.prefix) == FOLDER:
        sys.exit(complete(*wheels or [""]))
    if problem := refusal(device):
        sys.exit(f"{sys.executable}: {problem}; set PYTHON=")
    make()
    python = str(FOLDER / "bin/python")
    os.execv(python, [python, *sys.argv])
