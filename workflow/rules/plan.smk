"""What would be trained."""


rule plan:
    "Print which grid points are trained and which are waiting."
    log:
        "results/logs/plan.log",
    conda:
        "../envs/reversal_curse.yaml"
    params:
        config=CONFIG.to_json(),
    message:
        "grid points of this config"
    shell:
        "python -m reversal_curse plan --config {params.config:q} --runs results/runs 2> {log:q}"
