"""Sentences. One file holds all seeds of one task and size."""


rule data:
    "All datasets of the config."
    input:
        {
            f"results/data/{dataset_directory(settings)}/dataset.parquet"
            for settings in POINTS.values()
        },


rule dataset:
    output:
        "results/data/task={task}/vocab_size={vocab_size}/entity_length={entity_length}/seeds={seeds}/dataset.parquet",
    log:
        "results/logs/data/task={task}/vocab_size={vocab_size}/entity_length={entity_length}/seeds={seeds}.log",
    conda:
        "../envs/reversal_curse.yaml"
    params:
        version=DATA_VERSION,
    message:
        "sentences of {wildcards.task}, vocab_size {wildcards.vocab_size}, entity_length {wildcards.entity_length}"
    shell:
        "python -m reversal_curse dataset --task {wildcards.task} --vocab-size {wildcards.vocab_size} "
        "--entity-length {wildcards.entity_length} --seeds {wildcards.seeds} --output {output:q} > {log:q} 2>&1"
