"""The ledger of claims."""


rule claims:
    "The ledger of claims: claims.md and claims.parquet."
    input:
        lambda wildcards: reports(CLAIM_RUNS),
        f"{OWN}/claims.md",
        f"{OWN}/claims.parquet",


rule judge_claims:
    input:
        lambda wildcards: reports(CLAIM_RUNS),
        [f"{OWN}/pretrained/{table}.parquet" for table in MEASURED if PRETRAINED],
    output:
        table=f"{OWN}/claims.parquet",
        page=report(f"{OWN}/claims.md", caption="../report/claims.rst", category="claims"),
    log:
        f"{OWN}/logs/claims.log",
    priority: FIRST
    localrule: True
    conda:
        "../envs/reversal_curse.yaml"
    params:
        # The config names every setting and figure.
        config=CONFIG.digest,
        runs=lambda wildcards: version_of_runs(CLAIM_RUNS),
        version=claims_version(),
    message:
        "judge the claims"
    shell:
        f"python -m reversal_curse claims --config {SNAPSHOT} --table {{output.table:q}} "
        "--page {output.page:q} > {log:q} 2>&1"
