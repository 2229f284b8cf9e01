"""Training: one rule per family, one job per grid point, all seeds in it."""

for family in FAMILIES:

    rule:
        name:
            f"train_{family}"
        input:
            dataset=lambda wildcards: f"results/data/{dataset_directory(point_settings(wildcards))}/dataset.parquet",
        output:
            [f"results/runs/{{point}}/{table}.parquet" for table in run_tables(family)],
            record="results/runs/{point}/run.json",
        log:
            "results/logs/runs/{point}.log",
        wildcard_constraints:
            point=f"task=[a-z_]+/family={family}/[a-z0-9_=/]+",
        conda:
            "../envs/reversal_curse.yaml"
        resources:
            gpu=1,
        params:
            settings=lambda wildcards: settings_json(point_settings(wildcards)),
            directory=lambda wildcards, output: os.path.dirname(output.record),
            version=TRAINING_VERSION,
        message:
            "train {wildcards.point}"
        shell:
            "python -m reversal_curse train --settings {params.settings:q} --dataset {input.dataset:q} "
            "--output {params.directory:q} --threads {threads} "
            "--checkpoints results/checkpoints > {log:q} 2>&1"
