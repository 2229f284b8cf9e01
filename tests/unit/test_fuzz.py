"""Whatever a file holds: a right answer or one clear line, never a traceback from deep inside."""

from __future__ import annotations

import copy
import json
import math
import os

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reversal_curse.config import Config, read_yaml
from reversal_curse.errors import ConfigError, UserError
from reversal_curse.settings import AXES, FIXED, NAME_PATTERN, Settings
from reversal_curse.sweep import check_figures, grid_points, variant_labels
from reversal_curse.tables import TABLES, read_table, write_table
from reversal_curse.tasks.dataset import Dataset, generate_dataset

MANY = settings(
    max_examples=1500,
    deadline=None,
    derandomize="FUZZ" not in os.environ,  # FUZZ=1 draws other cases each time
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
FEWER = settings(MANY, max_examples=600)

VALID = {
    "defaults": {"layers": 2, "heads": 2, "embed_dim": 8, "epochs": 10, "dropout": 0.1},
    "families": {"bilinear": {"epochs": 20}},
    "variants": {"frozen": {"freeze_embeddings": True}},
    "sweeps": [
        {"name": "a", "layers": [1, 2], "variant": ["default", "frozen"]},
        {"name": "b", "family": ["gpt", "bilinear"], "vocab_size": 20},
        {"name": "c", "points": [{"layers": 1}, {"layers": 4, "pos_encoding": "rotary"}]},
    ],
    "figures": {"reversal_curve": "a", "sweep_overview": "b"},
    "pretrained": [
        {"name": "m", "kind": "masked_lm", "path": "model", "facts": "facts.csv", "steps": 5},
        {"name": "n", "kind": "causal", "hub": "a/b", "revision": "0" * 40}
        | {"billion_parameters": 8.0, "method": "lora"},
    ],
}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["gpt", "rotary", "a", "frozen", "default", "$(reboot)", "../..", "a;b", "\n"]),
    st.dates(),
    st.binary(max_size=3),
)
keys = st.one_of(
    st.sampled_from([*AXES, *FIXED, "name", "points", "sweeps", "figures", "variants", "defaults"]),
    st.text(max_size=5),
    st.integers(),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def places(tree, path=()):
    """Every path into nested mappings and lists."""
    yield path
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


def replaced(tree, path, value):
    if not path:
        return value
    tree = copy.deepcopy(tree)
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return tree


def added(tree, path, key, value):
    node = tree
    for step in path:
        node = node[step]
    if isinstance(node, dict):
        return replaced(tree, (*path, key), value)
    if isinstance(node, list):
        return replaced(tree, path, [*node, value])
    return value


def or_one_line(call, *arguments):
    """The result of a call, or None where it is refused in one line."""
    try:
        return call(*arguments)
    except UserError as error:
        message = str(error)
    assert len(message.splitlines()) == 1, message
    return None


def expanded(raw) -> tuple[Config, dict]:
    config = Config.parse(raw)
    points = grid_points(config)
    check_figures(config)
    variant_labels(config, points.values())
    return config, points


def check(raw) -> None:
    """It is a config whose sweeps make sense, or it is refused in one line."""
    found = or_one_line(expanded, raw)
    if found is None:
        return
    config, points = found
    assert Config.parse(json.loads(config.to_json())) == config
    for path in points:
        assert set(path) <= set("abcdefghijklmnopqrstuvwxyz0123456789_=/")
        assert all(len(part) < 64 for part in path.split("/"))


@MANY
@given(st.sampled_from(list(places(VALID))), anything)
@example(("sweeps", 0, "layers"), [10**30])
@example(("defaults", "dropout"), math.nan)
@example(("pretrained", 0, "path"), "\U00010000")
def test_a_config_with_anything_in_one_place(path, value):
    check(replaced(VALID, path, value))


@MANY
@given(st.sampled_from(list(places(VALID))), keys, anything)
def test_a_config_with_something_more(path, key, value):
    check(added(VALID, path, key, value))


@FEWER
@given(anything)
def test_anything_as_a_config(raw):
    check(raw)


@FEWER
@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode()))
def test_any_bytes_as_a_config_file(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    or_one_line(lambda: Config.parse(read_yaml(path)))


@pytest.mark.parametrize(
    "name", ["$(touch x)", "`id`", "a b", "a/b", "..", "a;rm -rf", "a'b", 'a"b', "a\nb", "A", "é"]
)
@pytest.mark.parametrize("key", ["name", "variant"])
def test_hostile_names_are_refused(name, key):
    sweep = {"name": "a", key: name} if key == "variant" else {key: name}
    with pytest.raises(ConfigError, match="config error: sweeps"):
        Config.parse({"sweeps": [sweep], "variants": {}})
    assert NAME_PATTERN.startswith("^[a-z]")


def table_file(tmp_path_factory, name: str):
    folder = tmp_path_factory.mktemp("table")
    if name == "dataset":
        frame = generate_dataset(Settings(vocab_size=8, seeds=2))
    else:
        rows = [
            {"seed": s, "epoch": e, "split": "train", "nll_token": 1.0, "nll_word": 1.0}
            | {"accuracy": 0.5, "chance_vocab": 3.0, "chance_class": 2.0}
            for s in (0, 1)
            for e in (0, 1)
        ]
        frame = TABLES["metrics"].conform(pl.DataFrame(rows))
    write_table(folder / "x.parquet", frame, TABLES[name])
    return folder / "x.parquet"


changes = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from(["flip", "cut", "insert", "zero"]), st.integers(0, 255)
    ),
    min_size=1,
    max_size=3,
)


def damaged(content: bytes, edits) -> bytes:
    for where, what, byte in edits:
        at = int(where * max(0, len(content) - 1))
        if what == "flip":
            content = content[:at] + bytes([content[at] ^ (byte or 1)]) + content[at + 1 :]
        elif what == "cut":
            content = content[:at]
        elif what == "insert":
            content = content[:at] + bytes([byte]) * 3 + content[at:]
        else:
            content = content[:at] + bytes(min(8, len(content) - at)) + content[at + 8 :]
        if not content:
            return content
    return content


@FEWER
@given(changes)
def test_a_damaged_metrics_table_is_read_or_refused(tmp_path_factory, edits):
    path = table_file(tmp_path_factory, "metrics")
    path.write_bytes(damaged(path.read_bytes(), edits))
    frame = or_one_line(read_table, path, "metrics")
    assert frame is None or frame.schema == TABLES["metrics"].schema


@FEWER
@given(changes)
def test_a_damaged_dataset_is_read_or_refused(tmp_path_factory, edits):
    path = table_file(tmp_path_factory, "dataset")
    path.write_bytes(damaged(path.read_bytes(), edits))
    dataset = or_one_line(Dataset.read, path)
    if dataset is not None:
        assert dataset.split("train").ndim == 3
