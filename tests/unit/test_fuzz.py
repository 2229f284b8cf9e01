"""Whatever a file contains, it is read or refused in clear lines, never with a traceback."""

import copy
import json
import math
import os
import re
from functools import reduce
from operator import getitem

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config, read_settings, read_value
from reversal_curse.config.grid import LONGEST, read_sweeps
from reversal_curse.config.settings import NAMES, Settings
from reversal_curse.tables.dataset import generate_dataset
from reversal_curse.tables.files import read_table, write_table
from reversal_curse.tables.schemas import TABLES

pytestmark = pytest.mark.slow

FUZZ = settings(
    max_examples=250,
    deadline=None,
    derandomize="FUZZ" not in os.environ,  # FUZZ=1 draws new cases each time
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

MORE = object()
VALID = {
    "name": "mine",
    "defaults": {"layers": 2, "heads": 2, "embed_dim": 8, "epochs": 10, "dropout": 0.1},
    "families": {"bilinear": {"epochs": 20}},
    "presets": {"frozen": {"freeze_embeddings": True}},
    "sweeps": {
        "a": {"layers": {"range": [1, 2]}, "preset": "frozen"},
        "b": {"family": ["gpt", "bilinear"], "vocab_size": 20},
        "c": {"points": [{"layers": 1, "label": "x"}, {"layers": 4, "pos_encoding": "rotary"}]},
        "d": {"weight_decay": {"log": [1e-3, 1, 4]}, "dropout": {"linear": [0, 0.5, 3]}},
        "e": None,
    },
    "figures": {"reversal_curve": "a", "mine": {"plot": "final", "sweep": "b", "title": "t"}},
    "pretrained": [
        {"name": "m", "kind": "masked_lm", "path": "model", "facts": "facts.csv", "steps": 5}
    ],
}

words = ["gpt", "rotary", "a", "frozen", "curves", "$(reboot)", "../..", "a;b", "\n", "log", "1e3"]
scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    *(st.sampled_from(words), st.dates(), st.binary(max_size=3)),
)
known = [*NAMES, *VALID, "points", "preset", "label", "plot", "log", "linear", "range"]
keys = st.sampled_from(known) | st.text(max_size=5) | st.integers()
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def places(tree, path=()):
    """Yield every path into nested mappings and lists, and one new place in each of them."""
    yield path
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield from places(tree[key], (*path, key))
        yield (*path, MORE)


def replaced(tree, path, key, value):
    """Copy a tree with another value in one place; a new place in a mapping is at `key`."""
    if not path:
        return value
    tree = copy.deepcopy(tree)
    *above, last = path
    node = reduce(getitem, above, tree)
    if last is MORE and isinstance(node, list):
        node.append(value)
    else:
        node[key if last is MORE else last] = value
    return tree


def or_refused(call, *arguments):
    """Return a call's result; None if it is refused in one line (configs: one per mistake)."""
    try:
        return call(*arguments)
    except UserError as refusal:
        lines = str(refusal).splitlines()
        assert max(map(len, lines)) <= 300
        assert len(lines) == 1 or all(line.startswith("config error: ") for line in lines), lines


def check(raw) -> None:
    """Check that it is a config with valid sweeps, or is refused."""
    config = or_refused(Config.parse, raw)
    sweeps = config and or_refused(read_sweeps, config)
    if not sweeps:
        return
    or_refused(config.drawings)
    again = Config.parse(json.loads(config.to_json()))
    assert again.model_dump() == config.model_dump()
    assert read_sweeps(again) == sweeps
    for sweep in sweeps.values():
        for path in sweep.points:
            assert re.fullmatch(r"[A-Za-z0-9_=/.~+-]+", path)
            assert all(len(part) <= LONGEST + 9 for part in path.split("/"))


@FUZZ
@given(st.sampled_from(list(places(VALID))), keys, anything)
@example(("sweeps", "b", "vocab_size"), "", [10**30])
@example(("defaults", "dropout"), "", math.nan)
@example(("pretrained", 0, "path"), "", "\U00010000")
@example(("sweeps", "d", "weight_decay", "log"), "", [1e-320, 1e308, 3])
@example(("sweeps", "a", "layers", "range"), "", [1, 10**12])
def test_a_config_with_any_value_anywhere_is_read_or_refused(path, key, value):
    check(replaced(VALID, path, key, value))
    or_refused(read_settings, {key: value})


@FUZZ
@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode()))
@example(b"- " * 1000)
@example(b"2020-99-99")
def test_any_bytes_as_a_config_file_or_a_value_are_read_or_refused(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    or_refused(Config.load, path)
    or_refused(read_value, content.decode(errors="replace"))


@FUZZ
@given(st.floats(0, 1), st.integers(0, 255))
def test_a_damaged_table_is_read_or_refused(tmp_path, where, byte):
    """One byte of the table is changed, or (with 0) the file ends there."""
    path = tmp_path / "x.parquet"
    write_table(path, generate_dataset(Settings(vocab_size=8, seeds=2)), TABLES["dataset"])
    content = bytearray(path.read_bytes())
    at = int(where * (len(content) - 1))
    content[at] ^= byte
    path.write_bytes(content if byte else content[:at])
    frame = or_refused(read_table, path, "dataset")
    assert frame is None or frame.schema == TABLES["dataset"].schema
