"""Results that were mixed, flipped or damaged: what is said, and what the next call makes again."""

import os
import random
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config
from reversal_curse.products import OVERVIEW, Products
from reversal_curse.tables.files import read_table, write_table
from reversal_curse.tables.record import read_record, write_record
from reversal_curse.tables.schemas import TABLES

from .conftest import ALL_PRODUCTS, CONFIG, MODELS, TASKS, Trial, counted, every

FLIPS = 1400
MINE = {"gpt reversal"}
ON_POINTS = {"figure_curves", "aggregate", "judge_claims"}
"""What is made from the runs of the sweep `positions`."""


def folder(trial: Trial, encoding: str = "alibi") -> Path:
    """Find the run with this positional encoding."""
    (record,) = trial.find(f"runs/**/pos_encoding={encoding}/**/run.json")
    return record.parent


def rewrite(trial: Trial, **changed) -> None:
    """Write a record anew, as another machine would have written it."""
    path = folder(trial) / "run.json"
    record = read_record(path)
    files = [path.parent / name for name in record.pop("files")]
    del record["digest"]
    for name, value in changed.items():
        record[name] = {**record[name], **value} if isinstance(value, dict) else value
    write_record(path, record, files)


def replace_table(trial: Trial) -> None:
    shutil.copy(folder(trial, "rotary") / "metrics.parquet", folder(trial))


def replace_run(trial: Trial) -> None:
    shutil.copytree(folder(trial, "rotary"), folder(trial), dirs_exist_ok=True)


def halve_seeds(trial: Trial) -> None:
    path = folder(trial) / "metrics.parquet"
    write_table(path, read_table(path, "metrics").filter(seed=0), TABLES["metrics"])


def change_dataset(trial: Trial) -> Path:
    """Change the sentences of the second seed."""
    (path,) = trial.find("data/task=reversal/**/dataset.parquet")
    tokens = pl.when(seed=1).then(pl.col("tokens").list.reverse()).otherwise("tokens")
    write_table(path, read_table(path, "dataset").with_columns(tokens), TABLES["dataset"])
    return path


def forge_dataset(trial: Trial) -> None:
    """Change a dataset, and its record accordingly; one of the runs that read it is gone."""
    path = change_dataset(trial)
    (record,) = trial.find("made/data/task=reversal/**/*.json")
    write_record(record, {"source": read_record(record)["source"]}, [path])
    shutil.rmtree(folder(trial))


def copy_results(trial: Trial) -> None:
    """Lose what Snakemake remembers."""
    shutil.rmtree(trial.directory / ".snakemake")


def lose_times(trial: Trial) -> None:
    """Copy results file by file; what was made first is newest."""
    copy_results(trial)
    for path in trial.find("**/*"):
        os.utime(path)


def forget(trial: Trial) -> None:
    shutil.rmtree(trial.directory / "results/made")


def change_weights(trial: Trial) -> None:
    """Change a bit of a pretrained model, but neither size nor time."""
    weights = trial.directory / "model/model.safetensors"
    content, times = weights.read_bytes(), weights.stat()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))


def other_default(trial: Trial) -> None:
    trial.edit("config/settings.py", "] = 0.999", "] = 0.99")


def by_another(**changed) -> Callable:
    return lambda trial: rewrite(trial, **changed)


OTHER = by_another(code={"torch": "1.0"}, versions={"torch": "1.0"})
MODEL = {"probe_pretrained", "gather_pretrained", "judge_claims", *MODELS}
WITH_BETAS = {f"gpt {task}" for task in TASKS} | {
    f"masked_diffusion {task}" for task in CONFIG["sweeps"]["masked"]["task"]
}
# What was done, what is said, what would be made and trained, and the config of that call.
MIXTURES = {
    "another torch": (OTHER, "1 of .*torch changed since", ON_POINTS, set()),
    "another torch, in a sweep": (OTHER, "positions mixes runs by torch: 1.0", ON_POINTS, set()),
    "retrain": (OTHER, "trained again", ON_POINTS, MINE, "stale=retrain"),
    "refuse": (OTHER, "are refused", None, None, "stale=refuse"),
    "another commit": (by_another(commit="0" * 40), "", {"aggregate", "judge_claims"}, set()),
    "precision": (by_another(precision="bfloat16"), "mixes runs by precision", ..., set()),
    "device": (by_another(device="cuda"), "mixes runs by device", ..., set()),
    "settings": (by_another(settings={"epochs": 9}), "epochs must be 4, got 9", ON_POINTS, MINE),
    "another default": (other_default, "beta2 must be 0.99, got 0.999", ALL_PRODUCTS, WITH_BETAS),
    "a table of another run": (replace_table, "metrics.parquet is not as it", ON_POINTS, MINE),
    "another run": (replace_run, "pos_encoding must be alibi, got rotary", ON_POINTS, MINE),
    "half of the seeds": (halve_seeds, "metrics.parquet is not as it", ON_POINTS, MINE),
    "one seed's sentences": (change_dataset, "dataset.parquet is not as it", {"dataset"}, set()),
    "forged sentences": (forge_dataset, "not the dataset of task=reversal", None, None, ""),
    "results copied": (copy_results, "Nothing to be done", set(), set()),
    # Gathering again what models measured takes seconds, and may happen; nothing is measured again.
    "file times lost": (lose_times, "", ..., set()),
    "no records": (forget, "", ALL_PRODUCTS | {"dataset"}, set()),
    "weights": (change_weights, "safetensors has changed since it was probed", MODEL, set()),
}


def test_mixtures_are_said_and_what_they_touch_is_made_again(finished, tmp_path):
    def check(trial: Trial, case: tuple) -> str:
        change, said, rules, trained, *given = case
        change(trial)
        if rules is None:
            text = trial.snakemake(*(["--config", *given] if all(given) else []), status=1)
            return "" if re.search(said, text) and "Traceback" not in text else text
        seen = trial.look(*(["--config", *given] if given else []))
        made = rules in (..., seen.rules) and trained == seen.trained
        return "" if made and re.search(said, seen.text) else f"{seen.rules} {seen.text[:900]}"

    every("mixtures said or made again", MIXTURES, finished, tmp_path, check)


UNREAD = ("train.log", "logs/", "configs/", "jobs/", "stale")
"""Parts of the paths of files whose content nothing reads."""


def kinds(trial: Trial) -> dict[str, list[Path]]:
    """Group the files of results by what they are."""
    found = defaultdict(list)
    for path in trial.find("**/*"):
        top = path.relative_to(trial.directory / "results").parts[0]
        if path.is_file() and path.stat().st_size:
            found[f"{top}/*{path.name if top == 'runs' else path.suffix}"].append(path)
    return found


def complaints(trial: Trial) -> list[str]:
    """Return a line for all that anything finds wrong with the results."""
    products = Products(
        Config.load(trial.config_file).executed(submitted=False), trial.directory / "results"
    )
    models = [model.name for model in products.config.pretrained]
    names = [f"data/{one}" for one in products.datasets] + [f"models/{one}" for one in models]
    names += [f"pretrained/{one}" for one in ("answers", "scores", "gradients")]
    figures = [*products.config.drawings(), OVERVIEW]
    names += [f"figures/{one}" for one in figures] + ["metrics", "claims", "page"]
    return [line for line in [*products.notes(), *map(products.problem, names)] if line]


def wrong_answer(trial: Trial, path: Path, content: bytes | None) -> str:
    """Give a file another content, or delete it; say what is wrong with the answer, if anything."""
    before = path.read_bytes()
    record = read_record(path) if path.name == "run.json" or "made" in path.parts else None
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    try:
        lines = complaints(trial)
        lines += unreadable(path) if path.suffix == ".parquet" else []
        if any("\n" in line for line in lines):
            return f"{path}: {lines}"
        if any(path.name in line for line in lines) or (lines and content is None):
            return ""
        if not lines and (unread(path) or (record and read_record(path) == record)):
            return ""
        return f"{path}: {lines or 'nothing is said'}"
    except Exception as error:
        return f"{path}: {error!r}"
    finally:
        path.write_bytes(before)


def unread(path: Path) -> bool:
    return any(part in str(path).split("/results/")[1] for part in UNREAD)


def unreadable(path: Path) -> list[str]:
    name = f"pretrained_{path.stem}" if "pretrained" in str(path) else path.stem
    try:
        read_table(path, name)
    except UserError as error:
        return [str(error)]
    return []


@pytest.fixture
def trial(finished, tmp_path) -> Trial:
    made = Trial(finished.root, shutil.copytree(finished.directory, tmp_path / "work"))
    for path in [*made.find("**/run.json"), *made.find("made/**/*.json")]:
        os.utime(path)  # newer than the copied files, which need not be read then
    return made


def test_flipped_bits_are_named_or_change_nothing(trial, monkeypatch, capfd):
    monkeypatch.chdir(trial.directory)  # where the pretrained model is
    rng, files, wrong = random.Random(0), kinds(trial), []
    for number in range(FLIPS):
        path = rng.choice(files[sorted(files)[number % len(files)]])
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        wrong.append(wrong_answer(trial, path, bytes(content)))
    printed = capfd.readouterr().err
    with capfd.disabled():
        counted(f"flips, in {len(files)} kinds of files, named or harmless", wrong)
    assert "panicked" not in printed


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "zeroed": lambda content: bytes(len(content)),
    "garbage": lambda content: random.Random(0).randbytes(len(content)),
    "deleted": lambda content: None,
}


def test_damage_is_named_or_changes_nothing(trial, monkeypatch):
    monkeypatch.chdir(trial.directory)
    cases = [(paths[-1], damage) for paths in kinds(trial).values() for damage in DAMAGES.values()]
    wrong = [wrong_answer(trial, path, damage(path.read_bytes())) for path, damage in cases]
    counted("damaged files named or harmless", wrong)


def test_the_next_call_mends_what_was_damaged_and_nothing_else(finished, tmp_path):
    """Of each kind a file is damaged, all at once."""

    def check(trial: Trial, damage: Callable) -> str:
        before = trial.contents("**/*")
        damaged = [paths[-1] for paths in kinds(trial).values() if not unread(paths[-1])]
        for path in damaged:
            content = damage(path.read_bytes())
            path.unlink() if content is None else path.write_bytes(content)
        trial.snakemake()
        after = trial.contents("**/*")
        runs = {path.parent for path in damaged if "runs" in path.parts}
        touched = [path for path in before if "runs" in path.parts and before[path] != after[path]]
        wrong = [f"{path}: trained again" for path in touched if path.parent not in runs]
        # Those that say how long something took differ.
        same = {".pdf", ".png", ".svg", ".md", ".parquet"}
        kept = [path for path in before if path.suffix in same and path.name != "points.parquet"]
        wrong += [f"{path}: differs" for path in kept if before[path][1] != after[path][1]]
        again = trial.look().text
        return "\n".join(wrong) + ("" if "Nothing to be done" in again else again)

    cases = {name: DAMAGES[name] for name in ("cut", "garbage", "deleted")}
    what = f"calls that mend {sum(not unread(p[-1]) for p in kinds(finished).values())} files each"
    every(what, cases, finished, tmp_path, check)
