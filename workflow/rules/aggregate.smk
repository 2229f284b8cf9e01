"""Tables over many runs. The inputs may be too many for a command line, so a job gets the
part of the config that names them."""


rule metrics:
    "The table of all metrics: results/metrics.parquet."
    input:
        "results/metrics.parquet",


rule aggregate_metrics:
    input:
        [f"results/runs/{directory}/metrics.parquet" for directory in POINTS],
    output:
        "results/metrics.parquet",
    log:
        "results/logs/aggregate/metrics.log",
    priority: FIRST
    retries: RETRIES
    conda:
        "../envs/reversal_curse.yaml"
    params:
        config=CONFIG.only(*SWEEPS).to_json(),
    message:
        f"gather metrics of all grid points ({len(POINTS)})"
    shell:
        "python -m reversal_curse aggregate --config {params.config:q} --table metrics "
        "--runs results/runs --output {output:q} > {log:q} 2>&1"


rule aggregate_sweep:
    input:
        lambda wildcards: files_of_sweep(wildcards.sweep, wildcards.table),
    output:
        "results/sweeps/{sweep}/{table}.parquet",
    log:
        "results/logs/aggregate/{sweep}/{table}.log",
    priority: FIRST
    retries: RETRIES
    conda:
        "../envs/reversal_curse.yaml"
    params:
        config=lambda wildcards: CONFIG.only(wildcards.sweep).to_json(),
    message:
        "gather {wildcards.table} of sweep {wildcards.sweep}"
    shell:
        "python -m reversal_curse aggregate --config {params.config:q} --table {wildcards.table} "
        "--runs results/runs --output {output:q} > {log:q} 2>&1"
