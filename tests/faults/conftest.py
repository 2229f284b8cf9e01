"""Fixtures of the workflow, and what must be the same after a fault."""

from pathlib import Path

from workflow.conftest import TINY, Workflow, copy, finished, workflow

__all__ = ["TINY", "Workflow", "assert_one_call_mends", "copy", "finished", "made", "workflow"]


def made(workflow: Workflow) -> dict[Path, bytes]:
    """Read the tables and figures, but points.parquet, which has the seconds of training."""
    paths = [path for path in workflow.find("**/*.*") if path.is_file()]
    kinds = {".parquet", ".pdf", ".png", ".svg"}
    return {
        path.relative_to(workflow.directory): path.read_bytes()
        for path in paths
        if path.suffix in kinds and path.name != "points.parquet"
    }


def assert_one_call_mends(workflow: Workflow, whole: dict[Path, bytes]) -> str:
    """Call Snakemake once more: all is there again, and nothing is left to do; return its output.

    Locks are on: no fault may leave one that stops the next call.
    """
    workflow.lock = True
    output = workflow.snakemake()
    assert made(workflow) == whole
    assert workflow.jobs() == {}
    assert "Traceback" not in output
    return output
