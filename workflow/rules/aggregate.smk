"""Tables over all grid points of the config."""


rule metrics:
    "The tables of all grid points: metrics.parquet and points.parquet."
    input:
        lambda wildcards: reports(POINTS),
        f"{OWN}/metrics.parquet",
        f"{OWN}/points.parquet",


rule aggregate:
    input:
        lambda wildcards: reports(POINTS),
    output:
        metrics=f"{OWN}/metrics.parquet",
        points=f"{OWN}/points.parquet",
    log:
        f"{OWN}/logs/aggregate.log",
    priority: FIRST
    conda:
        "../envs/reversal_curse.yaml"
    params:
        version=lambda wildcards: version_of_runs(POINTS),
        columns=CONFIG.settings_given(),
    message:
        f"gather metrics of all grid points ({len(POINTS)})"
    shell:
        f"python -m reversal_curse aggregate --config {SNAPSHOT} --metrics {{output.metrics:q}} "
        "--points {output.points:q} > {log:q} 2>&1"
