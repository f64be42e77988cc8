"""Glue between wildcards and the plan: what a job is given is decided in forgetting.pipeline."""

import json
import re

from forgetting import sources
from forgetting.seeds import PACK
from forgetting.study import NAME

RUN = "{benchmark}/{architecture}/{strategy}/seeds{pack}"
RUN_FOLDER = f"{{preset}}/{{study}}/runs/{RUN}"
NAME_OF_DATA = r"[A-Za-z0-9][A-Za-z0-9_.~-]*"


wildcard_constraints:
    preset=re.escape(pipeline.preset),
    study="|".join(map(re.escape, pipeline.studies)),
    scope=f"(?:{pipeline.apart})?",
    benchmark=NAME,
    architecture=NAME,
    strategy=NAME,
    measure=NAME,
    table=NAME,
    figure=NAME,
    pack=PACK,


def ending(files, studies=None):
    """Return an input function: these files of some studies, or of those config.yaml names."""

    def paths(wildcards):
        return [
            path
            for study in studies or pipeline.chosen
            for path in or_exit(files, study)
        ]

    return paths


def run_of(wildcards):
    """Return the run that a file belongs to."""
    return or_exit(pipeline.run, wildcards.study, RUN.format(**wildcards))


def run_data(wildcards):
    """Return the descriptions of a run's data sets, which hold their checksums."""
    return [f"data/{key}.json" for key in run_of(wildcards).data]


def run_images(wildcards):
    """Return the data sets themselves; ancient, because their descriptions stand for them."""
    return [f"data/{key}.safetensors" for key in run_of(wildcards).data]


def tables_named(wildcards, names):
    """Return the files of tables beside the file that is made from them."""
    return [
        "{preset}/{study}{scope}/tables/".format(**wildcards) + f"{name}.csv"
        for name in names
    ]
