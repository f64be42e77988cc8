"""Data sets: whatever they are published as, once, to arrays of bytes and a description."""


# The raw files are no input: touching them must redo nothing. Their checksum is in the source.
rule prepare:
    output:
        images="data/{key}.safetensors",
        about="data/{key}.json",
    log:
        "logs/prepare/{key}.log",
    benchmark:
        "logs/prepare/{key}.jsonl"
    wildcard_constraints:
        key=NAME_OF_DATA,
    # Once for each data set, in seconds; and often only a cluster's login node can download.
    localrule: True
    conda:
        "../../envs/forgetting.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
        data_dir=str(pipeline.data_dir),
        download="--download" if pipeline.config.download else "",
    params:
        source=source_json,
        code=prepare_code,
    shell:
        "python -m forgetting prepare --source {params.source:q} --code {params.code}"
        " --data-dir {resources.data_dir:q} {resources.download}"
        " --out {output.images:q} --out-json {output.about:q} >> {log:q} 2>&1"
