"""Ask training to stop, as a signal or the end of a job's time does."""

from __future__ import annotations

from reversal_curse.training.interruption import Interruption


class StopAfter(Interruption):
    """Asks to stop after some epochs (or steps), counted over all runs that it watches."""

    def __init__(self, epochs: int):
        super().__init__()
        self.left = epochs

    def reason(self) -> str | None:
        self.left -= 1
        return "the test" if self.left == 0 else None
