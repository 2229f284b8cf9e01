"""Every mistake in a config gives one line: file and line, key, what is allowed."""

import os
import re
import time
from functools import reduce
from itertools import pairwise

import pytest

from reversal_curse.config.errors import ConfigError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import read_sweeps

# The file (as in SHORT) => the key in the answer | what it says of it | allowed
MISTAKES = """\
sweep: {} ;; OK => config.yaml, line 1: | did you mean sweeps | figures
sweeps: {a: {lr: 2}} => sweeps.a.lr | unknown key | preset
sweeps: {a: {points: [{laye: 2}]}} => sweeps.a.points[0] | mean layers | label
presets: {x: {layer: 2}} ;; OK => presets.x | layers | compile
families: {gpt: {family: gpt}} ;; OK => families.gpt.family | unknown key | task
sweeps: {a: {family: gtp}} => sweeps.a.family | mean gpt | bilinear
families: {lstm: {}} ;; OK => families.lstm | unknown key | gpt
sweeps: {a: {pos_encoding: [none, rotery]}} => sweeps.a.pos_encoding[1] | mean rotary | absolute
presets: {short: {epochs: 5}} ;; sweeps: {a: {preset: shot}} => sweeps.a.preset | mean short | short
sweeps: {a: {points: [{preset: x}]}} => sweeps.a.points[0].preset | "x" | none is defined
figures: {pie: a} ;; OK => figures.pie | needs a plot
figures: {reversal_curv: a} ;; OK => figures.reversal_curv | did you mean reversal_curve?
figures: {x: {plot: curve, sweep: a}} ;; OK => figures.x.plot | did you mean curves? | final
figures: {reversal_curve: b} ;; OK => figures | "b" | a
figures: {x: {plot: curves}} ;; OK => figures.x.sweep | missing
figures: {pretrained_reversal: a} ;; OK => figures.pretrained_reversal | pretrained | another name
sweeps: {a: {layers: two}} => sweeps.a.layers | "two" | whole number
defaults: {epochs: 1.5} ;; OK => defaults.epochs | 1.5 | whole
defaults: {seeds: yes} ;; OK => defaults.seeds | true | whole
defaults: {tie_head: 1} ;; OK => defaults.tie_head | 1 | true or
defaults: {dropout: .nan} ;; OK => defaults.dropout | NaN | finite
defaults: {learning_rate: .inf} ;; OK => defaults.learning_rate | finite
defaults: {epochs: null} ;; OK => defaults.epochs | null | whole number
sweeps: {a: {layers: 0}} => sweeps.a.layers | 0 | equal to 1
sweeps: {a: {layers: 10000000}} => sweeps.a.layers | 10000000 | or equal to 1000000
defaults: {learning_rate: 0} ;; OK => defaults | 0 | greater than 0
defaults: {dropout: 1.0} ;; OK => defaults.dropout | 1.0 | less than 1
sweeps: {a: {layers: []}} => sweeps.a.layers | [] | at least 1
sweeps: {a: {points: null}} => sweeps.a.points | null | a list
sweeps: {} => sweeps | {} | at least 1
defaults: {} => sweeps | is missing
sweeps: [{layers: 1}] => sweeps | a mapping of keys to values
sweeps: {a: {points: [{label: ''}]}} => points[0].label | one line | ""
sweeps: {a: {points: [{label: "a{b}"}]}} => points[0].label | without braces | a{b}
sweeps: {a: {task: {log: [1, 2, 3]}}} => sweeps.a.task | log | a list
sweeps: {a: {layers: {log: [1, 9, 3]}}} => sweeps.a.layers | log | {range: [first, last]}
sweeps: {a: {layers: {range: [3, 1]}}} => sweeps.a.layers | [3 | ran
sweeps: {a: {weight_decay: {log: [0, 1, 3]}}} => sweeps.a.weight_decay | [0, 1, 3] | {log: [from
sweeps: {a: {dropout: {log: [0.1, 0.1001, 9]}}} => sweeps.a.dropout | 9 | log
sweeps: {a: {dropout: {linear: [0, 0.5, 1]}}} => sweeps.a.dropout | [0, 0.5, 1] | {linear: [from
sweeps: {a: {dropout: {logs: [1, 2, 3]}}} => sweeps.a | logs | log
sweeps: {a: {dropout: {linear: [0, 2, 3]}}} => sweeps.a.dropout | less than 1
defaults: {layers: {range: [1, 2]}} ;; OK => layers | { | whole
sweeps: {a: {heads: 3, embed_dim: 64}} => sweeps.a | heads 3 with embed_dim 64 | divide
sweeps: {a: {heads: 4, embed_dim: 20, pos_encoding: rotary}} \
  => sweeps.a | 5 rotated features per head | even
sweeps: {a: {vocab_size: 7}} => sweeps.a | vocab_size 7 | least 8
sweeps: {a: {family: bilinear, task: chain}} \
  => sweeps.a | family bilinear with task chain | reversal
sweeps: {a: {task: chain_related, vocab_size: 80, train_facts: 56}} \
  => sweeps.a | train_facts 56 with vocab_size 80 | at most 55
sweeps: {a: {masking: [any_order, subject]}} \
  => sweeps.a.masking | any_order, subject changes nothing: family gpt with task reversal | leaving
sweeps: {a: {points: [{family: bilinear}, {family: bilinear, layers: 4}]}} \
  => sweeps.a.points[1].layers | 4 changes nothing | leaving it out
sweeps: {a: {rotary_fraction: 0.5}} \
  => sweeps.a.rotary_fraction | it needs pos_encoding rotary | leaving it out
sweeps: {a: {task: two_hop, bridge: full}} \
  => sweeps.a | bridge full with task two_hop | none, objects
sweeps: {a: {task: inverse, bridge: full, copy_first: masked}} \
  => sweeps.a | copy_first masked with sentences of unlike length | none
sweeps: {a: {task: inverse, bridge: full, pos_encoding: rotary, alignment: right}} \
  => sweeps.a.alignment | right changes nothing | pos_encoding absolute | leaving it out
sweeps: {a: {mask_rate: fixed}} => sweeps.a.mask_rate | it needs copy_first masked | leaving it out
sweeps: {a: {layers: [1, 2], points: [{layers: 4}]}} \
  => sweeps.a.points[0].layers | is set in the sweep too | not in both
sweeps: {a: {family: bilinear}} ;; figures: {embedding_cosine: a} => figures | no embed | gpt
sweeps: {a: {family: bilinear}} ;; figures: {diffusion_masking: a} => figures | masking | only
sweeps: {a: {vocab_size: {range: [8, 56]}}} ;; figures: {reversal_curve: a} \
  => figures.reversal_curve | 49 grid points | at most 48
sweeps: {a: {family: one_layer, entity_length: 2}} ;; figures: {one_layer_weights: a} \
  => figures.one_layer_weights | entity_length 2 | 1
sweeps: {a: {family: bilinear, vocab_size: [20, 40]}} ;; figures: {bilinear_separation: a} \
  => figures.bilinear_separation | varies vocab_size | embed_dim
style: {width: three} ;; OK => style.width | "three" | two_columns
style: {width: 1} ;; OK => style.width | 1 | inches from 2 to 40
style: {formats: [gif]} ;; OK => style.formats[0] | "gif" | pdf
style: {font: 9} ;; OK => style.font | mean font_size | palette
figures: {reversal_curve: {sweep: a, width: []}} ;; OK => reversal_curve.width | [] | one_column
name: runs ;; OK => name | "runs" is a folder in results | another
sweeps: {"a; rm -rf /": } => sweeps | rm -rf | letters
sweeps: {"É": } => sweeps | É | letters
name: A ;; OK => name | "A" | letters
presets: {"$(id)": {}} ;; OK => presets | $(id) | letters
defaults: {1: 2} ;; OK => defaults | keys that are text
sweeps: {a: } ;; sweeps: {b: } => line 2 | "sweeps" is given twice
 => config.yaml | must be a mapping
pretrained: [{ONE, hub: ../..}] ;; OK => pretrained[0].hub | ../.. | OWNER/NAME
pretrained: [{ONE, path: "a\\0"}] ;; OK => pretrained[0].path | \\u0000 | control characters
pretrained: [{ONE, path: x, step: 3}] ;; OK => pretrained[0].step | unknown key | mean steps
pretrained: [{name: a, kind: gpt, path: x}] ;; OK => pretrained[0].kind | "gpt" | masked_lm or
pretrained: [{name: ../x, kind: causal, path: x}] ;; OK => pretrained[0].name | "../x" | letters
pretrained: [{ONE}] ;; OK => pretrained[0] | needs a place to load from | either
pretrained: [{ONE, path: x, hub: a/b, revision: COMMIT, billion_parameters: 8}] ;; OK \
  => pretrained[0] | needs a place to load from | either
pretrained: [{ONE, hub: a/b, revision: COMMIT}] ;; OK \
  => pretrained[0].billion_parameters | is missing | the size of the model on the hub
pretrained: [{ONE, hub: a/b, billion_parameters: 8}] ;; OK => [0].revision | missing | full commit
pretrained: [{ONE, path: x, trust_remote_code: true}] ;; OK => [0].revision | missing | digest
pretrained: [{ONE, path: x, revision: main}] ;; OK => [0].revision | "main" | a full commit or
pretrained: [{ONE, path: x, masking: object}] ;; OK => [0].masking | nothing for a causal | leaving
pretrained: [{ONE, path: x, dtype: float16}] ;; OK => [0].dtype | divides by 0 in float16 | lora
pretrained: [{ONE, path: x, learning_rate: 0}] ;; OK => [0].learning_rate | 0 | greater than 0
pretrained: [{ONE, path: x}, {ONE, path: y}] ;; OK => [1].name | "a" is used twice | a new one
figures: {x: {plot: final, sweep: a, title: "\u2028"}} ;; OK => x.title | control characters
defaults: {layers: !!int junk} ;; OK => line 1: | !!int | does not fit
defaults: {layers: !!bool ""} ;; OK => line 1: | !!bool | does not fit
defaults: {layers: !!timestamp junk} ;; OK => line 1: | !!timestamp | does not fit
defaults: {layers: !!set {a}} ;; OK => line 1: | !!set | does not fit
defaults: {layers: 0x_} ;; OK => config.yaml | not valid YAML
defaults: {layers: 2001-13-45} ;; OK => defaults.layers | "2001-13-45" | whole number
defaults: {layers: {2001-01-01: 1}} ;; OK => defaults.layers | {"2001-01-01": 1} | whole number
defaults: {layers: {[a]: 1}} ;; OK => line 1: | a key must be text
defaults: &a {layers: *a} ;; OK => line 1: | nested at most 20 deep
sweeps: {a:  => config.yaml, line | not valid YAML
sweeps: ;; \ta: => config.yaml, line 2 | not valid YAML
\x00\x01 => config.yaml | not valid YAML
!!python/object/apply:os.system [id] => config.yaml, line 1: | does not fit | leaving it out
"""


SHORT = {"OK": "sweeps: {a: }", " ;; ": "\n", "ONE": "name: a, kind: causal", "COMMIT": "0a" * 20}


def mistakes_in(path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_sweeps(Config.load(path))
    return str(caught.value).splitlines()


@pytest.mark.parametrize("mistake", MISTAKES.strip("\n").split("\n"))
def test_a_mistake_is_reported_with_key_value_and_what_is_allowed(mistake, tmp_path):
    content, _, answer = mistake.partition(" => ")
    key, *said = answer.split(" | ")
    path = tmp_path / "config.yaml"
    for short, long in SHORT.items():
        content = content.replace(short, long)
    path.write_text(content)
    (message,) = mistakes_in(path)
    head, _, tail = message.partition(key)
    assert head.startswith("config error: ")
    assert all(part in tail for part in said), message


def test_all_mistakes_are_reported_at_once_with_their_lines(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("defaults:\n  layer: 2\n  epochs: none\nsweeps:\n  a:\n    heads: [1, 0]\n")
    said = ("line 2.*layer: unknown key", r"line 3.*epochs", r"line 6.*heads\[1\]")
    found = sorted(mistakes_in(path))
    assert len(found) == 3
    assert all(re.search(*pair) for pair in zip(said, found, strict=True)), found
    path.write_text("sweeps:\n  a: {vocab_size: 7}\n  b:\n    masking: subject\n    heads: 5\n")
    assert len(mistakes_in(path)) == 2, "mistakes of the grid come at once, too"


X = "x" * 100_000
RANGES = ", ".join(
    f"{name}: {{linear: [0.1, 0.9, 1000]}}" for name in ("beta1", "beta2", "dropout")
)
MANY = range(8000)
LETTERS = list(pairwise("abcdefghi"))
HOSTILE = {
    "aliases that explode": (
        "[&a [x, x], " + "".join(f"&{b} [{9 * f'*{a}, '}], " for a, b in LETTERS) + "]",
        "at most 250,000 bytes, aliases written out",
    ),
    "merges that explode": (
        "[&a {x: 1}, " + "".join(f"&{b} {{<<: [{9 * f'*{a}, '}]}}, " for a, b in LETTERS) + "]",
        "at most 250,000 bytes, aliases written out",
    ),
    "a long text many times": (f"[&a {X}, {'*a, ' * 30_000}]", "aliases written out"),
    "brackets": ("[" * 100_000, "nested at most 20 deep"),
    "digits": (f"defaults: {{layers: {'1' * 5000}}}", "at most 100 digits, got 5,000"),
    "hexadecimal digits": (
        f"defaults: {{layers: 0x{'f' * 5000}}}",
        "at most 100 digits, got 5,002",
    ),
    "a long key": (f"? {X}\n: 1", "line 1: xxx"),
    "a long name": (f"name: {X}", "must be a name"),
    "a long path": (f"pretrained: [{{path: {X}}}]", "must have at most 1000 characters"),
    "a long part of a path": (f"pretrained: [{{path: a/{X[:300]}}}]", "at most 255 bytes between"),
    "a large file": ("x" * 1_000_000, "must be at most 250,000 bytes"),
    "many wrong keys": (
        "".join(f"k{i}: 1\n" for i in MANY),
        "there are more mistakes; correct these first",
    ),
    "many wrong names": (
        "".join(f" s{i}: {{preset: p{i}}}\n" for i in MANY),
        "there are more mistakes; correct these first",
    ),
    "many points": (
        f"sweeps: {{a: {{{RANGES}}}}}",
        "sweeps: 1,000,000,000 grid points; allowed: at most 25,000",
    ),
    "many ranges": (
        "sweeps:\n" + "".join(f" s{i}: {{seeds: {{range: [1, 9999]}}}}\n" for i in range(5000)),
        "at most 25,000 values in all ranges",
    ),
    "a config larger than its file": (
        "sweeps: {a: {weight_decay: {linear: [0.1, 0.9, 25000]}}}",
        "aliases and ranges written out",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_config_is_soon_refused_in_short_lines(case, tmp_path):
    content, said = HOSTILE[case]
    path = tmp_path / "config.yaml"
    path.write_text(content)
    start = time.process_time()
    lines = mistakes_in(path)
    assert time.process_time() - start < 2
    assert max(map(len, lines)) <= 300
    assert len(lines) <= 11
    assert said in "".join(lines)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match=f"{path}: must be a file"):
            Config.load(path)


@pytest.mark.parametrize(
    ("width", "depth", "said"), [(9, 10, "aliases written out"), (1, 500, "nested at most 20 deep")]
)
def test_hostile_overrides_are_refused(width, depth, said):
    value = reduce(lambda inner, _: [inner] * width, range(depth), "x")
    with pytest.raises(ConfigError, match=f"config error: --config.*{said}"):
        Config.load(overrides={"name": value})


def test_a_second_file_is_merged_over_the_first_and_its_lines_are_named(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("defaults: {layers: 2, heads: 2}\nsweeps: {a: {vocab_size: [20, 40]}}\n")
    second.write_text("defaults: {heads: 4}\nsweeps: {a: {vocab_size: [8]}, b: }\n")
    config = Config.load(first, second, overrides={"defaults": {"layers": "3"}})
    assert config.defaults.model_dump(exclude_unset=True) == {"layers": 3, "heads": 4}
    assert [len(sweep.points) for sweep in read_sweeps(config).values()] == [1, 1]
    second.write_text("\nsweeps: {a: {vocab_size: 7}}\n")
    with pytest.raises(ConfigError, match=r"second\.yaml, line 2: sweeps.a: vocab_size 7"):
        read_sweeps(Config.load(first, second))


def test_powers_of_ten_are_numbers_and_anchors_work(tmp_path):
    path = tmp_path / "config.yaml"
    shared = "a: &a {epochs: 5, learning_rate: 1e-3}\n  b: {<<: *a, epochs: 7}\n  c: *a"
    path.write_text(f"presets:\n  {shared}\nsweeps: {{a: }}")
    presets = Config.load(path, overrides={"presets": {"a": {"epochs": "6"}}}).presets
    given = {name: block.model_dump(exclude_unset=True) for name, block in presets.items()}
    assert given["b"] == {"epochs": 7, "learning_rate": 0.001}
    assert [given[name]["epochs"] for name in "ac"] == [6, 5], "an alias is a copy"


def test_text_of_any_alphabet_is_read_back(tmp_path):
    config = Config.parse({"sweeps": {"a": {"points": [{"label": "É 語 🙂 \\ \" '"}]}}})
    (tmp_path / "again.json").write_text(config.to_json(), encoding="utf-8")
    assert Config.load(tmp_path / "again.json").model_dump() == config.model_dump()


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml"])
def test_the_configs_that_come_with_the_project_are_valid_and_read_back_equal(root, tmp_path, name):
    config = Config.load(root / "config" / name)
    (tmp_path / "again.json").write_text(config.to_json())
    again = Config.load(tmp_path / "again.json")
    assert again.model_dump() == config.model_dump()
    assert again.digest == config.digest
    assert read_sweeps(again) == read_sweeps(config)


def test_results_do_not_depend_on_how_jobs_run():
    raw = {"sweeps": {"a": {}}}
    config, hasty = Config.parse(raw), Config.parse(raw | {"job_minutes": 0, "hardware": "gpu"})
    assert config.digest == hasty.digest != Config.parse({"sweeps": {"b": {}}}).digest
    usual = [(c.job_minutes, c.hardware) for c in map(config.executed, (False, True))]
    assert usual == [(1.0, "cpu"), (30.0, "gpu")]
    assert hasty.executed(False).job_minutes == 0


def test_a_figure_of_the_papers_needs_a_sweep_and_another_a_plot_and_a_sweep():
    own = {"mine": {"plot": "final", "sweep": "a"}}
    own["titled"] = own["mine"] | {"title": "What I saw"}
    drawn = Config.parse({"sweeps": {"a": {}}, "figures": {"reversal_curve": "a"} | own}).drawings()
    assert {f.sweep for f in drawn.values()} == {"a"}
    assert [f.plot for f in drawn.values()] == ["curves", "final", "final"]
    assert (drawn["mine"].title, drawn["titled"].title) == ("mine", "What I saw")
