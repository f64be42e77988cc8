"""Tuning: what the grids of a study's section ``tune`` propose. Rule ``train`` trains them."""


rule propose:
    input:
        tuning_runs,
    output:
        proposal="{preset}/{study}{scope}/tune/proposal.yaml",
        scores="{preset}/{study}{scope}/tune/scores.csv",
    log:
        "{preset}/{study}{scope}/logs/tune.log",
    benchmark:
        "{preset}/{study}{scope}/logs/tune.jsonl"
    localrule: True
    conda:
        "../../envs/forgetting.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
        data_dir=str(pipeline.data_dir),
        download="--download" if pipeline.config.download else "",
        only=(
            ""
            if pipeline.config.only is None
            else shlex.join([f"--only={pipeline.config.only}"])
        ),
    params:
        searches=searches_of,
        code=code("tune"),
    shell:
        "python -m forgetting tune {wildcards.study} --preset {wildcards.preset}"
        ' --results "$PWD" --data-dir {resources.data_dir:q} {resources.download}'
        " {resources.only} --searches {params.searches} --code {params.code} 2>&1 | tee {log:q}"
