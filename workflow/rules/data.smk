"""Sentences. One file holds all seeds of one task and size."""


rule data:
    "All datasets of the config."
    input:
        [f"results/data/{directory}/dataset.parquet" for directory in DATASETS],


rule dataset:
    output:
        "results/data/{dataset}/dataset.parquet",
    log:
        "results/logs/data/{dataset}.log",
    wildcard_constraints:
        dataset="task=[a-z0-9_=/]+",
    priority: FIRST
    localrule: True
    conda:
        "../envs/reversal_curse.yaml"
    params:
        settings=lambda wildcards: dataset_json(dataset_settings(wildcards)),
        version=DATA_VERSION,
    message:
        "sentences of {wildcards.dataset}"
    shell:
        "python -m reversal_curse dataset --settings {params.settings:q} --output {output:q} "
        "> {log:q} 2>&1"
