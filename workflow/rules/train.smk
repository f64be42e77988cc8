"""Training: one job for each pack of seeds of each strategy, network and benchmark."""


def part(name):
    """Return a parameter function: one part of the run's specification, as canonical JSON."""

    def text(wildcards):
        return run_of(wildcards).parts[name]

    return text


def run_seeds(wildcards):
    return json.dumps(run_of(wildcards).seeds)


def train_code(wildcards):
    return pipeline.code("train", run_of(wildcards).components)


def run_parent(wildcards):
    """Return run.json of the run that this one continues, if any."""
    start = run_of(wildcards).start
    return (
        [f"{wildcards.preset}/{wildcards.study}/runs/{start}/run.json"] if start else []
    )


def asks(name):
    """Return a resource function: what the study says that its training jobs need."""

    def amount(wildcards):
        return getattr(run_of(wildcards).resources, name)

    return amount


rule train:
    input:
        data=run_data,
        images=ancient(run_images),
        start=run_parent,
    output:
        run=f"{RUN_FOLDER}/run.json",
        accuracy=f"{RUN_FOLDER}/accuracy.parquet",
        history=f"{RUN_FOLDER}/history.parquet",
    log:
        f"{{preset}}/{{study}}/logs/train/{RUN}.log",
    benchmark:
        f"{{preset}}/{{study}}/logs/train/{RUN}.jsonl"
    conda:
        "../../envs/forgetting.yaml"
    threads: asks("threads")
    resources:
        mem_mb=asks("mem_mb"),
        runtime=asks("runtime"),
        gpu=asks("gpu"),
        device=pipeline.config.device,
    params:
        benchmark=part("benchmark"),
        architecture=part("architecture"),
        strategy=part("strategy"),
        training=part("training"),
        seeds=run_seeds,
        code=train_code,
    shell:
        "python -m forgetting train --study {wildcards.study} --preset {wildcards.preset}"
        " --benchmark {params.benchmark:q} --architecture {params.architecture:q}"
        " --strategy {params.strategy:q} --training {params.training:q} --seeds {params.seeds:q}"
        " --data {input.data:q} --start {input.start:q} --code {params.code}"
        ' --device {resources.device} --out "$(dirname {output.run:q})" >> {log:q} 2>&1'
