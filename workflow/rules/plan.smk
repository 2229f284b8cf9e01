"""What would be trained."""


rule plan:
    "Print which grid points are trained and which are waiting."
    log:
        "results/logs/plan.log",
    params:
        config=CONFIG.to_json(),
    conda:
        "../envs/reversal_curse.yaml"
    message:
        "grid points of this config"
    shell:
        "python -m reversal_curse plan --config {params.config:q} --runs results/runs 2> {log:q}"
