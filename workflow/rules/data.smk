"""Datasets: one file holds the sentences of all seeds, for one task and size."""


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
        dataset="task=.+",
    priority: FIRST
    localrule: True
    conda:
        "../envs/reversal_curse.yaml"
    params:
        version=DATA_VERSION,
    message:
        "sentences of {wildcards.dataset}"
    shell:
        f"python -m reversal_curse dataset --config {SNAPSHOT} --dataset {{wildcards.dataset:q}} "
        "--output {output:q} > {log:q} 2>&1"
