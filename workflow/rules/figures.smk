"""Figures: one rule per figure of the config."""


rule figures:
    "Every figure of the config, as PDF and PNG."
    input:
        figure_files(),


for figure, sweep in CONFIG.figures.items():

    rule:
        f"The figure {figure}: {FIGURES[figure].title}."
        name:
            f"figure_{figure}"
        input:
            [f"results/sweeps/{sweep}/{table}.parquet" for table in FIGURES[figure].tables],
        output:
            f"results/figures/{figure}.pdf",
            report(
                f"results/figures/{figure}.png",
                caption=f"../report/{figure}.rst",
                category=FIGURES[figure].group,
                labels={"figure": FIGURES[figure].title},
            ),
        log:
            f"results/logs/figures/{figure}.log",
        localrule: True
        conda:
            "../envs/reversal_curse.yaml"
        params:
            figure=figure,
            sweep=sweep,
            variants=labels_of_variants(sweep),
            version=figure_version(figure),
        message:
            "render {params.figure}"
        shell:
            "python -m reversal_curse figure {params.figure} --tables {input:q} --output {output:q} "
            "--variants {params.variants:q} > {log:q} 2>&1"
