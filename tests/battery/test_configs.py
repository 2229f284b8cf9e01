"""Hostile configs: junk of many kinds in many places, through three doors.

`pytest -s tests/battery/test_configs.py` prints what was not answered. An answer is an exit status
other than 0 and a few lines of at most 300 characters, soon, while nothing is written.
"""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reversal_curse.config.errors import ConfigError
from reversal_curse.config.file import MOST_MISTAKES, Config
from reversal_curse.config.grid import read_sweeps

BOMB = "&a0 [x, x]" + "".join(f", &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 15))
MERGE = "&m0 {x: 1}" + "".join(f", &m{i} {{<<: [{f'*m{i - 1}, ' * 9}]}}" for i in range(1, 15))
JUNK = {
    "recursive list": "&r [*r]",
    "recursive mapping": "&r {x: *r}",
    "recursive merge": "&r {<<: *r}",
    "aliases that explode": f"[{BOMB}]",
    "merges that explode": f"[{MERGE}]",
    "text many times": f"[&t {'x' * 50_000}, {'*t, ' * 40_000}]",
    "invalid date": "2001-13-45",
    "date as a key": "{2001-01-01: 1}",
    "list as a key": "{? [a] : 1}",
    "key with a tag": "{? !!int junk : 1}",
    "digits": "1" * 5000,
    "hexadecimal digits": "0x" + "f" * 50_000,
    "base 60": "1" + ":1" * 20_000,
    "brackets": "[" * 100_000,
    "closed brackets": "[" * 50_000 + "]" * 50_000,
    "braces": "{a: " * 50_000,
    "long text": '"' + "x" * 100_000 + '"',
    "very long key": "{? " + "x" * 100_000 + " : 1}",
    "many keys": "{" + ", ".join(f"k{i}: 1" for i in range(10_000)) + "}",
    "many values": "[" + "1, " * 60_000 + "]",
    "empty lists": "[" + "[]," * 60_000 + "]",
    "NUL": '"\\0"',
    "lines": '"a\\nb\\u2028\\x85\\e[2J"',
    "too large": "x" * 1_000_000,
}
TAGS = ["int", "float", "bool", "timestamp", "set", "binary", "python/object/apply:os.system"]
SHORT = [
    ".nan",
    "1e999",
    '!!int ""',
    "{a: 1, a: 2}",
    '"\\ud800"',
    "*a",
    "{range: [1, 1000000000000]}",
    "]",
]
JUNK |= {f"{tag} tag": f"!!{tag} junk" for tag in TAGS} | {text: text for text in SHORT}
PLACES = {
    "alone": "{}",
    "key": "? {}\n: 1\n",
    "name": "name: {}\nsweeps: {{a: }}\n",
    "setting": "defaults:\n  layers: {}\nsweeps: {{a: }}\n",
    "sweep": "sweeps:\n  a: {}\n",
    "list": "sweeps:\n  a:\n    layers: [{}]\n",
    "path": "pretrained:\n- {{name: m, kind: causal, path: {}}}\nsweeps: {{a: }}\n",
}
IDLE = ", ".join(f"{{embed_dim: {width}, layers: 4}}" for width in range(8, 5008))
BIG = ", ".join(f"{name}: {{linear: [0.1, 0.9, 1000]}}" for name in ("beta1", "beta2", "dropout"))


def sweeps(block: str, count: int = 8000) -> str:
    return "sweeps:\n" + "".join(f" n{i}: {block}\n" for i in range(count))


WHOLE = {
    "a thousand million points": f"sweeps: {{a: {{{BIG}}}}}",
    "many ranges": sweeps("{seeds: {range: [1, 9999]}}", 5000),
    "many ranges of one value": sweeps("{dropout: {linear: [0.1, 0.1, 9999]}}", 3000),
    "many idle points": f"sweeps: {{a: {{family: bilinear, points: [{IDLE}]}}}}",
    "many lists": sweeps("{seeds: [1, 2, 3, 4]}"),
    "many wrong presets": sweeps("{preset: x}"),
    "many wrong figures": sweeps("").replace("sweeps:", "figures:") + "sweeps: {a: }",
    "all wrong points": "sweeps: {a: {heads: 7, embed_dim: {range: [8, 25000]}}}",
    "hub id upwards": "pretrained: [{name: m, kind: causal, hub: ../..}]\nsweeps: {a: }",
    "bytes": b"\xff\xfe\xfd",
    "byte order mark and NUL": b"\xef\xbb\xbf\0",
    "empty": "",
    "two documents": "sweeps: {a: }\n---\nsweeps: {a: }",
}
CASES = {
    f"{junk} as {place}": text.format(JUNK[junk]) for junk in JUNK for place, text in PLACES.items()
} | WHOLE
HARMLESS = {"invalid date as path"}  # text like any other


def write(folder: Path, case: str) -> Path:
    path, content = folder / "config.yaml", CASES[case]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def unfit(lines: list[str]) -> list[str]:
    """Return the start of lines that are no answer: too many, too long, or of another kind."""
    wrong = [line for line in lines if len(line) > 300 or not line.startswith("config error: ")]
    return [line[:100] for line in (wrong or lines[MOST_MISTAKES + 1 :])]


def test_in_process(tmp_path):
    accepted, bad = set(), {}
    for case in CASES:
        path, start = write(tmp_path, case), time.process_time()
        try:
            read_sweeps(Config.load(path))
            accepted.add(case)
        except ConfigError as error:
            bad[case] = unfit(str(error).splitlines())
        except Exception as error:
            bad[case] = [repr(error)[:100]]
        if time.process_time() - start > 2:
            bad[case] = ["slow"]
    bad = {case: lines for case, lines in bad.items() if lines}
    print(f"{len(CASES)} configs, {len(bad)} without an answer: {bad}")
    assert len(CASES) >= 210
    assert not bad
    assert accepted == HARMLESS


def complaints(command: list, folder: Path, seconds: int) -> list[str]:
    """Run a command that must fail and write nothing, in memory that is limited."""
    limited = ["bash", "-c", 'ulimit -v 8000000; exec "$@"', "bash", *command]
    done = subprocess.run(limited, cwd=folder, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 1
    assert {path.name for path in folder.iterdir()} - {".snakemake"} == {"config.yaml"}
    return (done.stdout + done.stderr).splitlines()


@pytest.mark.parametrize("case", random.Random(0).sample(sorted(CASES.keys() - HARMLESS), 20))
def test_the_command_line(tmp_path, case):
    command = [sys.executable, "-P", "-m", "reversal_curse", "plan", write(tmp_path, case)]
    lines = complaints(command, tmp_path, seconds=12)  # the start is slow on a busy machine
    assert lines
    assert not unfit(lines)


# Snakemake reads the file before we do. Of the first kind it leaves the answer to us; of the second
# it prints a traceback (and on merges that explode it hangs: `make plan` answers those).
OURS = [
    *("aliases that explode as setting", "date as a key as setting", "very long key as setting"),
    *("NUL as path", "a thousand million points", "hub id upwards", "too large as name"),
]
THEIRS = ["recursive mapping as setting", "int tag as setting", "invalid date as setting"]


@pytest.mark.parametrize("case", OURS + THEIRS)
def test_snakemake(tmp_path, root, case):
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--nolock"]
    command += ["--snakefile", root / "Snakefile", "--directory", tmp_path]
    lines = complaints([*command, "--configfile", write(tmp_path, case)], tmp_path, seconds=60)
    assert max(map(len, lines)) <= 300
    ours = [line for line in lines if line.startswith("config error: ")]
    assert bool(ours) == (case in OURS)
    assert not unfit(ours)
