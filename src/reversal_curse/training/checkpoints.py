"""Checkpoints on disk: atomic, verified, and read back without running code from the file."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from reversal_curse.config.errors import first_line
from reversal_curse.tables.atomic_write import partial_name


class Checkpoints:
    """The newest states of a run in a folder: `EPOCH.SHA256.pt`, named once complete."""

    def __init__(self, folder: Path, seconds: float):
        self.folder = folder
        self.seconds = seconds
        self._saved = time.monotonic()

    def below(self, name: str) -> Checkpoints:
        """Return the checkpoints of a part of the run, in a folder below this one."""
        return Checkpoints(self.folder / name, self.seconds)

    def due(self) -> bool:
        """Tell whether `seconds` have passed since the last checkpoint."""
        return time.monotonic() - self._saved >= self.seconds

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write a state; if that fails, as on a full disk, warn and let training go on."""
        self._saved = time.monotonic()
        partial = partial_name(self.folder / "new.pt")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save(state, partial)
            os.replace(partial, self.folder / f"{epoch:09d}.{_digest(partial)}.pt")
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            with suppress(OSError):
                partial.unlink()
            _warn(f"{self.folder}: no checkpoint after epoch {epoch}: {first_line(error)}")
            return
        for old in self._newest_first()[2:]:  # the second newest replaces a damaged one
            old.unlink(missing_ok=True)

    def newest(self, device: torch.device) -> dict[str, Any] | None:
        """Read the newest whole state onto `device`; None if there is none."""
        for path in self._newest_first():
            try:
                if _digest(path) != path.name.split(".")[1]:
                    raise ValueError("the content is not what was written")
                return torch.load(path, map_location=device, weights_only=True)
            except torch.OutOfMemoryError:
                raise  # the file is intact
            except (OSError, RuntimeError, ValueError, pickle.UnpicklingError, EOFError) as error:
                _warn(f"{path}: skipped a damaged checkpoint: {first_line(error)}")
        return None

    def clear(self) -> None:
        """Remove all states: the run is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.*.pt"), reverse=True)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)
