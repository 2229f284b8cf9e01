"""Training: one rule per family; a job trains several small grid points.

Runs are written to results/runs, but not declared as outputs: Snakemake deletes the outputs of a
failed job, and with them the runs that it had finished.
"""

for family in FAMILIES:

    rule:
        f"Train grid points of the family {family}; all seeds of a point are one batch."
        name:
            f"train_{family}"
        input:
            again_job,
            datasets_of_job,
        output:
            "results/jobs/{job}.json",
        log:
            "results/logs/jobs/{job}.log",
        wildcard_constraints:
            job=f"{family}_[0-9a-f]+",
        priority: priority_of_job
        conda:
            "../envs/reversal_curse.yaml"
        resources:
            **HERE,
            **ASKED,
        params:
            title=title_of_job,
        message:
            "train {params.title}"
        shell:
            f"python -m reversal_curse train-job {{wildcards.job}} --config {SNAPSHOT} "
            "--report {output:q} --threads {threads} > {log:q} 2>&1"
