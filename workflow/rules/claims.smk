"""The ledger of claims."""


rule claims:
    "The ledger of claims: results/claims.md and results/claims.parquet."
    input:
        "results/claims.md",
        "results/claims.parquet",


rule judge_claims:
    input:
        [f"results/{table}" for table in claim_tables(CONFIG)],
    output:
        table="results/claims.parquet",
        page=report("results/claims.md", caption="../report/claims.rst", category="claims"),
    log:
        "results/logs/claims.log",
    priority: FIRST
    localrule: True
    conda:
        "../envs/reversal_curse.yaml"
    params:
        config=CONFIG.to_json(),
        version=claims_version(),
    message:
        "judge the claims"
    shell:
        "python -m reversal_curse claims --config {params.config:q} --results results "
        "--table {output.table:q} --page {output.page:q} > {log:q} 2>&1"
