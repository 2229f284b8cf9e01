"""Tables over all grid points of the config."""


rule metrics:
    "The tables of all grid points: metrics.parquet and points.parquet."
    input:
        f"{OWN}/metrics.parquet",
        f"{OWN}/points.parquet",
    localrule: True


rule aggregate:
    input:
        lambda wildcards: [*reports(POINTS), *again("metrics")],
    output:
        f"{OWN}/metrics.parquet",
        f"{OWN}/points.parquet",
    log:
        f"{OWN}/logs/aggregate.log",
    priority: FIRST
    conda:
        "../envs/reversal_curse.yaml"
    message:
        f"gather metrics of all grid points ({len(POINTS)})"
    shell:
        f"python -m reversal_curse aggregate --config {SNAPSHOT} > {{log:q}} 2>&1"
