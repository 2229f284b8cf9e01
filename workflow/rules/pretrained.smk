"""Pretrained models: measured, fine-tuned on forward statements, measured again."""

MEMORY_OF_MODEL = {
    name: memory_to_ask_for(model, DEVICES[CONFIG.hardware]) for name, model in PRETRAINED.items()
}


rule pretrained:
    "Every pretrained model of the config."
    input:
        [f"{OWN}/pretrained/{table}.parquet" for table in MEASURED if PRETRAINED],


rule probe_pretrained:
    output:
        [f"results/pretrained/model={{model}}/{table}.parquet" for table in MEASURED],
        "results/pretrained/model={model}/run.json",
    log:
        "results/logs/pretrained/{model}.log",
    priority: FIRST
    conda:
        "../envs/pretrained.yaml"
    resources:
        gpu=lambda wildcards: PRETRAINED[wildcards.model].gpus,
        mem_mb=lambda wildcards, attempt: attempt * MEMORY_OF_MODEL[wildcards.model],
    params:
        # Everything that its tables depend on.
        entry=lambda wildcards: PRETRAINED[wildcards.model].model_dump(exclude_unset=True),
        facts=lambda wildcards: facts_version(PRETRAINED[wildcards.model].facts),
        weights=lambda wildcards: weights_version(PRETRAINED[wildcards.model]),
        version=PRETRAINED_VERSION,
    message:
        "probe the pretrained model {wildcards.model} "
        "(GPUs: {resources.gpu}, memory: {resources.mem_mb} MB)"
    shell:
        f"python -m reversal_curse probe-pretrained --config {SNAPSHOT} --model {{wildcards.model}} "
        "--threads {threads} > {log:q} 2>&1"


rule gather_pretrained:
    input:
        [f"results/pretrained/model={model}/{{measured}}.parquet" for model in PRETRAINED],
    output:
        f"{OWN}/pretrained/{{measured}}.parquet",
    log:
        f"{OWN}/logs/pretrained/gather_{{measured}}.log",
    priority: FIRST
    localrule: True
    conda:
        "../envs/reversal_curse.yaml"
    params:
        models=list(PRETRAINED),
    message:
        "gather {wildcards.measured} of pretrained models"
    shell:
        f"python -m reversal_curse gather-pretrained --config {SNAPSHOT} "
        "--table {wildcards.measured} --output {output:q} > {log:q} 2>&1"
