"""What would be trained."""


rule plan:
    "Print what is trained, what is waiting, and how long it will take."
    log:
        "results/logs/plan.log",
    conda:
        "../envs/reversal_curse.yaml"
    params:
        config=CONFIG.to_json(),
        hardware=CONFIG.hardware,
    message:
        "grid points of this config"
    shell:
        "python -m reversal_curse plan --config {params.config:q} --runs results/trained "
        "--hardware {params.hardware} --pretrained results/pretrained 2> {log:q}"
