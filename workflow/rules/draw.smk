"""Figures, judged claims and the scorecard: all from tables, none with torch."""


def figure_of(wildcards):
    return or_exit(pipeline.aggregate, wildcards.study, "figures", wildcards.figure)


def figure_component(wildcards):
    return figure_of(wildcards).component


def figure_settings(wildcards):
    return figure_of(wildcards).settings


def figure_labels(wildcards):
    return figure_of(wildcards).labels


def figure_tables(wildcards):
    return tables_named(wildcards, figure_of(wildcards).needs)


def runs_table(wildcards):
    return tables_named(wildcards, ["runs"])


def draw_code(wildcards):
    return pipeline.code("draw", figure_of(wildcards).components)


# A rule for each caption, because a report's caption cannot depend on wildcards.
for (_study, _caption), _figures in pipeline.captions().items():

    rule:
        name:
            f"draw_{_study}_{Path(_caption).stem}"
        input:
            tables=figure_tables,
            runs=runs_table,
        output:
            pdf="{preset}/{study}{scope}/figures/{figure}.pdf",
            png=report(
                "{preset}/{study}{scope}/figures/{figure}.png",
                caption=f"../report/{_caption}",
                category=_study,
                labels=figure_labels,
            ),
            csv="{preset}/{study}{scope}/figures/{figure}.csv",
        log:
            "{preset}/{study}{scope}/logs/draw/{figure}.log",
        benchmark:
            "{preset}/{study}{scope}/logs/draw/{figure}.jsonl"
        wildcard_constraints:
            study=_study,
            figure="|".join(map(re.escape, _figures)),
        localrule: True
        conda:
            "../../envs/forgetting.yaml"
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            component=figure_component,
            settings=figure_settings,
            code=draw_code,
        shell:
            "python -m forgetting draw --study {wildcards.study} --figure {wildcards.figure:q}"
            " --component {params.component} --settings {params.settings:q}"
            " --tables {input.tables:q} --runs-table {input.runs:q} --code {params.code}"
            " --out {output.pdf:q} >> {log:q} 2>&1"


def claims_of(wildcards):
    return or_exit(pipeline.aggregate, wildcards.study, "judgement", "claims")


def claims_json(wildcards):
    return claims_of(wildcards).settings


def claims_tables(wildcards):
    return tables_named(wildcards, claims_of(wildcards).needs)


def judge_code(wildcards):
    return pipeline.code("judge", claims_of(wildcards).components)


rule judge:
    input:
        claims_tables,
    output:
        "{preset}/{study}{scope}/claims.csv",
    log:
        "{preset}/{study}{scope}/logs/judge.log",
    benchmark:
        "{preset}/{study}{scope}/logs/judge.jsonl"
    localrule: True
    conda:
        "../../envs/forgetting.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        claims=claims_json,
        code=judge_code,
    shell:
        "python -m forgetting judge --claims {params.claims:q} --tables {input:q}"
        " --code {params.code} --out {output:q} >> {log:q} 2>&1"


def judged_claims(wildcards):
    return or_exit(pipeline.judged)


def scored_figures(wildcards):
    return [
        path
        for study in pipeline.chosen
        for path in or_exit(pipeline.figures, study, "png")
    ]


def studies_described(wildcards):
    return pipeline.descriptions()


def scorecard_code(wildcards):
    return pipeline.code("scorecard", [])


rule score:
    input:
        claims=judged_claims,
        figures=scored_figures,
    output:
        page="{preset}{scope}/scorecard.html",
        text="{preset}{scope}/scorecard.md",
    log:
        "{preset}{scope}/logs/scorecard.log",
    benchmark:
        "{preset}{scope}/logs/scorecard.jsonl"
    localrule: True
    conda:
        "../../envs/forgetting.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        studies=studies_described,
        code=scorecard_code,
    shell:
        "python -m forgetting scorecard --preset {wildcards.preset} --studies {params.studies:q}"
        " --claims {input.claims:q} --figures {input.figures:q} --code {params.code}"
        " --out-html {output.page:q} --out-md {output.text:q} >> {log:q} 2>&1"
