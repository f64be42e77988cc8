"""Training: one job for each pack of seeds of each strategy, network and benchmark."""


rule train:
    input:
        data=run_data,
        images=ancient(run_images),
        start=run_parent,
    output:
        run=f"{TRAINED}/runs/{RUN}/run.json",
        accuracy=f"{TRAINED}/runs/{RUN}/accuracy.parquet",
        history=f"{TRAINED}/runs/{RUN}/history.parquet",
    log:
        f"{TRAINED}/logs/train/{RUN}.log",
    benchmark:
        f"{TRAINED}/logs/train/{RUN}.jsonl"
    conda:
        "../../envs/forgetting.yaml"
    threads: field(run_of, "resources", "threads")
    resources:
        mem_mb=field(run_of, "resources", "mem_mb"),
        runtime=field(run_of, "resources", "runtime"),
        disk_mb=field(run_of, "resources", "disk_mb"),
        gpu=gpus(run_of),
        device=pipeline.config.device,
        jobs_per_gpu=pipeline.config.jobs_per_gpu,
    params:
        benchmark=field(run_of, "parts", "benchmark"),
        architecture=field(run_of, "parts", "architecture"),
        strategy=field(run_of, "parts", "strategy"),
        training=field(run_of, "parts", "training"),
        seeds=field(run_of, "seeds_json"),
        code=code("train", run_of),
    shell:
        "python -m forgetting train --study {wildcards.study} --preset {wildcards.preset}"
        " --benchmark {params.benchmark:q} --architecture {params.architecture:q}"
        " --strategy {params.strategy:q} --training {params.training:q} --seeds {params.seeds:q}"
        " --data {input.data:q} --start {input.start:q} --code {params.code}"
        " --device {resources.device} --gpu {resources.gpu}"
        " --jobs-per-gpu {resources.jobs_per_gpu}"
        ' --out "$(dirname {output.run:q})" >> {log:q} 2>&1'
