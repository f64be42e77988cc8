"""Figures, judged claims and the scorecard: all from tables, none with torch."""

# A rule for each caption, because a report's caption cannot depend on wildcards.
for (_study, _caption), _figures in pipeline.captions().items():

    rule:
        name:
            f"draw_{_study}_{Path(_caption).stem}"
        input:
            tables=tables_of(figure_of),
            runs="{preset}/{study}{scope}/tables/runs.csv",
        output:
            pdf="{preset}/{study}{scope}/figures/{figure}.pdf",
            png=report(
                "{preset}/{study}{scope}/figures/{figure}.png",
                caption=f"../report/{_caption}",
                category=_study,
                labels=field(figure_of, "labels"),
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
            component=field(figure_of, "component"),
            settings=field(figure_of, "settings"),
            code=code("draw", figure_of),
        shell:
            "python -m forgetting draw --study {wildcards.study} --figure {wildcards.figure:q}"
            " --component {params.component} --settings {params.settings:q}"
            " --tables {input.tables:q} --runs-table {input.runs:q} --code {params.code}"
            " --out {output.pdf:q} >> {log:q} 2>&1"


rule judge:
    input:
        tables_of(claims_of),
    output:
        verdicts="{preset}/{study}{scope}/claims.csv",
        basis="{preset}/{study}{scope}/claims.json",
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
        claims=field(claims_of, "settings"),
        code=code("judge", claims_of),
    shell:
        "python -m forgetting judge --claims {params.claims:q} --tables {input:q}"
        " --code {params.code} --out {output.verdicts:q} --out-basis {output.basis:q}"
        " >> {log:q} 2>&1"


rule score:
    input:
        claims=judged_claims,
        basis=bases_of_claims,
        figures=scored_figures,
    output:
        page=report(
            "{preset}{scope}/scorecard.html",
            caption="../report/scorecard.rst",
            category="Scorecard",
            labels={"page": "every claim with its evidence"},
        ),
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
        code=code("scorecard"),
    shell:
        "python -m forgetting scorecard --preset {wildcards.preset} --studies {params.studies:q}"
        " --home {wildcards.preset} --claims {input.claims:q} --figures {input.figures:q}"
        " --code {params.code}"
        " --out-html {output.page:q} --out-md {output.text:q} >> {log:q} 2>&1"
