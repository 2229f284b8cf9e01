"""Fingerprints of code: what moves numbers changes them, prose does not."""

import re
import shutil
from importlib import metadata

import pytest

from reversal_curse.tables import provenance
from reversal_curse.tables.provenance import PACKAGE, code_of, code_of_training, differences

# A file, what is replaced in it, by what, and the runs (family, task) that notice it.
EVERY = [("gpt", "reversal"), ("gpt", "chain"), ("one_layer", "chain"), ("bilinear", "reversal")]
EDITS = [
    ("training/loop.py", "epoch += 1", "epoch += 2", EVERY),
    ("tasks/words.py", "TRAIN_FRACTION = 0.7", "TRAIN_FRACTION = 0.8", EVERY),
    ("tasks/chain.py", "TASK =", "X, TASK = 1,", [("gpt", "chain"), ("one_layer", "chain")]),
    ("training/gpt.py", "mean((1, 2))", "sum((1, 2))", [("gpt", "reversal"), ("gpt", "chain")]),
    ("probes/separation.py", "nll", "nlls", [("bilinear", "reversal")]),
    ("figures/curves.py", "draw", "paint", []),
    ("config/settings.py", "0.999", "0.99", []),  # a run records its settings
]
PROSE = [
    ('"""Train', '"""Teach'),
    ("import torch\n", "import torch  # a library\n\n\n"),
    (
        "(settings, dataset, device)",
        "(\n            settings,\n            dataset,\n            device,\n        )",
    ),
]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Look at a copy of the package, which tests edit."""
    copy = shutil.copytree(PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    yield copy
    forget()


def forget() -> None:
    for function in (code_of_training, code_of, provenance._outline):
        function.cache_clear()


def fingerprints() -> dict:
    forget()
    return {point: code_of_training(*point) for point in EVERY}


@pytest.mark.parametrize(("file", "old", "new", "expected"), EDITS, ids=lambda x: str(x)[:24])
def test_an_edit_is_noticed_by_the_runs_that_use_the_module(package, file, old, new, expected):
    before = fingerprints()
    text = (package / file).read_text()
    (package / file).write_text(re.sub(re.escape(old), new, text))
    assert (package / file).read_text() != text
    after = fingerprints()
    changed = {point: differences(before[point], after[point]) for point in EVERY}
    assert changed == {p: [file[:-3]] if p in expected else [] for p in EVERY}


@pytest.mark.parametrize(("old", "new"), PROSE)
def test_comments_docstrings_and_formatting_change_no_fingerprint(package, old, new):
    before, path = fingerprints(), package / "training/loop.py"
    path.write_text(path.read_text().replace(old, new))
    assert fingerprints() == before


def test_a_file_that_moves_makes_no_run_stale(package):
    before = fingerprints()
    (package / "models/losses.py").rename(package / "models/objectives.py")
    for path in package.rglob("*.py"):
        text = path.read_text()
        path.write_text(text.replace("models.losses import", "models.objectives import"))
    after = fingerprints()
    assert not any(differences(before[point], after[point]) for point in EVERY)


def test_a_name_imported_from_elsewhere_is_noticed(package):
    before, path = fingerprints(), package / "training/one_layer.py"
    text = path.read_text().replace(
        "models.learner import Learner", "models.likelihood import Learner"
    )
    path.write_text(text)
    after = fingerprints()
    assert differences(before["one_layer", "chain"], after["one_layer", "chain"]) == ["imports"]


def test_another_torch_makes_runs_stale_and_an_absent_one_does_not(monkeypatch):
    before = code_of_training("gpt", "reversal")
    assert differences({**before, "torch": "1.0"}, before) == ["torch"]
    without = {name: one for name, one in before.items() if name != "torch"}
    assert not differences(before, without)
    assert before["torch"] == metadata.version("torch").split("+")[0]
