"""The ledger of claims."""


rule claims:
    "The ledger of claims: claims.md and claims.parquet."
    input:
        f"{OWN}/claims.md",
        f"{OWN}/claims.parquet",
    localrule: True


rule judge_claims:
    input:
        lambda wildcards: [*reports(CLAIM_RUNS), *again("claims")],
        gathered_pretrained(MEASURED),
    output:
        f"{OWN}/claims.parquet",
        f"{OWN}/claims.md",
    log:
        f"{OWN}/logs/claims.log",
    priority: FIRST
    localrule: True
    conda:
        "../envs/reversal_curse.yaml"
    message:
        "judge the claims"
    shell:
        f"python -m reversal_curse claims --config {SNAPSHOT} > {{log:q}} 2>&1"
