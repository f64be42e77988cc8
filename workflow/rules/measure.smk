"""Measures of a run's checkpoints, and the tables that runs and measures are collected into."""


# A run is input by its run.json, which holds the checksums of its checkpoints.
rule measure:
    input:
        run=f"{RUN_FOLDER}/run.json",
        against=runs_compared,
        data=run_data,
        images=ancient(run_images),
    output:
        f"{{preset}}/{{study}}/measures/{{measure}}/{RUN}.parquet",
    log:
        f"{{preset}}/{{study}}/logs/measure/{{measure}}/{RUN}.log",
    benchmark:
        f"{{preset}}/{{study}}/logs/measure/{{measure}}/{RUN}.jsonl"
    wildcard_constraints:
        study=either(pipeline.measured(here=False)),
    conda:
        "../../envs/forgetting.yaml"
    threads: field(measure_of, "resources", "threads")
    resources:
        mem_mb=field(measure_of, "resources", "mem_mb"),
        runtime=field(measure_of, "resources", "runtime"),
        gpu=gpus(measure_of),
        device=pipeline.config.device,
        jobs_per_gpu=pipeline.config.jobs_per_gpu,
    params:
        against=named_runs,
        component=field(measure_of, "component"),
        settings=field(measure_of, "settings"),
        code=measure_code,
    shell:
        "python -m forgetting measure --run {input.run:q} --measure {params.component}"
        " --settings {params.settings:q} --data {input.data:q} --against {params.against}"
        " --code {params.code} --device {resources.device} --gpu {resources.gpu}"
        " --jobs-per-gpu {resources.jobs_per_gpu} --out {output:q} >> {log:q} 2>&1"


# On a cluster, measures that take less time than a cluster job costs are taken by Snakemake itself.
use rule measure as measure_here with:
    wildcard_constraints:
        study=either(pipeline.measured(here=True)),
    localrule: True


rule collect:
    input:
        runs=table_sources("runs"),
        measures=table_sources("measures"),
        tables=table_sources("tables"),
    output:
        "{preset}/{study}{scope}/tables/{table}.csv",
    log:
        "{preset}/{study}{scope}/logs/collect/{table}.log",
    benchmark:
        "{preset}/{study}{scope}/logs/collect/{table}.jsonl"
    localrule: True
    conda:
        "../../envs/forgetting.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        runs=in_braces("runs"),
        measures=in_braces("measures"),
        about=table_about,
        code=code("collect"),
    shell:
        "python -m forgetting collect --table {wildcards.table} --study {wildcards.study}"
        " --preset {wildcards.preset} --runs {params.runs} --measures {params.measures}"
        " --tables {input.tables:q} --about {params.about:q} --code {params.code}"
        " --out {output:q} >> {log:q} 2>&1"
