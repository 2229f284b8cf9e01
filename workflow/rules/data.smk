"""Datasets: one file holds the sentences of all seeds, for one task and size."""


rule data:
    "All datasets of the config."
    input:
        dataset_files(),
    localrule: True


rule dataset:
    input:
        lambda wildcards: again(f"data/{wildcards.dataset}"),
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
    message:
        "sentences of {wildcards.dataset}"
    shell:
        f"python -m reversal_curse dataset {{wildcards.dataset:q}} --config {SNAPSHOT} > {{log:q}} 2>&1"
