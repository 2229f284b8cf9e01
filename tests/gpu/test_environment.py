"""`make test-gpu` refuses a Python whose PyTorch cannot run the stages, and makes nothing then."""

import subprocess
import sys

import pytest

NO_GPU = "from types import SimpleNamespace as S\ncuda = S(is_available=lambda: False)\n"


@pytest.mark.parametrize(
    ("torch", "said"),
    [
        ("raise ImportError", "torch must be 2.11 or newer, got none"),
        ("__version__ = '2.9.1+cu126'", "torch must be 2.11 or newer, got 2.9.1+cu126"),
        (NO_GPU + "__version__ = '2.11.0'", "torch must see a GPU, got none (torch 2.11.0)"),
    ],
)
def test_a_torch_that_cannot_run_the_stages_is_refused_in_one_line(tmp_path, root, torch, said):
    (tmp_path / "torch.py").write_text(torch)
    (tmp_path / "tests/gpu").mkdir(parents=True)
    script = tmp_path / "tests/gpu/environment.py"
    script.write_text((root / "tests/gpu/environment.py").read_text())
    done = subprocess.run(
        [sys.executable, script, "cuda"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == f"{sys.executable}: {said}; set PYTHON=\n"
    assert not (tmp_path / ".venv-gpu").exists()
