"""A dry run of the paper preset of all studies, and our part in it.

A dry run is Snakemake's own; our part is what the Snakefile asks of the package: every study read,
checked and planned, and a fingerprint of the code of every job. Data count as present, since they
may be downloaded.
"""

import sys
import tempfile
from collections.abc import Iterator

from benchmarks._harness import Row, Scale
from benchmarks.quick_preset import ROOT, run, snakemake

PARSE = """
import time
start = time.process_time()
from pathlib import Path
from forgetting.pipeline import Pipeline
pipeline = Pipeline.load(Path.cwd(), {"preset": "PRESET", "download": True})
for study in pipeline.studies:
    for each in pipeline.plan(study).runs.values():
        pipeline.code("train", each.components)
    pipeline.everything(study)
print(time.process_time() - start)
"""


def rows(scale: Scale) -> Iterator[Row]:
    preset = "quick" if scale.tiny else "paper"
    parse = PARSE.replace("PRESET", preset)

    def ours() -> float:
        python = [sys.executable, "-c", parse]
        return float(run(["/usr/bin/env", f"PYTHONPATH={ROOT / 'workflow'}", *python]).shown)

    def dry() -> float:
        with tempfile.TemporaryDirectory() as folder:
            config = [f"preset={preset}", "download=true", f"results={folder}/results"]
            return snakemake("--cores", "2", "--dry-run", "--quiet", "--config", *config).wall

    yield Row.alone(f"dry run of the {preset} preset, all studies", dry, 10.0)
    yield Row.alone(f"our part in parsing the {preset} preset, CPU seconds", ours, 1.0)
