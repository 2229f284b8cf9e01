"""Show what would be trained."""


rule plan:
    "Print what is trained, what is waiting, and how long it will take."
    log:
        f"{OWN}/logs/plan.log",
    localrule: True
    conda:
        "../envs/reversal_curse.yaml"
    message:
        "grid points of this config"
    shell:
        f"python -m reversal_curse plan {SNAPSHOT} 2> {{log:q}}"
