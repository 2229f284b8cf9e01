"""`python -m reversal_curse VERB`, and the command `reversal-curse`: see `reversal_curse.cli`."""

import sys

from reversal_curse.jobs.watcher import Watched, watch


def main() -> int:
    """Run a command; one that trains a job is watched, from before it loads anything."""
    return watch(_run) if sys.argv[1:2] == ["train-job"] else _run(Watched())


def _run(watched: Watched) -> int:
    from reversal_curse import cli

    return cli.main(watched=watched)


if __name__ == "__main__":
    sys.exit(main())
