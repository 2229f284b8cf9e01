"""Pretrained models: measured, fine-tuned on forward statements, measured again."""

MEMORY_OF_MODEL = {
    name: memory_to_ask_for(model, DEVICES[CONFIG.hardware]) for name, model in PRETRAINED.items()
}


rule pretrained:
    "Every pretrained model of the config."
    input:
        gathered_pretrained(MEASURED),
    localrule: True


rule probe_pretrained:
    input:
        lambda wildcards: again(f"models/{wildcards.model}"),
    output:
        [f"results/pretrained/model={{model}}/{table}.parquet" for table in MEASURED],
    log:
        "results/logs/pretrained/{model}.log",
    priority: FIRST
    conda:
        "../envs/pretrained.yaml"
    resources:
        gpu=lambda wildcards: PRETRAINED[wildcards.model].gpus,
        mem_mb=lambda wildcards, attempt: attempt * MEMORY_OF_MODEL[wildcards.model],
    message:
        "probe the pretrained model {wildcards.model} "
        "(GPUs: {resources.gpu}, memory: {resources.mem_mb} MB)"
    shell:
        f"python -m reversal_curse probe-pretrained {{wildcards.model}} --config {SNAPSHOT} "
        "--threads {threads} > {log:q} 2>&1"


rule gather_pretrained:
    input:
        [f"results/pretrained/model={model}/{{measured}}.parquet" for model in PRETRAINED],
        lambda wildcards: again(f"pretrained/{wildcards.measured}"),
    output:
        f"{OWN}/pretrained/{{measured}}.parquet",
    log:
        f"{OWN}/logs/pretrained/gather_{{measured}}.log",
    priority: FIRST
    localrule: True
    conda:
        "../envs/reversal_curse.yaml"
    message:
        "gather {wildcards.measured} of pretrained models"
    shell:
        f"python -m reversal_curse gather-pretrained {{wildcards.measured}} --config {SNAPSHOT} "
        "> {log:q} 2>&1"
