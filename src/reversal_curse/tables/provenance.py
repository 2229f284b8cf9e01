"""Where results come from: the commit, and a fingerprint of the code that determines them.

A fingerprint maps each module to a digest of what it does, without comments, docstrings and
formatting. It is read from the source, so that a process that builds the DAG needs no torch.
"""

import ast
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reversal_curse.config.digest import digest_of
from reversal_curse.families import FAMILIES
from reversal_curse.tables.schemas import TABLES
from reversal_curse.version import VERSION

PACKAGE = Path(__file__).parent.parent
LIBRARIES = ("torch", "numpy", "transformers", "peft")
"""Libraries that decide numbers: the first two those of a run, all those of pretrained models."""
_IMPORTS = "imports"
_BY_VALUE = ("config/", "families", "tables/", "tasks/__init__")
"""Where training reads only settings, choices and schemas, which a run records or names."""

Fingerprint = Mapping[str, str]


def commit() -> str | None:
    """Return the commit of the running code, `+changes` if the tree differs; None outside git."""
    describe = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    command = ["git", "-C", str(PACKAGE), *describe]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def made_since(started: float, libraries: Iterable[str]) -> dict[str, Any]:
    """Describe what makes a result now: commit, versions, when it `started`, seconds since."""
    begun = datetime.fromtimestamp(started, timezone.utc).isoformat(timespec="seconds")
    software = {"reversal_curse": VERSION, "python": platform.python_version()}
    return {
        "commit": commit(),
        "versions": software | versions(libraries),
        "started": begun,
        "wall_seconds": round(time.time() - started, 3),
    }


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of installed libraries, without the build (`+cpu`)."""
    found = {}
    for library in libraries:
        with suppress(PackageNotFoundError):  # the machine that only submits jobs may lack it
            found[library] = version(library).split("+")[0]
    return found


@cache
def code_of_training(family: str, task: str) -> Fingerprint:
    """Return the fingerprint of all that decides a run's tables besides its settings."""
    known = FAMILIES[family]
    module, start = known.start.removeprefix("reversal_curse.").split(":")
    starts = ["training/loop", module.replace(".", "/"), f"tasks/{task}", "tables/dataset"]
    starts += [f"probes/{probe}" for probe in known.probes]
    schemas = [[str(column) for column in TABLES[t].schema.items()] for t in known.tables]
    entry = [start, known.probes, known.precision, schemas]
    code = code_of(*starts, left_out=_BY_VALUE)
    return {**code, "families": digest_of(entry), **versions(LIBRARIES[:2])}


def code_of_task(task: str) -> Fingerprint:
    """Return the fingerprint of the code that makes sentences."""
    return code_of(f"tasks/{task}", "tables/dataset", left_out=_BY_VALUE)


def code_of_probe() -> Fingerprint:
    """Return the fingerprint of the code that measures pretrained models."""
    return {**code_of("pretrained/probe", left_out=_BY_VALUE), **versions(LIBRARIES)}


@cache
def code_of(*starts: str, left_out: tuple[str, ...] = ()) -> Fingerprint:
    """Return the digests of modules, such as `training/loop`, and of all that they import.

    Modules whose names begin with one of `left_out` count only if they are among the `starts`. Who
    imports what from whom is one more digest; it goes by content, as a moved file changes nothing.
    """
    found: dict[str, str] = {}
    edges = []
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name], imports = _outline(name)
        for other, names in imports:
            if other in starts or not other.startswith(left_out or "/"):
                waiting.append(other)
                edges.append((found[name], _outline(other)[0], names))
    return {**dict(sorted(found.items())), _IMPORTS: digest_of(sorted(edges))}


def differences(recorded: Fingerprint, current: Fingerprint) -> list[str]:
    """List the modules and libraries in which two fingerprints differ."""
    gone = [name for name, one in recorded.items() if one not in current.values()]
    new = [name for name, one in current.items() if one not in recorded.values()]
    # A library that is not installed here says nothing.
    absent = set(LIBRARIES) - current.keys()
    found = sorted({*gone, *new} - absent)
    return [name for name in found if name != _IMPORTS] or found


@cache
def _outline(name: str) -> tuple[str, list[tuple[str, list[str]]]]:
    """Return a digest of what a module does, and the modules of this package that it imports."""
    path = PACKAGE / f"{name}.py"
    imports: list[tuple[str, list[str]]] = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return digest_of(_shape(tree, imports)), imports


def _shape(node: Any, imports: list) -> Any:
    """Write a syntax tree as lists, the same in every version of Python; None for a docstring."""
    match node:
        case list():
            shapes = (_shape(one, imports) for one in node)
            return [shape for shape in shapes if shape is not None]
        case ast.Expr(ast.Constant(str())):
            return None
        case ast.ImportFrom(module=str(module)) if module.startswith("reversal_curse"):
            names = [f"{alias.name} {alias.asname}" for alias in node.names]
            imports += _imported(module, [alias.name for alias in node.names])
            return ["import", *names]
        case ast.AST():
            fields = {n: v for n, v in ast.iter_fields(node) if v not in (None, []) and n != "ctx"}
            return [type(node).__name__, *([n, _shape(v, imports)] for n, v in fields.items())]
    return repr(node)


def _imported(module: str, names: list[str]) -> list[tuple[str, list[str]]]:
    """Find the files of `from module import names`: modules of a package, or the module."""
    place = module.removeprefix("reversal_curse").strip(".").replace(".", "/")
    files = [name for name in names if (PACKAGE / place / f"{name}.py").exists()]
    found = [(f"{place}/{name}".strip("/"), []) for name in files]
    rest = [name for name in names if name not in files]
    if rest:
        package = (PACKAGE / place).is_dir()
        found.append((f"{place}/__init__".strip("/") if package else place, rest))
    return found
