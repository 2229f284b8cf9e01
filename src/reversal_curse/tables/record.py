"""Records: JSON files that say what lies beside them, and show any change to it or themselves."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reversal_curse.config.digest import digest_of
from reversal_curse.config.errors import UserError
from reversal_curse.tables.atomic_write import replacing


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_record(path: Path, content: dict[str, Any], files: Iterable[Path]) -> None:
    """Write a record of `content` and of the content of `files`, which lie in one folder."""
    whole = {**content, "files": {file.name: digest_of_file(file) for file in files}}
    with replacing(path) as partial:
        text = json.dumps({**whole, "digest": digest_of(whole)}, indent=2)
        partial.write_text(text + "\n", encoding="utf-8")


def read_record(path: Path) -> dict[str, Any] | None:
    """Read a record; None if there is none. Raises UserError if it is not as it was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        digest = content.pop("digest")
        if digest == digest_of(content):
            return {**content, "digest": digest}
        reason = "is not as it was written"
    except FileNotFoundError:
        return None
    except KeyError:
        reason = "was written by an earlier version"
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        reason = "is not a record"
    raise UserError(f"{path}: {reason}")


def damaged_file(path: Path, record: dict[str, Any], folder: Path) -> str:
    """Name a file of a record, and how it differs from what was written; empty if none does.

    Only files that were changed after the record was written are read: by their time, or by that
    of their inode, which no program can set.
    """
    written = _changed(path)
    for name, digest in record["files"].items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if _changed(file) >= written and digest_of_file(file) != digest:
            return f"{name} is not as it was written"
    return ""


def _changed(path: Path) -> int:
    stat = path.stat()
    return max(stat.st_mtime_ns, stat.st_ctime_ns)
