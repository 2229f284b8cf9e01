"""Pretrained models: measured, fine-tuned on forward statements, measured again."""


rule pretrained:
    "Every pretrained model of the config."
    input:
        [f"results/pretrained/{table}.parquet" for table in MEASURED if PRETRAINED],


rule probe_pretrained:
    output:
        [f"results/pretrained/model={{model}}/{table}.parquet" for table in MEASURED],
        "results/pretrained/model={model}/run.json",
    log:
        "results/logs/pretrained/{model}.log",
    priority: FIRST
    retries: RETRIES
    conda:
        "../envs/pretrained.yaml"
    resources:
        gpu=lambda wildcards: PRETRAINED[wildcards.model].gpus,
        mem_mb=lambda wildcards, attempt: attempt * MEMORY_OF_MODEL[wildcards.model],
    params:
        entry=lambda wildcards: PRETRAINED[wildcards.model].to_json(),
        facts=lambda wildcards: facts_version(PRETRAINED[wildcards.model].facts),
        weights=lambda wildcards: weights_version(PRETRAINED[wildcards.model]),
        version=PRETRAINED_VERSION,
        directory="results/pretrained/model={model}",
    message:
        "probe the pretrained model {wildcards.model} "
        "(GPUs: {resources.gpu}, memory: {resources.mem_mb} MB)"
    shell:
        "python -m reversal_curse probe-pretrained --entry {params.entry:q} "
        "--output {params.directory:q} --checkpoints results/checkpoints/pretrained "
        "--threads {threads} > {log:q} 2>&1"


rule gather_pretrained:
    input:
        [f"results/pretrained/model={model}/{{measured}}.parquet" for model in PRETRAINED],
    output:
        "results/pretrained/{measured}.parquet",
    log:
        "results/logs/pretrained/gather_{measured}.log",
    priority: FIRST
    localrule: True
    conda:
        "../envs/reversal_curse.yaml"
    params:
        models=[f"results/pretrained/model={model}" for model in PRETRAINED],
    message:
        "gather {wildcards.measured} of pretrained models"
    shell:
        "python -m reversal_curse gather-pretrained --table {wildcards.measured} "
        "--models {params.models:q} --output {output:q} > {log:q} 2>&1"
