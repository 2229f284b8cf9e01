"""Figures: one rule per figure of the config."""


rule figures:
    "Every figure of the config, as PDF and PNG."
    input:
        figure_files(),


# Figures of sweeps, and of pretrained models where the config has some.
for figure, source in FIGURE_SOURCES.items():

    rule:
        f"The figure {figure}: {ALL_FIGURES[figure].title}."
        name:
            f"figure_{figure}"
        input:
            [f"results/{source}/{table}.parquet" for table in ALL_FIGURES[figure].tables],
        output:
            f"results/figures/{figure}.pdf",
            report(
                f"results/figures/{figure}.png",
                caption=f"../report/{figure}.rst",
                category=ALL_FIGURES[figure].group,
                labels={"figure": ALL_FIGURES[figure].title},
            ),
        log:
            f"results/logs/figures/{figure}.log",
        priority: FIRST
        localrule: True
        conda:
            "../envs/reversal_curse.yaml"
        params:
            figure=figure,
            source=source,
            variants=labels_of_variants(source),
            version=figure_version(figure),
        message:
            "render {params.figure}"
        shell:
            "python -m reversal_curse figure {params.figure} --tables {input:q} --output {output:q} "
            "--variants {params.variants:q} > {log:q} 2>&1"
