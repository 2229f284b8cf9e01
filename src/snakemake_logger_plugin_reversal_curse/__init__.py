"""Snakemake's logger plugin `reversal-curse`: shows training in place of Snakemake's own log.

It imports no module of `reversal_curse`: the Snakefile chooses which one runs, and attaches the
screen (`reversal_curse.jobs.screen`). Without a screen, before the workflow starts, and for what
the screen does not take, Snakemake's own words are printed.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase


class LogHandler(LogHandlerBase):
    """Passes records to the screen, and those that it does not take to standard error."""

    has_filter, has_formatter, writes_to_file, needs_rulegraph = True, True, False, False

    def __post_init__(self) -> None:
        # Imported here: Snakemake imports its plugins while it is being imported.
        from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

        asked: Any = self.common_settings
        self.screen: Any = None
        quiet, details = asked.quiet, (asked.debug_dag, asked.verbose)
        self.words = ColorizingTextHandler(
            asked.nocolor,
            sys.stdout if asked.stdout else sys.stderr,
            DefaultFormatter(quiet, asked.show_failed_logs),
            DefaultFilter(quiet, *details, asked.dryrun, asked.printshellcmds),  # ty: ignore
        )

    @property
    def writes_to_stream(self) -> bool:
        """Leave the stream to Snakemake if the user asks for its details."""
        asked = self.common_settings
        return not (asked.verbose or asked.debug_dag or asked.printshellcmds)

    def emit(self, record: logging.LogRecord) -> None:
        taken = not self.writes_to_stream or (self.screen and self.screen.take(record))
        if not taken and record.getMessage() != "Building DAG of jobs...":
            self.words.handle(record)

    def attach(self, screen: Any) -> None:
        """Show a run on a screen, unless Snakemake writes to the stream, or nobody shall."""
        from snakemake.logging import is_quiet_about

        if self.writes_to_stream and not is_quiet_about(self.common_settings.quiet or (), "all"):
            self.screen = screen
            # On a full disk, Snakemake's log file would answer each record with a traceback.
            logging.raiseExceptions = False

    def close(self) -> None:
        if self.screen:
            self.screen.close()
        super().close()
