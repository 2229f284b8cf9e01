"""Files that appear under their name only when they are complete."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def partial_name(path: Path) -> Path:
    """Return a name beside `path` that only this process writes to, and that no reader expects."""
    return path.with_name(f".{os.getpid()}.partial.{path.name}")


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Provide a temporary file that replaces `path` if the block succeeds, or else is deleted."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
