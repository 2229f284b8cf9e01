"""Every mistake in a config gives one line: file and line, key, what is allowed."""

import re
import time
from itertools import pairwise

import pytest

from reversal_curse.config.errors import ConfigError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import read_sweeps

# The file (as in SHORT) => the key in the answer | what it says of it | allowed
MISTAKES = """\
sweep: {} ;; OK => config.yaml, line 1: sweep | did you mean sweeps | figures
sweeps: {a: {points: [{laye: 2}]}} => sweeps.a.points[0] | mean layers | label
families: {gpt: {family: gpt}} ;; OK => families.gpt.family | unknown key | task
families: {gtp: {}} ;; OK => families.gtp: unknown key | mean gpt? | one_layer
style: {font: 9} ;; OK => style.font | mean font_size | palette
sweeps: {a: {family: gtp}} => sweeps.a.family | bilinear | mean gpt
presets: {short: {epochs: 5}} ;; sweeps: {a: {preset: shot}} => sweeps.a.preset | mean short | short
sweeps: {a: {points: [{preset: x}]}} => sweeps.a.points[0].preset | "x" | none is defined
figures: {pie: a} ;; OK => figures.pie | needs a plot
figures: {reversal_curv: a} ;; OK => figures.reversal_curv | did you mean reversal_curve?
figures: {reversal_curve: b} ;; OK => figures | "b" | a
figures: {x: {plot: curves}} ;; OK => figures.x.sweep | missing
figures: {pretrained_reversal: a} ;; OK => figures.pretrained_reversal | pretrained | another name
sweeps: {a: {layers: two}} => sweeps.a.layers: | whole number | "two"
defaults: {epochs: 1.5} ;; OK => defaults.epochs | whole | 1.5
defaults: {seeds: yes} ;; OK => defaults.seeds | whole | true
defaults: {epochs: null} ;; OK => defaults.epochs | whole number | null
defaults: {tie_head: 1} ;; OK => defaults.tie_head | true or | 1
defaults: {dropout: .nan} ;; OK => defaults.dropout | finite | NaN
sweeps: {a: {layers: [1, ;; 0]}} => line 2: sweeps.a.layers[1] | equal to 1 | 0
sweeps: {a: {layers: {range: [0, 3]}}} => sweeps.a.layers: | equal to 1 | 0
sweeps: {a: {layers: []}} => sweeps.a.layers | at least 1 | []
defaults: {} => sweeps | is missing
sweeps: [{layers: 1}] => sweeps | a mapping of keys to values
sweeps: {a: {points: [{label: "a{b}"}]}} => points[0].label | without braces | a{b}
sweeps: {a: {layers: {log: [1, 9, 3]}}} => sweeps.a.layers | {range: [first, last]} | log
sweeps: {a: {layers: {range: [3, 1]}}} => sweeps.a.layers | range | [3
sweeps: {a: {seeds: {range: [false, true]}}} => sweeps.a.seeds | {range: [first, last]} | [false
sweeps: {a: {weight_decay: {log: [true, 2, 5]}}} => sweeps.a.weight_decay | {log: [from | [true
sweeps: {a: {beta1: {log: [0.001, 0.0010001, 5]}}} => sweeps.a.beta1 | different | 0.0010001
sweeps: {a: {weight_decay: {linear: [0.1, .inf, 2]}}} => sweeps.a.weight_decay | finite | Infinity
sweeps: {a: {layers: {range: [1, 15000]}}, b: {layers: {range: [1, 15000]}}} \
  => sweeps.b.layers | at most 25,000 in all | 15000
sweeps: {a: {weight_decay: {log: [0, 1, 3]}}} => sweeps.a.weight_decay | {log: [from | [0, 1, 3]
sweeps: {a: {dropout: {linear: [0, 0.5, 1]}}} => sweeps.a.dropout | {linear: [from | [0, 0.5, 1]
sweeps: {a: {dropout: {linear: [0, 1, 3]}}} => sweeps.a.dropout | less than 1 | 1.0
sweeps: {a: {heads: 3, embed_dim: 64}} => sweeps.a | heads 3 with embed_dim 64 | divide
sweeps: {a: {heads: 4, embed_dim: 20, pos_encoding: rotary}} \
  => sweeps.a | 5 rotated features per head | even
sweeps: {a: {vocab_size: 7}} => sweeps.a | vocab_size 7 | least 8
sweeps: {a: {family: bilinear, task: chain}} \
  => sweeps.a | family bilinear with task chain | reversal
sweeps: {a: {task: chain_related, vocab_size: 80, train_facts: 56}} \
  => sweeps.a | train_facts 56 with vocab_size 80 | at most 55
sweeps: {a: {task: two_hop, bridge: full}} \
  => sweeps.a | bridge full with task two_hop | none, objects
sweeps: {a: {task: inverse, bridge: full, copy_first: masked}} \
  => sweeps.a | copy_first masked with sentences of unlike length | none
sweeps: {a: {masking: [any_order, subject]}} \
  => sweeps.a.masking | any_order, subject changes nothing with family gpt | leaving
sweeps: {a: {points: [{family: bilinear}, {family: bilinear, layers: 4}]}} \
  => sweeps.a.points[1].layers | 4 changes nothing | leaving it out
sweeps: {a: {rotary_fraction: 0.5}} => sweeps.a.rotary_fraction | it needs pos_encoding rotary
sweeps: {a: {family: masked_diffusion, mask_entities: true}} \
  => mask_entities | masking any_order and entity_length 2 or 3; | leaving it out
sweeps: {a: {family: bilinear, beta2: 0.9}} => beta2 | bilinear and task reversal; | README.md
sweeps: {a: {alignment: right}} => alignment | family gpt and task reversal; | README.md
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
style: {width: 1} ;; OK => style.width | inches from 2 to 40 | 1
style: {formats: [pdf, gif]} ;; OK => style.formats[1] | pdf | "gif"
name: runs ;; OK => name | "runs" is a folder in results | another
sweeps: {"a; rm -rf /": } => sweeps | letters | rm -rf
defaults: {1: 2} ;; OK => defaults | keys that are text
sweeps: {a: } ;; sweeps: {b: } => line 2 | "sweeps" is given twice
 => config.yaml | must be a mapping
pretrained: [{ONE, hub: ../..}] ;; OK => pretrained[0].hub | OWNER/NAME | ../..
pretrained: [{ONE, path: "a\\0"}] ;; OK => pretrained[0].path | control characters | \\u0000
pretrained: [{ONE, path: a/LONG}] ;; OK => pretrained[0].path | 255 bytes between two slashes | é
pretrained: [{ONE}] ;; OK => pretrained[0] | needs a place to load from | either
pretrained: [{ONE, hub: a/b, revision: COMMIT}] ;; OK \
  => pretrained[0].billion_parameters | is missing | the size of the model on the hub
pretrained: [{ONE, hub: a/b, billion_parameters: 8}] ;; OK => [0].revision | missing | full commit
pretrained: [{ONE, path: x, trust_remote_code: true}] ;; OK => [0].revision | missing | digest
pretrained: [{ONE, path: x, revision: main}] ;; OK => [0].revision | a full commit or | "main"
pretrained: [{ONE, path: x, masking: object}] ;; OK => [0].masking | nothing for a causal | leaving
pretrained: [{ONE, path: x, dtype: float16}] ;; OK => [0].dtype | divides by 0 in float16 | lora
pretrained: [{ONE, path: x}, {ONE, path: y}] ;; OK => [1].name | "a" is used twice | a new one
defaults: {layers: 2001-13-45} ;; OK => defaults.layers | whole number | "2001-13-45"
defaults: {layers: !!int junk} ;; OK => line 1: | int | does not fit
!!python/object/apply:os.system [id] => config.yaml, line 1: | does not fit | leaving it out
defaults: {layers: 0x_} ;; OK => config.yaml | not valid YAML
defaults: {layers: {[a]: 1}} ;; OK => line 1: | a key must be text
defaults: &a {layers: *a} ;; OK => config.yaml | nested less deep
sweeps: {a:  => config.yaml, line | not valid YAML
"""
SHORT = {"OK": "sweeps: {a: }", " ;; ": "\n", "ONE": "name: a, kind: causal", "COMMIT": "0a" * 20}
SHORT["LONG"] = "é" * 128


def mistakes_in(path, content: str) -> list[str]:
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_sweeps(Config.load(path))
    return str(caught.value).splitlines()


@pytest.mark.parametrize("mistake", MISTAKES.strip("\n").split("\n"))
def test_a_mistake_is_reported_with_key_value_and_what_is_allowed(mistake, tmp_path):
    content, _, answer = mistake.partition(" => ")
    key, *said = answer.split(" | ")
    for short, long in SHORT.items():
        content = content.replace(short, long)
    (message,) = mistakes_in(tmp_path / "config.yaml", content)
    assert message.startswith("config error: ")
    assert re.search(".*".join(map(re.escape, [key, *said])), message), message


def test_all_mistakes_are_reported_at_once_with_their_lines(tmp_path):
    content = "defaults:\n  layer: 2\n  epochs: none\nsweeps:\n  a:\n    heads: [1, 0]\n"
    said = ("line 2.*layer: unknown key", r"line 3.*epochs", r"line 6.*heads\[1\]: .* 0$")
    found = sorted(mistakes_in(tmp_path / "config.yaml", content))
    assert all(re.search(*pair) for pair in zip(said, found, strict=True)), found
    content = "sweeps:\n  a: {vocab_size: 7}\n  b:\n    masking: subject\n    heads: 5\n"
    found = mistakes_in(tmp_path / "config.yaml", content)
    assert len(found) == 2, "mistakes of the grid come at once, too"


MANY = [f" s{i}: {{preset: p{i}}}\n" for i in range(8000)]
RANGES = ", ".join(f"{name}: {{linear: [0.1, 0.9, 1000]}}" for name in ("beta1", "dropout"))
ALIASES = "".join(f"&{b} [{9 * f'*{a}, '}], " for a, b in pairwise("abcdefghi"))
LARGE = {
    f"[&a [x, x], {ALIASES}]": "at most 250,000 bytes, aliases written out",
    "x" * 1_000_000: "must be at most 250,000 bytes",
    "sweeps: {a: {weight_decay: {linear: [0.1, 0.9, 25000]}}}": "aliases and ranges written out",
    "[" * 100_000: "must be nested less deep",
    f"defaults: {{layers: {'1' * 5000}}}\nsweeps: {{a: }}": "layers: must be a whole number",
    f"sweeps:\n{''.join(MANY)}": "there are more mistakes; correct these first",
    f"sweeps: {{a: {{{RANGES}}}}}": "1,000,000 grid points; allowed: at most 25,000",
}


@pytest.mark.parametrize("content", LARGE, ids=lambda content: content[:20])
def test_a_large_config_is_soon_refused_in_short_lines(content, tmp_path):
    start = time.process_time()
    lines = mistakes_in(tmp_path / "config.yaml", content)
    assert time.process_time() - start < 2
    assert max(map(len, lines)) <= 300
    assert LARGE[content] in "".join(lines)


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


@pytest.mark.parametrize("name", ["config.yaml", "paper.yaml"])
def test_the_configs_that_come_with_the_project_are_valid_and_read_back_equal(root, tmp_path, name):
    any_alphabet = {"sweeps": {"added": {"points": [{"label": "É 語 🙂 \\ \" '"}]}}}
    config = Config.load(root / "config" / name, overrides=any_alphabet)
    (tmp_path / "again.json").write_text(config.to_json(), encoding="utf-8")
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
