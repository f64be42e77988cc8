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

from forgetting import retention
from forgetting.commands import cost, prune
from forgetting.comparison import Comparison
from forgetting.launch import calm, guard, or_exit, use_this_clone
from forgetting.pipeline import Pipeline

# Jobs run this clone's code with this interpreter, whatever is installed or activated.
shell.prefix(or_exit(use_this_clone, ROOT))
or_exit(Pipeline.check_file, ROOT)


configfile: f"{ROOT}/config.yaml"


pipeline = or_exit(Pipeline.load, ROOT, config)
comparison = Comparison(pipeline)
if workflow.is_main_process:
    or_exit(guard, pipeline.results, workflow.touch)


# Records and lock live inside the results: they can be moved, copied, used from another clone.
workdir: pipeline.results


onstart:
    calm(workflow.scheduler)
    or_exit(retention.check, workflow.dag.needrun_jobs(), pipeline.results)


onsuccess:
    if not workflow.touch:
        prune.release(pipeline)
    cost.write(pipeline.results, pipeline.preset)


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/draw.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/across.smk"


ALL = ["tables", "figures", "judgement"]


rule all:
    default_target: True
    input:
        ending(pipeline.everything, behind=ALL),
        pipeline.scorecard(),


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


rule across:
    input:
        lambda wildcards: or_exit(comparison.files),


rule cost:
    log:
        "logs/cost.log",
    localrule: True
    conda:
        "envs/forgetting.yaml"
    params:
        preset=pipeline.preset,
    shell:
        'python -m forgetting cost --preset {params.preset:q} --results "$PWD" 2>&1'
        " | tee -a {log:q}"


rule partial:
    log:
        "logs/partial.log",
    localrule: True
    conda:
        "envs/forgetting.yaml"
    params:
        root=str(ROOT),
        config=config_json,
    shell:
        "python -m forgetting partial --root {params.root:q} --config {params.config:q} 2>&1"
        " | tee -a {log:q}"


# Last, because a study may not be called like another rule.
for _study in or_exit(pipeline.named_apart, [rule.name for rule in workflow.rules]):

    rule:
        name:
            _study
        input:
            ending(pipeline.everything, [_study], behind=ALL),
