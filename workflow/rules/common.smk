"""Glue between wildcards and the plan: what a job is given is decided in forgetting.pipeline."""

import re
import shlex
from collections.abc import Mapping

from forgetting import sources
from forgetting.braces import braced
from forgetting.naming import NAME
from forgetting.seeds import PACK

RUN = "{benchmark}/{architecture}/{strategy}/seeds{pack}"
RUN_FOLDER = f"{{preset}}/{{study}}/runs/{RUN}"
TRAINED = "{preset}/{study}{tuning}"  # a run of the study or of its grids
NAME_OF_DATA = r"[A-Za-z0-9][A-Za-z0-9_.~-]*"


def either(names):
    """Return a pattern that matches these names; nothing when there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    preset=re.escape(pipeline.preset),
    study=either(pipeline.studies),
    scope=f"(?:{pipeline.apart})?",
    tuning=f"(?:{pipeline.grids})?",
    benchmark=NAME,
    architecture=NAME,
    strategy=NAME,
    measure=NAME,
    table=NAME,
    figure=NAME,
    pack=PACK,


def ending(files, studies=None, behind=()):
    """Return an input function: these files of some studies, or of those config.yaml names.

    ``behind``: and what tables, figures or the judgement are made from.
    """

    def paths(wildcards):
        found = {}
        for study in studies or pipeline.chosen:
            if behind:
                found |= dict.fromkeys(or_exit(pipeline.behind, study, *behind))
            found |= dict.fromkeys(or_exit(files, study))
        return [*found]

    return paths


# What a job is about, found by its wildcards.


def source_of(wildcards):
    return or_exit(pipeline.source, wildcards.key)


def run_of(wildcards):
    tuning = bool(wildcards.get("tuning"))
    return or_exit(pipeline.run, wildcards.study, RUN.format(**wildcards), tuning)


def measure_of(wildcards):
    return or_exit(pipeline.aggregate, wildcards.study, "measures", wildcards.measure)


def figure_of(wildcards):
    return or_exit(pipeline.aggregate, wildcards.study, "figures", wildcards.figure)


def claims_of(wildcards):
    return or_exit(pipeline.aggregate, wildcards.study, "judgement", "claims")


# What is said of it: functions for params and resources.


def field(find, *names):
    """Return a function: an attribute (of an attribute) of what ``find`` finds."""

    def value(wildcards):
        found = find(wildcards)
        for name in names:
            found = found[name] if isinstance(found, Mapping) else getattr(found, name)
        return found

    return value


def gpus(find):
    """Return a function: the GPUs that the job of what is found asks for."""

    def number(wildcards):
        return pipeline.gpus(find(wildcards).resources)

    return number


def code(command, find=None):
    """Return a function: the fingerprint of a command with the components of what is found."""

    def fingerprint(wildcards):
        return pipeline.code(command, find(wildcards).components if find else [])

    return fingerprint


def prepare_code(wildcards):
    return pipeline.code("prepare", [("data", source_of(wildcards).component)])


def measure_code(wildcards):
    """A checkpoint is looked at through its benchmark and its network."""
    return pipeline.code(
        "measure", [*run_of(wildcards).built, *measure_of(wildcards).components]
    )


def source_json(wildcards):
    return sources.to_json(source_of(wildcards))


def table_about(wildcards):
    return (
        or_exit(pipeline.about, wildcards.study) if wildcards.table == "runs" else "{}"
    )


def studies_described(wildcards):
    return pipeline.descriptions()


def config_json(wildcards):
    return pipeline.config_json


def searches_of(wildcards):
    return or_exit(pipeline.tuning, wildcards.study).identity


# What it is made from: functions for inputs.


def run_data(wildcards):
    """Return the descriptions of a run's data sets, which hold their checksums."""
    return [f"data/{key}.json" for key in run_of(wildcards).data]


def run_images(wildcards):
    """Return the data sets themselves; ancient, because their descriptions stand for them."""
    return [f"data/{key}.safetensors" for key in run_of(wildcards).data]


def run_parent(wildcards):
    """Return run.json of the run that this one continues, if any."""
    start = run_of(wildcards).start
    return (
        [f"{wildcards.preset}/{wildcards.study}/runs/{start}/run.json"] if start else []
    )


def compared_with(wildcards):
    """Return run.json of each run that a measured run is compared with, by the measure's word."""
    paths = measure_of(wildcards).compared(run_of(wildcards))
    folder = f"{wildcards.preset}/{wildcards.study}/runs"
    return {role: f"{folder}/{path}/run.json" for role, path in paths.items()}


def runs_compared(wildcards):
    return [*compared_with(wildcards).values()]


def named_runs(wildcards):
    return shlex.join(
        f"{role}={path}" for role, path in compared_with(wildcards).items()
    )


def tuning_runs(wildcards):
    return or_exit(pipeline.tuning_runs, wildcards.study)


def table_sources(kind):
    """Return a function: what a table is made from, of one kind."""

    def paths(wildcards):
        return or_exit(
            pipeline.table_sources, wildcards.study, wildcards.table, wildcards.scope
        )[kind]

    return paths


def in_braces(kind):
    """Return a function: these inputs, of which there may be thousands, for bash to expand."""

    def text(wildcards, input):
        return braced(input[kind])

    return text


def tables_of(find):
    """Return a function: the tables that a figure or the claims need, beside their file."""

    def paths(wildcards):
        folder = "{preset}/{study}{scope}/tables".format(**wildcards)
        return [f"{folder}/{name}.csv" for name in find(wildcards).needs]

    return paths


def judged_claims(wildcards):
    return or_exit(pipeline.judged)


def bases_of_claims(wildcards):
    return [str(Path(path).with_suffix(".json")) for path in judged_claims(wildcards)]


def scored_figures(wildcards):
    return [
        path
        for study in pipeline.chosen
        for path in or_exit(pipeline.figures, study, "png")
    ]


# The comparison across studies.


def across_sources(kind):
    """Return a function: what the comparison is made from, of one kind."""

    def paths(wildcards):
        return or_exit(comparison.sources, wildcards.scope)[kind]

    return paths


def abouts(wildcards):
    return or_exit(comparison.about)


def across_drawn(wildcards):
    return pipeline.code("draw", [("figures", "across")])
