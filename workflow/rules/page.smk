"""The page of results: one HTML file."""


rule page:
    "The page of results: index.html, one file with ledger, figures, curves and grid points."
    input:
        f"{OWN}/index.html",
    localrule: True


rule write_page:
    input:
        rules.claims.input,
        rules.metrics.input,
        [f"{OWN}/figures/{name}.svg" for name in FIGURES],
        lambda wildcards: [*again("page"), *again("figures/claims_overview")],
    output:
        f"{OWN}/index.html",
        report(f"{OWN}/ledger.html", caption="../report/claims.rst", category="claims"),
        [str(path) for path in PRODUCTS.files("figures/claims_overview")],
    log:
        f"{OWN}/logs/page.log",
    priority: FIRST
    localrule: True
    conda:
        "../envs/reversal_curse.yaml"
    message:
        "write the page of results"
    shell:
        f"python -m reversal_curse page --config {SNAPSHOT} > {{log:q}} 2>&1"
