"""The reversal curse: every experiment, from one config to figures.

This file is the table of contents. `snakemake --list-target-rules` lists what can be made,
config/README.md explains how to make something else.
"""

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/common.smk"  # the checked config and its grid points


report: "workflow/report/workflow.rst"


rule all:
    "Everything: every figure of the config, the table of all metrics, the ledger of claims, the page."
    default_target: True
    input:
        dataset_files(),
        figure_files(),
        f"{OWN}/metrics.parquet",
        f"{OWN}/points.parquet",
        f"{OWN}/claims.md",
        f"{OWN}/claims.parquet",
        f"{OWN}/index.html",
    localrule: True


include: "workflow/rules/data.smk"  # sentences: one file per task and size
include: "workflow/rules/train.smk"  # jobs: all seeds of several small grid points
include: "workflow/rules/pretrained.smk"  # models trained by others, before and after fine-tuning
include: "workflow/rules/aggregate.smk"  # every evaluation, and a row per grid point
include: "workflow/rules/figures.smk"  # a plot applied to a sweep
include: "workflow/rules/claims.smk"  # the ledger: which of the papers' claims hold
include: "workflow/rules/page.smk"  # all of it in one file for a browser
include: "workflow/rules/plan.smk"  # what is trained and what is waiting
