"""Training. Per family, one rule that trains grid points, several small ones in a job, and
one that puts each where tables are read. What was trained is kept in results/trained/, which
Snakemake knows nothing of: it deletes what a job that failed had written."""

for family in FAMILIES:

    rule:
        f"Train grid points of the family {family}; all seeds of a point are one batch."
        name:
            f"train_{family}"
        input:
            lambda wildcards: inputs_of_pack(wildcards),
        output:
            temp("results/packs/{pack}.json"),
        log:
            "results/logs/packs/{pack}.log",
        wildcard_constraints:
            pack=f"{family}_[a-z]+",
        priority: priority_of_pack
        retries: RETRIES
        conda:
            "../envs/reversal_curse.yaml"
        resources:
            **HERE,
            gpu=1,
            attempts_left=ATTEMPTS_LEFT,
        params:
            points=lambda wildcards: pack(wildcards).to_json(),
            title=lambda wildcards: title_of_pack(wildcards),
        message:
            "train {params.title}"
        shell:
            "python -m reversal_curse train-pack --points {params.points:q} --data results/data "
            "--trained results/trained --checkpoints results/checkpoints --logs results/logs/runs "
            "--report {output:q} --threads {threads} --attempts-left {resources.attempts_left} "
            "> {log:q} 2>&1"

    rule:
        f"Put a trained grid point of the family {family} where tables are read."
        name:
            f"collect_{family}"
        input:
            report=lambda wildcards: report_of_point(wildcards),
        output:
            # And run.json, which no rule reads: a file less to follow for each grid point.
            [f"results/runs/{{point}}/{table}.parquet" for table in run_tables(family)],
        log:
            "results/logs/collect/{point}.log",
        wildcard_constraints:
            point=f"task=[a-z_]+/family={family}/[a-z0-9_=/]+",
        priority: FIRST
        localrule: True
        conda:
            "../envs/reversal_curse.yaml"
        resources:
            **TINY,
        params:
            version=TRAINING_VERSION,
            tables=" ".join(run_tables(family)),
        message:
            "{wildcards.point}"
        shell:
            # As few fields as will do: Snakemake fills them in thrice, for every grid point.
            "python -m reversal_curse.collect --trained results/trained --runs results/runs "
            "--logs results/logs/runs --tables {params.tables} --point {wildcards.point:q} "
            "--report {input.report:q} > {log:q} 2>&1"
