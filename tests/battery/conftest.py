"""One small finished run in a copy of the checkout; each case gets a copy of both."""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from reversal_curse.config.file import Config
from reversal_curse.config.grid import read_sweeps
from reversal_curse.jobs.training_jobs import training_jobs
from tiny_models import save_causal, write_facts
from workflow.conftest import Workflow, job_counts

SIZE = {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "train_facts": 5, "seeds": 2}
TASKS = ["reversal", "chain", "chain_related", "in_context", "facts"]
CONFIG = {
    "job_minutes": 0.0,
    "defaults": {**SIZE, "epochs": 4, "eval_every": 2},
    "sweeps": {
        "gpt": {"task": TASKS},
        "positions": {"pos_encoding": ["alibi", "rotary"]},
        "masked": {"family": "masked_diffusion", "task": ["reversal", "chain", "facts"]},
        "either": {"family": "masked_diffusion", "masking": "either"},
        "one_layer": {"family": "one_layer", "task": ["reversal", "chain"]},
        "bilinear": {"family": "bilinear"},
        "hinge": {"family": "bilinear", "loss": "hinge"},
    },
    "figures": {
        "curves": {"plot": "curves", "sweep": "positions", "title": "Curves"},
        "overview": {"plot": "overview", "sweep": "gpt", "title": "Overview"},
        "separation": {"plot": "separation", "sweep": "bilinear", "title": "Separation"},
    },
    "pretrained": [
        {"name": "tiny", "kind": "causal", "path": "model", "facts": "facts.csv", "steps": 0}
    ],
}
FIGURES = {f"figure_{name}" for name in CONFIG["figures"]}
MODELS = {f"figure_pretrained_{name}" for name in ("reversal", "attention", "gradients")}
ALL_PRODUCTS = {*FIGURES, *MODELS, "aggregate", "gather_pretrained", "judge_claims"}


@dataclass(frozen=True)
class Look:
    """What a dry run says."""

    rules: set[str]
    """What would run, besides training."""
    trained: set[str]
    """What would be trained: families with tasks."""
    text: str

    @property
    def changed(self) -> str:
        """The modules that have changed since runs were trained."""
        found = re.search(r"runs are by other code \(of commit .*\): (.*) changed since", self.text)
        return found[1] if found else ""


@dataclass
class Trial(Workflow):
    """A checkout with a finished run, to change at will."""

    def look(self, *arguments: str) -> Look:
        """Make a dry run."""
        text = self.snakemake("--dry-run", "--printshellcmds", *arguments)
        rules = {rule for rule in job_counts(text) if not rule.startswith("train_")}
        if len(rules) > 1:  # the page follows whatever else is made
            rules.discard("write_page")
        points = self.points()
        trained = {points[name] for name in re.findall(r"train-job (\w+)", text)}
        return Look(rules, trained, text)

    def points(self) -> dict[str, str]:
        """Return the family and task of each training job, which trains one grid point."""
        config = Config.load(self.config_file).executed(submitted=False)
        jobs = training_jobs(config, read_sweeps(config))
        points = {name: next(iter(job.points.values())) for name, job in jobs.items()}
        return {name: f"{point.family} {point.task}" for name, point in points.items()}

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in a module."""
        path = self.root / "src/reversal_curse" / file
        text = path.read_text()
        assert old in text, f"{file}: {old}"
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory) -> Trial:
    """A finished run, made by the real Snakemake in a copy of the checkout."""
    folder = tmp_path_factory.mktemp("finished")
    made = Trial(folder / "checkout", folder / "work")
    left_out = shutil.ignore_patterns("*.egg-info", "__pycache__")
    for name in ("workflow", "config", "profiles", "src"):
        shutil.copytree(root / name, made.root / name, ignore=left_out)
    shutil.copy(root / "Snakefile", made.root)
    git(made.root, "init", "--quiet")
    git(made.root, "add", ".")
    git(made.root, "commit", "--quiet", "--message=The code of the runs")
    made.directory.mkdir()
    write_facts(made.directory)
    save_causal(made.directory / "model")
    made.write_config(**CONFIG)
    made.snakemake("--config", "job_minutes=9")
    return made


def git(folder: Path, *arguments: str) -> None:
    user = ["-c", "user.name=A", "-c", "user.email=a@b"]
    subprocess.run(["git", *user, *arguments], cwd=folder, check=True)


def every(
    what: str, cases: Mapping, finished: Trial, folder: Path, check: Callable[..., str]
) -> None:
    """Check all cases, two at a time, each in a trial of its own; print and assert the count.

    `check` maps a trial and a case to what is wrong; empty if nothing is.
    """

    def one(number: int, case: object) -> str:
        place = folder / str(number)
        shutil.copytree(finished.root.parent, place)
        try:
            return check(replace(finished, root=place / "checkout", directory=place / "work"), case)
        except AssertionError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        wrong = list(pool.map(one, range(len(cases)), cases.values()))
    counted(what, [text and f"{name}: {text}" for name, text in zip(cases, wrong, strict=True)])


def counted(what: str, wrong: list[str]) -> None:
    """Print how many cases are right, and assert that all are; a text says what is wrong."""
    bad = [text for text in wrong if text]
    print(f"\n{what}: {len(wrong) - len(bad)} of {len(wrong)}")
    assert not bad, "\n".join(bad[:20])
