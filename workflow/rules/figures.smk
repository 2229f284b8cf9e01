"""Figures: one rule per figure of the config."""


rule figures:
    "Every figure of the config, as PDF and PNG."
    input:
        figure_files(),


for figure, drawn in FIGURES.items():

    rule:
        f"The figure {figure}: {drawn.title}."
        name:
            f"figure_{figure}"
        input:
            lambda wildcards, figure=figure: inputs_of_figure(figure),
        output:
            f"{OWN}/figures/{figure}.pdf",
            report(
                f"{OWN}/figures/{figure}.png",
                caption="../report/figure.rst",
                category=drawn.group,
                labels={"figure": drawn.title},
            ),
            f"{OWN}/figures/{figure}.svg",
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
