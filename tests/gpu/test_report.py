"""The report says what became of every stage, also if the run was cut off."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STAGES = """
import os
import pytest

@pytest.mark.stage(seconds=1)
def test_one_that_passes(stage):
    stage.numbers["loss in nats"] = 0.12345

@pytest.mark.stage(seconds=1)
def test_one_that_fails(stage):
    assert 1 == 2

@pytest.mark.stage(seconds=1)
def test_one_that_is_left_out(stage):
    pytest.skip("nothing to do")

@pytest.mark.stage(seconds=1)
def test_one_at_which_the_machine_goes(stage):
    os._exit(9)

@pytest.mark.stage(seconds=1)
def test_one_after_that(stage):
    pass
"""


def test_a_run_that_is_cut_off_leaves_a_report_of_what_it_did(tmp_path, root):
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: as in the checkout\n")
    (tmp_path / "test_stages.py").write_text(STAGES)
    paths = ":".join(str(root / name) for name in ("src", "tests", "tests/gpu"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--gpu-report", "here"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 9, done.stdout
    assert "one that passes: pass, 0.0 s; loss in nats: 0.123\n" in done.stdout
    content = json.loads((tmp_path / "here/report.json").read_text())
    found = {name: (stage["result"], stage["notes"]) for name, stage in content["stages"].items()}
    assert found == {
        "one that passes": ("pass", []),
        "one that fails": ("FAIL", ["assert 1 == 2"]),
        "one that is left out": ("not run", ["nothing to do"]),
        "one at which the machine goes": ("not run", []),
        "one after that": ("not run", []),
    }
    assert content["torch"]
    page = (tmp_path / "here/report.md").read_text()
    assert "1 pass, 1 FAIL, 3 not run" in page
    assert "| one that passes | pass | 0.0 (1) | loss in nats: 0.123 |" in page
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        "report.json",
        "report.md",
    ]
