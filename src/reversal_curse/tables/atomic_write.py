"""Files that appear under their name only when they are complete."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def partial_name(path: Path) -> Path:
    """A name beside `path` that only this process writes to, and that no reader looks for."""
    return path.with_name(f".{os.getpid()}.partial.{path.name}")


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary name beside `path` to write to, which takes its place when the block ends.

    Where the block fails, the file that stood there before stays, and nothing partial is left.
    The suffix is that of `path`; missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
