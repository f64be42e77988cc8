"""A dry run of the paper preset of all studies, and our part in it.

A dry run is Snakemake's own; our part is what the Snakefile asks of the package: every study read,
checked and planned, and a fingerprint of the code of every job. Data count as present: those that
can be downloaded may be, and of the others there is an empty file where each kind of file belongs.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks._harness import Row, Scale
from benchmarks.quick_preset import ROOT, run, snakemake

PARSE = """
import time
start = time.process_time()
from pathlib import Path
from forgetting.pipeline import Pipeline
config = {"preset": "PRESET", "download": True, "data_dir": "DATA"}
pipeline = Pipeline.load(Path.cwd(), config)
for study in pipeline.studies:
    for each in pipeline.plan(study).runs.values():
        pipeline.code("train", each.components)
    pipeline.everything(study)
print(time.process_time() - start)
"""


PLACES = (
    "celeba/list_attr_celeba.txt",
    "celeba/list_eval_partition.txt",
    "celeba/img_align_celeba/000001.jpg",
    "continual-imagenet/classes/0.npy",
    "imagenet/train/n01443537/n01443537_1.JPEG",
    "imagenet/val/n01443537/ILSVRC2012_val_1.JPEG",
)


def rows(scale: Scale) -> Iterator[Row]:
    preset = "quick" if scale.tiny else "paper"
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        for place in PLACES:
            (data / place).parent.mkdir(parents=True, exist_ok=True)
            (data / place).touch()
        parse = PARSE.replace("PRESET", preset).replace("DATA", str(data))

        def ours() -> float:
            python = [sys.executable, "-c", parse]
            return float(run(["/usr/bin/env", f"PYTHONPATH={ROOT / 'workflow'}", *python]).shown)

        def dry() -> float:
            config = ["download=true", f"data_dir={data}", f"results={folder}/results"]
            given = ["--config", f"preset={preset}", *config]
            return snakemake("--cores", "2", "--dry-run", "--quiet", *given).wall

        yield Row.alone(f"dry run of the {preset} preset, all studies", dry, 10.0)
        yield Row.alone(f"our part in parsing the {preset} preset, CPU seconds", ours, 1.0)
