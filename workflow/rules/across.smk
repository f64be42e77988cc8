"""The comparison across studies: every run by every study's instruments, on demand."""

from forgetting.comparison import FIGURES


rule gather:
    input:
        runs=across_sources("runs"),
        instruments=across_sources("instruments"),
        spectra=across_sources("spectra"),
    output:
        table="{preset}/across{scope}/tables/instruments.csv",
        runs="{preset}/across{scope}/tables/runs.csv",
    log:
        "{preset}/across{scope}/logs/gather.log",
    benchmark:
        "{preset}/across{scope}/logs/gather.jsonl"
    localrule: True
    conda:
        "../../envs/forgetting.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        runs=in_braces("runs"),
        instruments=in_braces("instruments"),
        spectra=in_braces("spectra"),
        about=abouts,
        code=code("gather"),
    shell:
        "python -m forgetting gather --runs {params.runs} --instruments {params.instruments}"
        " --spectra {params.spectra} --about {params.about:q} --code {params.code}"
        " --out {output.table:q} --out-runs {output.runs:q} >> {log:q} 2>&1"


rule predict:
    input:
        "{preset}/across{scope}/tables/instruments.csv",
    output:
        table="{preset}/across{scope}/tables/prediction.csv",
        text="{preset}/across{scope}/across.md",
    log:
        "{preset}/across{scope}/logs/predict.log",
    benchmark:
        "{preset}/across{scope}/logs/predict.jsonl"
    localrule: True
    conda:
        "../../envs/forgetting.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("predict"),
    shell:
        "python -m forgetting predict --instruments {input:q} --preset {wildcards.preset}"
        " --code {params.code} --out {output.table:q} --out-md {output.text:q} >> {log:q} 2>&1"


rule draw_across:
    input:
        tables=expand(
            "{{preset}}/across{{scope}}/tables/{name}.csv",
            name=["instruments", "prediction"],
        ),
        runs="{preset}/across{scope}/tables/runs.csv",
    output:
        pdf="{preset}/across{scope}/figures/{figure}.pdf",
        png=report(
            "{preset}/across{scope}/figures/{figure}.png",
            caption="../report/across.rst",
            category="across",
            labels={"figure": "{figure}"},
        ),
        csv="{preset}/across{scope}/figures/{figure}.csv",
    log:
        "{preset}/across{scope}/logs/draw/{figure}.log",
    benchmark:
        "{preset}/across{scope}/logs/draw/{figure}.jsonl"
    wildcard_constraints:
        figure=either(FIGURES),
    localrule: True
    conda:
        "../../envs/forgetting.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=across_drawn,
    shell:
        "python -m forgetting draw --study across --figure {wildcards.figure:q}"
        " --component {wildcards.figure} --tables {input.tables:q}"
        " --runs-table {input.runs:q} --code {params.code} --out {output.pdf:q} >> {log:q} 2>&1"
