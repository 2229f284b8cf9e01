"""Edits of code after a run: what is noticed, what is made again, and what must change nothing."""

import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from .conftest import ALL_PRODUCTS, FIGURES, MODELS, Trial, every, git

# A module of training, what is replaced in it, by what, and the runs that are by other code then.
ALL, BATCHES = ("*",), ("gpt *", "masked_diffusion *")
EDITS = {
    "loop": ("training/loop.py", "epoch += 1", "epoch += 2", ALL),
    "observer": ("training/observer.py", "1.05", "1.06", ALL),
    "memory": ("training/memory.py", "def ", "def my_", ALL),
    "AdamW": ("training/optimizers.py", "eps=1e-8", "eps=1e-7", BATCHES),
    "precision": ("training/execution.py", '"bfloat16"', '"float16"', BATCHES),
    "gpt": ("training/gpt.py", "mean((1, 2))", "sum((1, 2))", BATCHES[:1]),
    "diffusion": ("training/masked_diffusion.py", "(rate * length)", "rate", BATCHES[1:]),
    "one layer": ("training/one_layer.py", "learning_rate_z", "learning_rate", ("one_layer *",)),
    "bilinear": ("training/bilinear.py", ".mean((1, 2))", ".sum((1, 2))", ("bilinear *",)),
    "logits": ("probes/logits.py", "length + 1)", "length)", BATCHES[:1]),
    "attention": ("probes/attention.py", '"sparse"', '"end"', BATCHES),
    "gradients": ("probes/gradients.py", "STEP = 0.01", "STEP = 0.02", BATCHES),
    "weights": ("probes/weights.py", "MOST = 128", "MOST = 64", ("one_layer *", "bilinear *")),
    "chain": ("tasks/chain.py", "STEP, LEAP = 0, 1", "STEP, LEAP = 1, 0", ("* chain*",)),
    "related": ("tasks/chain_related.py", "[token, i]", "[i, token]", ("* chain_related",)),
    "in context": ("tasks/in_context.py", "TRAIN_Y_TOKENS = 7", "TRAIN_Y_TOKENS = 6", ("* in_*",)),
    "words": ("tasks/words.py", "TRAIN_FRACTION = 0.7", "TRAIN_FRACTION = 0.8", ALL),
    "arms": ("tasks/masking_arms.py", "coin & a", "coin & b", BATCHES[1:]),
    "dataset": ("tables/dataset.py", 'pl.col("split") == name', 'pl.col("split") != name', ALL),
    "transformer": ("models/transformer.py", "INIT_STD = 0.02", "INIT_STD = 0.03", BATCHES),
    "streams": ("models/random_streams.py", ">> 1", ">> 2", ALL),
    "losses": ("models/losses.py", "square()", "abs()", ("one_layer *", "bilinear *")),
    "likelihood": ("models/likelihood.py", "logits.max", "logits.min", ALL),
}
# Code of products: what is made again, while no run is by other code.
REMADE = {
    "aggregate": ("tables/aggregate.py", "= 64", "= 63", ALL_PRODUCTS - FIGURES),
    "schemas": ("tables/schemas.py", "nats", "bits", ALL_PRODUCTS),
    "summaries": ("tables/summaries.py", "0.95", "0.9", ALL_PRODUCTS - {"figure_curves"}),
    "a plot": ("figures/separation.py", '"seed"', '"seeds"', {"figure_separation"}),
    "style": ("figures/style.py", "#555555", "#555556", FIGURES | MODELS),
    "plots": ("config/plots.py", "int = 48", "int = 47", ALL_PRODUCTS),
    "figures": ("config/figures.py", "Vocabulary", "Size", ALL_PRODUCTS),
    "a claim": ("claims/reversal.py", "0.1", "0.2", {"judge_claims"}),
}
# Mutations that move numbers: `confirm` must refuse the runs.
MUTATIONS = {
    "data of chain": ("tasks/chain.py", "tokens(a, LEAP, c)", "tokens(c, LEAP, a)"),
    "data of chain_related": ("tasks/chain_related.py", "[token, i]", "[i, token]"),
    "data of in_context": ("tasks/in_context.py", "y, BACKWARD, x)", "x, BACKWARD, y)"),
    "data of facts": ("tasks/facts.py", "[seed, settings", "[seed + 1, settings"),
    "data of reversal": ("tasks/reversal.py", "[seed, settings", "[seed + 1, settings"),
    "ALiBi": ("models/positions.py", "-8.0 *", "-4.0 *"),
    "rotary": ("models/positions.py", "10000.0**", "100.0**"),
    "the form of gelu": ("models/transformer.py", '"tanh"', '"none"'),
    "scale of residuals": ("models/transformer.py", "sqrt(2 * settings", "sqrt(3 * settings"),
    "masking arm": ("tasks/masking_arms.py", "(coin & a) |", "(coin & b) |"),
    "weight 1 / t": ("training/masked_diffusion.py", "(rate * length)", "length"),
    "chance_class": ("tasks/task.py", "settings.vocab_size // 4", "7"),
    "the logits probe": ("probes/logits.py", "tokens[:, :, length + 1]", "tokens[:, :, length]"),
    "the gradients probe": ("probes/gradients.py", "STEP = 0.01", "STEP = 0.02"),
    "dropout": ("models/random_streams.py", "mul_(2**16 / (2**16 - dropped))", "mul_(1.0)"),
    "AdamW's betas": ("training/optimizers.py", "beta2=settings.beta2", "beta2=settings.beta1"),
    "hinge loss": ("models/losses.py", "(1 + others", "(1 + 2 * others"),
    "init of bilinear": ("models/bilinear.py", "embed_dim**-0.5", "embed_dim**-1.0"),
    "norm of one layer": ("models/one_layer.py", "weights / norm @", "weights / 2 @"),
    "choice candidates": ("models/choice.py", '"split", "direction"]', '"split"]'),
}


def test_edits_of_training_are_named_and_retrain_the_runs_that_use_them(finished, tmp_path):
    points = set(finished.points().values())

    def check(trial: Trial, case: tuple) -> str:
        file, old, new, expected = case
        trial.edit(file, old, new)
        seen = trial.look("--config", "stale=retrain")
        right = {point for point in points if any(fnmatch(point, one) for one in expected)}
        fine = seen.changed == file[:-3] and seen.trained == right
        return "" if fine else f"{seen.changed}: {sorted(seen.trained ^ right)}"

    every("edits noticed, and the right runs retrained", EDITS, finished, tmp_path, check)


def test_edits_of_figures_tables_and_claims_make_these_again(finished, tmp_path):
    def check(trial: Trial, case: tuple) -> str:
        file, old, new, expected = case
        trial.edit(file, old, new)
        seen = trial.look()
        fine = not seen.changed and not seen.trained and seen.rules == expected
        return "" if fine else f"{seen.changed} {sorted(seen.trained)} {sorted(seen.rules)}"

    every("edits of products' code that make them again", REMADE, finished, tmp_path, check)


def test_mutations_that_move_numbers_are_named_and_not_confirmed(finished, tmp_path):
    def check(trial: Trial, case: tuple) -> str:
        file, old, new = case
        trial.edit(file, old, new)
        seen, refused = trial.look(), confirm(trial)
        fine = seen.changed == file[:-3] and "is not the same by the code of today" in refused
        return "" if fine else f"{seen.changed} {refused}"

    every("mutations noticed, and tables moved", MUTATIONS, finished, tmp_path, check)


def confirm(trial: Trial) -> str:
    command = [sys.executable, "-P", "-m", "reversal_curse", "confirm"]
    environment = {**os.environ, "PYTHONPATH": str(trial.root / "src")}
    done = subprocess.run(
        [*command, "--config", trial.config_file],
        cwd=trial.directory,
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.stdout[-300:] + done.stderr


def sources(trial: Trial) -> list[Path]:
    return sorted((trial.root / "src").rglob("*.py"))


def comment(trial: Trial) -> None:
    for path in sources(trial):
        path.write_text("# A comment.\n" + path.read_text().replace("\n\n", "\n\n# Another.\n", 1))


def reword(trial: Trial) -> None:
    """Reword docstrings of modules and functions; in figures, those of functions are captions."""
    for path in sources(trial):
        text = re.sub(r'\A"""\w+', '"""Reworded', path.read_text())
        if path.parent.name != "figures":
            text = re.sub(r'(def .*:\n +""")\w+', r"\1Reworded", text)
        path.write_text(text)


def reformat(trial: Trial) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    options = ["--quiet", "--isolated", "--line-length", "60"]
    subprocess.run([ruff, "format", *options, trial.root / "src"], check=True)


def move_module(trial: Trial) -> None:
    package = trial.root / "src/reversal_curse"
    (package / "models/losses.py").rename(package / "models/objectives.py")
    for path in sources(trial):
        path.write_text(path.read_text().replace("models.losses", "models.objectives"))


def check_out(trial: Trial) -> None:
    git(trial.root, "checkout", "--quiet", "-b", "other")
    comment(trial)
    git(trial.root, "commit", "--quiet", "--all", "--message=Other code")
    git(trial.root, "checkout", "--quiet", "-")


def touch(trial: Trial) -> None:
    for path in trial.root.rglob("*"):
        os.utime(path)


def move_away(trial: Trial) -> None:
    """Move checkout and results, as to another machine: without what Snakemake remembers."""
    shutil.move(trial.root, trial.root.with_name("another checkout"))
    shutil.move(trial.directory, trial.directory.with_name("another place"))
    trial.root = trial.root.with_name("another checkout")
    trial.directory = trial.directory.with_name("another place")
    shutil.rmtree(trial.directory / ".snakemake")


HARMLESS = [comment, reword, reformat, move_module, check_out, touch, move_away]


def test_what_moves_no_number_makes_nothing_again(finished, tmp_path):
    def check(trial: Trial, change) -> str:
        change(trial)
        text = trial.look("--config", "stale=retrain").text
        return "" if "Nothing to be done" in text and "other code" not in text else text

    cases = {change.__name__: change for change in HARMLESS}
    every("no false alarm", cases, finished, tmp_path, check)
