"""Every mistake in a config is answered by one line: key, value, what is allowed."""

from __future__ import annotations

import json

import pytest

from reversal_curse.config import Config
from reversal_curse.errors import ConfigError
from reversal_curse.sweep import check_figures, grid_points

OK = "sweeps: [{name: a}]\n"

# What stands in the file, the key that the error names, a part of the value, a part of what
# is allowed.
MISTAKES = {
    "unknown top-level key": ("sweep: []\n" + OK, "sweep", "unknown key", "sweeps"),
    "unknown key in defaults": ("defaults: {layer: 2}\n" + OK, "defaults.layer", "", "layers"),
    "unknown key in a sweep": ("sweeps: [{name: a, layer: 2}]", "sweeps[0].layer", "", "layers"),
    "unknown key in points": (
        "sweeps: [{name: a, points: [{layer: 2}]}]",
        "sweeps[0].points[0].layer",
        "",
        "layers",
    ),
    "axis in a variant": ("variants: {x: {layers: 2}}\n" + OK, "variants.x.layers", "", "epochs"),
    "fixed setting in a sweep": (
        "sweeps: [{name: a, epochs: 2}]",
        "sweeps[0].epochs",
        "is no axis",
        "variant",
    ),
    "text for a number": (
        "sweeps: [{name: a, layers: two}]",
        "sweeps[0].layers",
        '"two"',
        "whole number",
    ),
    "fraction for a whole number": (
        "defaults: {epochs: 1.5}\n" + OK,
        "defaults.epochs",
        "1.5",
        "whole number",
    ),
    "truth value for a number": (
        "defaults: {seeds: yes}\n" + OK,
        "defaults.seeds",
        "true",
        "whole",
    ),
    "number for a truth value": (
        "defaults: {tie_head: 1}\n" + OK,
        "defaults.tie_head",
        "1",
        "true or false",
    ),
    "exponent that YAML reads as text": (
        "defaults: {learning_rate: 1e-3}\n" + OK,
        "defaults.learning_rate",
        '"1e-3"',
        "1.0e-3",
    ),
    "not a number": ("defaults: {dropout: .nan}\n" + OK, "defaults.dropout", "NaN", "finite"),
    "infinite": ("defaults: {learning_rate: .inf}\n" + OK, "defaults.learning_rate", "", "finite"),
    "null": ("defaults: {epochs: null}\n" + OK, "defaults.epochs", "null", "whole number"),
    "empty list of values": (
        "sweeps: [{name: a, layers: []}]",
        "sweeps[0].layers",
        "[]",
        "at least",
    ),
    "empty list of points": (
        "sweeps: [{name: a, points: []}]",
        "sweeps[0].points",
        "[]",
        "at least",
    ),
    "empty list of sweeps": ("sweeps: []", "sweeps", "[]", "at least one"),
    "no sweeps": ("defaults: {}", "sweeps", "missing", ""),
    "sweep without a name": ("sweeps: [{layers: 1}]", "sweeps[0].name", "missing", ""),
    "sweeps as a mapping": ("sweeps: {a: {layers: 1}}", "sweeps", "", "a list"),
    "zero size": ("sweeps: [{name: a, layers: 0}]", "sweeps[0].layers", "0", "at least 1"),
    "negative size in a list": (
        "sweeps: [{name: a, embed_dim: [64, -64]}]",
        "sweeps[0].embed_dim[1]",
        "-64",
        "at least 1",
    ),
    "rate of zero": (
        "defaults: {learning_rate: 0}\n" + OK,
        "defaults.learning_rate",
        "0",
        "greater than 0",
    ),
    "dropout of one": ("defaults: {dropout: 1.0}\n" + OK, "defaults.dropout", "1.0", "less than 1"),
    "entities too long": (
        "sweeps: [{name: a, entity_length: 4}]",
        "sweeps[0].entity_length",
        "4",
        "at most 3",
    ),
    "heads that do not divide": (
        "sweeps: [{name: a, heads: 3, embed_dim: 64}]",
        "sweeps[0] (a)",
        "heads 3 with embed_dim 64",
        "divide",
    ),
    "rotary with an odd width per head": (
        "sweeps: [{name: a, heads: 4, embed_dim: 20, pos_encoding: rotary}]",
        "sweeps[0] (a)",
        "5 rotated features per head",
        "even",
    ),
    "half of the features, but not an even number": (
        "sweeps: [{name: a, heads: 2, embed_dim: 20, pos_encoding: rotary, variant: half}]\n"
        "variants: {half: {rotary_fraction: 0.5}}",
        "sweeps[0] (a)",
        "5 rotated features per head",
        "even",
    ),
    "an axis that the family lacks": (
        "sweeps: [{name: a, family: gpt, masking: [any_order, subject]}]",
        "sweeps[0] (a).masking",
        "subject makes no difference",
        "an axis that one of them has",
    ),
    "an axis that the family lacks, in points": (
        "sweeps: [{name: a, points: [{family: bilinear}, {family: bilinear, layers: 4}]}]",
        "sweeps[0] (a).layers",
        "4 makes no difference",
        "an axis that one of them has",
    ),
    "a figure of a task that it cannot draw": (
        "sweeps: [{name: a, family: one_layer, task: in_context}]\nfigures: {one_layer_bounds: a}",
        "figures.one_layer_bounds",
        "task in_context",
        "reversal, chain",
    ),
    "a figure of entities that it cannot draw": (
        "sweeps: [{name: a, family: one_layer, entity_length: 2}]\nfigures: {one_layer_weights: a}",
        "figures.one_layer_weights",
        "entity_length 2",
        "1",
    ),
    "a variant that says nothing to the family": (
        "sweeps: [{name: a, family: bilinear, variant: frozen}]\n"
        "variants: {frozen: {freeze_embeddings: true}}",
        "sweeps[0] (a).variant",
        "frozen makes no difference",
        "an axis",
    ),
    "a setting that is no axis, in points": (
        "sweeps: [{name: a, points: [{epochs: 10}]}]",
        "sweeps[0].points[0].epochs",
        "is no axis",
        "variant",
    ),
    "vocabulary too small": (
        "sweeps: [{name: a, vocab_size: 7}]",
        "sweeps[0] (a)",
        "vocab_size 7",
        "at least 8",
    ),
    "a family that a task does not have": (
        "sweeps: [{name: a, family: bilinear, task: chain}]",
        "sweeps[0] (a)",
        "family bilinear with task chain",
        "reversal",
    ),
    "more training triples than the vocabulary holds": (
        "sweeps: [{name: a, task: chain_related, vocab_size: 80, train_facts: 56}]",
        "sweeps[0] (a)",
        "train_facts 56 with vocab_size 80",
        "at most 55",
    ),
    "unknown family": (
        "sweeps: [{name: a, family: lstm}]",
        "sweeps[0].family",
        '"lstm"',
        "bilinear",
    ),
    "unknown task": ("sweeps: [{name: a, task: sum}]", "sweeps[0].task", '"sum"', "reversal"),
    "unknown encoding": (
        "sweeps: [{name: a, pos_encoding: sine}]",
        "sweeps[0].pos_encoding",
        '"sine"',
        "rotary",
    ),
    "unknown variant": ("sweeps: [{name: a, variant: x}]", "sweeps[0].variant", '"x"', "default"),
    "unknown variant in points": (
        "sweeps: [{name: a, points: [{variant: x}]}]",
        "sweeps[0].points[0].variant",
        '"x"',
        "default",
    ),
    "variant named default": ("variants: {default: {}}\n" + OK, "variants.default", "", "another"),
    "unknown family block": ("families: {lstm: {}}\n" + OK, "families.lstm", '"lstm"', "gpt"),
    "unknown figure": ("figures: {pie: a}\n" + OK, "figures.pie", '"pie"', "reversal_curve"),
    "figure of an unknown sweep": (
        "figures: {reversal_curve: b}\n" + OK,
        "figures.reversal_curve",
        '"b"',
        "a",
    ),
    "figure of a sweep without its table": (
        "figures: {bilinear_separation: a}\n" + OK,
        "figures.bilinear_separation",
        "sweep a has no separation",
        "bilinear",
    ),
    "duplicate sweep name": (
        "sweeps: [{name: a}, {name: b}, {name: a}]",
        "sweeps[2].name",
        '"a"',
        "name of its own",
    ),
    "duplicate key": (
        "sweeps: [{name: a}]\nsweeps: [{name: b}]",
        "line 2",
        '"sweeps" stands twice',
        "once",
    ),
    "axis in a list and in points": (
        "sweeps: [{name: a, layers: [1, 2], points: [{layers: 4}]}]",
        "sweeps[0].points[0].layers",
        "list of this axis too",
        "not in both",
    ),
    "points that are null": (
        "sweeps: [{name: a, points: null}]",
        "sweeps[0].points",
        "null",
        "list",
    ),
    "more points than a command line holds": (
        "sweeps: [{name: a, points: [" + "{layers: 1}, " * 501 + "]}]",
        "sweeps[0].points",
        "",
        "at most 500 of them",
    ),
    "absurd size": ("sweeps: [{name: a, layers: 10000000}]", "sweeps[0].layers", "", "at most"),
    "top-level key that is a number": ("1: 2\n" + OK, "(top level)", "", "texts"),
    "figure with too many panels": (
        "sweeps: [{name: a, heads: 1, embed_dim: ["
        + ", ".join(map(str, range(1, 50)))
        + "]}]\nfigures: {reversal_curve: a}",
        "figures.reversal_curve",
        "49 grid points",
        "at most 48",
    ),
    "figure of a sweep of another task": (
        "sweeps: [{name: a, task: chain}]\nfigures: {reversal_curve: a}",
        "figures.reversal_curve",
        "sweep a has task chain",
        "reversal",
    ),
    "figure of a sweep that varies something else": (
        "sweeps: [{name: a, family: bilinear, vocab_size: [20, 40]}]\n"
        "figures: {bilinear_separation: a}",
        "figures.bilinear_separation",
        "varies vocab_size",
        "embed_dim",
    ),
    "shell characters in a name": (
        'sweeps: [{name: "a; rm -rf /"}]',
        "sweeps[0].name",
        "rm",
        "letters",
    ),
    "path characters in a name": ('sweeps: [{name: "../a"}]', "sweeps[0].name", "../a", "letters"),
    "newline in a name": ('sweeps: [{name: "a\\nb"}]', "sweeps[0].name", "", "letters"),
    "path characters in a variant": (
        'variants: {"../x": {}}\n' + OK,
        "variants",
        "../x",
        "letters",
    ),
    "shell characters in a variant": (
        'sweeps: [{name: a, variant: "$(id)"}]',
        "sweeps[0].variant",
        "$(id)",
        "letters",
    ),
    "braces in a name": ('sweeps: [{name: "{input}"}]', "sweeps[0].name", "{input}", "letters"),
    "a key that is a number": ("defaults: {1: 2}\n" + OK, "defaults", "1", "texts"),
    "a text, not a mapping": ("hello", "(top level)", "hello", "defaults"),
    "an empty file": ("", "(top level)", "null", "defaults"),
    "unclosed bracket": ("sweeps: [{name: a", "config.yaml, line", "no YAML", "YAML"),
    "tab for indentation": ("sweeps:\n\t- name: a", "config.yaml, line", "no YAML", "YAML"),
    "binary": ("\x00\x01", "config.yaml", "no YAML", "YAML"),
    "an object of Python": (
        "!!python/object/apply:os.system [id]",
        "config.yaml, line",
        "no YAML",
        "",
    ),
}


def check(path) -> None:
    config = Config.load(path)
    grid_points(config)
    check_figures(config)


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_answered_by_key_value_and_what_is_allowed(case, tmp_path):
    content, key, value, allowed = MISTAKES[case]
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        check(path)
    message = str(caught.value)
    assert "\n" not in message
    head, _, tail = message.partition("; allowed: ")
    assert head.startswith("config error: ")
    assert key in head
    assert value in head
    assert allowed in tail
    assert tail


def test_anchors_and_merge_keys_of_yaml_work(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "variants:\n  a: &a {epochs: 5, seeds: 2}\n  b: {<<: *a, epochs: 7}\nsweeps: [{name: s}]"
    )
    assert Config.load(path).variants["b"].model_dump(exclude_unset=True) == {
        "epochs": 7,
        "seeds": 2,
    }


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        Config.load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml"])
def test_the_configs_that_come_with_the_project_are_right(root, name):
    check(root / "config" / name)


def test_the_part_of_a_config_for_one_sweep_is_read_back(root):
    config = Config.load(root / "config" / "config.yaml")
    part = config.only("frozen")
    again = Config.parse(json.loads(part.to_json()))
    assert grid_points(again) == grid_points(part)
    assert [sweep.name for sweep in again.sweeps] == ["frozen"]
    assert list(again.variants) == ["frozen"]


def test_a_part_does_not_change_when_another_sweep_does():
    text = {"defaults": {"seeds": 2}, "sweeps": [{"name": "a"}, {"name": "b", "layers": [1]}]}
    before = Config.parse(text).only("a").to_json()
    text["sweeps"][1]["layers"] = [1, 2]
    text["variants"] = {"x": {"epochs": 3}}
    assert Config.parse(text).only("a").to_json() == before
