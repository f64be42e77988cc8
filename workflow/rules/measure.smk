"""Measures of a run's checkpoints, and the tables that runs and measures are collected into."""


def measure_of(wildcards):
    return or_exit(pipeline.aggregate, wildcards.study, "measures", wildcards.measure)


def measure_component(wildcards):
    return measure_of(wildcards).component


def measure_settings(wildcards):
    return measure_of(wildcards).settings


def measure_code(wildcards):
    return pipeline.code(
        "measure", [*run_of(wildcards).built, *measure_of(wildcards).components]
    )


def measure_asks(name):
    """Return a resource function: what the study says that its measuring jobs need."""

    def amount(wildcards):
        return getattr(measure_of(wildcards).resources, name)

    return amount


# A run is input by its run.json, which holds the checksums of its checkpoints.
rule measure:
    input:
        run=f"{RUN_FOLDER}/run.json",
        data=run_data,
        images=ancient(run_images),
    output:
        f"{{preset}}/{{study}}/measures/{{measure}}/{RUN}.parquet",
    log:
        f"{{preset}}/{{study}}/logs/measure/{{measure}}/{RUN}.log",
    benchmark:
        f"{{preset}}/{{study}}/logs/measure/{{measure}}/{RUN}.jsonl"
    conda:
        "../../envs/forgetting.yaml"
    threads: measure_asks("threads")
    resources:
        mem_mb=measure_asks("mem_mb"),
        runtime=measure_asks("runtime"),
        gpu=measure_asks("gpu"),
        device=pipeline.config.device,
    params:
        component=measure_component,
        settings=measure_settings,
        code=measure_code,
    shell:
        "python -m forgetting measure --run {input.run:q} --measure {params.component}"
        " --settings {params.settings:q} --data {input.data:q} --code {params.code}"
        " --device {resources.device} --out {output:q} >> {log:q} 2>&1"


def table_sources(kind):
    """Return an input function: what a table is made from, of one kind."""

    def paths(wildcards):
        found = or_exit(
            pipeline.table_sources, wildcards.study, wildcards.table, wildcards.scope
        )
        return found[kind]

    return paths


def table_about(wildcards):
    return (
        or_exit(pipeline.about, wildcards.study) if wildcards.table == "runs" else "{}"
    )


def collect_code(wildcards):
    return pipeline.code("collect", [])


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
        about=table_about,
        code=collect_code,
    shell:
        "python -m forgetting collect --table {wildcards.table} --study {wildcards.study}"
        " --preset {wildcards.preset} --runs {input.runs:q} --measures {input.measures:q}"
        " --tables {input.tables:q} --about {params.about:q} --code {params.code}"
        " --out {output:q} >> {log:q} 2>&1"
