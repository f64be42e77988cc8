"""The whole pipeline: data -> training -> measures -> tables -> figures, claims, scorecard.

What is run stands in config.yaml, the studies in workflow/studies, the work in the package
workflow/forgetting; the rules only say which file is made from which, by which command.
"""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

ROOT = Path(workflow.basedir)
sys.path.insert(0, f"{ROOT}/workflow")

from forgetting.launch import calm, guard, or_exit, use_this_clone
from forgetting.pipeline import Pipeline

# Jobs run this clone's code with this interpreter, whatever is installed or activated.
shell.prefix(use_this_clone(ROOT))
or_exit(Pipeline.check_file, ROOT)


configfile: f"{ROOT}/config.yaml"


pipeline = or_exit(Pipeline.load, ROOT, config)
if workflow.is_main_process:
    or_exit(guard, pipeline.results, workflow.touch)


# Records and lock live inside the results: they can be moved, copied, used from another clone.
workdir: pipeline.results


onstart:
    calm(workflow.scheduler)


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/draw.smk"
include: "workflow/rules/tune.smk"


ALL = ["tables", "figures", "judgement"]


rule all:
    default_target: True
    input:
        ending(pipeline.everything, behind=ALL),
        pipeline.scorecard(),


for _study in pipeline.studies:

    rule:
        name:
            _study
        input:
            ending(pipeline.everything, [_study], behind=ALL),


rule figures:
    input:
        ending(pipeline.figures, behind=["figures"]),


rule tables:
    input:
        ending(pipeline.tables, behind=["tables"]),


rule scorecard:
    input:
        ending(pipeline.claims, behind=["figures", "judgement"]),
        ending(pipeline.figures),
        pipeline.scorecard(),


rule tune:
    input:
        ending(pipeline.tuned_files, pipeline.tuned or None),
        ending(pipeline.tuning_runs, pipeline.tuned or None),


rule partial:
    log:
        "logs/partial.log",
    localrule: True
    conda:
        "envs/forgetting.yaml"
    params:
        root=str(ROOT),
        config=pipeline.config_json,
    shell:
        "python -m forgetting partial --root {params.root:q} --config {params.config:q} 2>&1"
        " | tee -a {log:q}"
