"""Figures: one rule per figure of the config."""


rule figures:
    "Every figure of the config, and the numbers that it draws."
    input:
        figure_files(),
    localrule: True


# What the report shows of each figure.
SHOWN = next(end for end in ("png", "svg", "pdf") if end in CONFIG.style.formats)

for figure, drawn in FIGURES.items():

    rule:
        f"The figure {figure}: {drawn.title}."
        name:
            f"figure_{figure}"
        input:
            lambda wildcards, figure=figure: inputs_of_figure(figure),
        output:
            report(
                f"{OWN}/figures/{figure}.{SHOWN}",
                caption="../report/figure.rst",
                category=drawn.group,
                labels={"figure": drawn.title},
            ),
            [
                str(path)
                for path in PRODUCTS.files(f"figures/{figure}")
                if path.suffix != f".{SHOWN}"
            ],
        log:
            f"{OWN}/logs/figures/{figure}.log",
        priority: FIRST
        localrule: True
        conda:
            "../envs/reversal_curse.yaml"
        params:
            figure=figure,
            caption=lambda wildcards, figure=figure: caption_of_figure(figure),
        message:
            "render {params.figure}"
        shell:
            f"python -m reversal_curse figure {{params.figure}} --config {SNAPSHOT} > {{log:q}} 2>&1"
