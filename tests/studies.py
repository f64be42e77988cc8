"""A small repository around the real components, for tests of studies and configurations."""

import copy
from pathlib import Path
from typing import Any

import yaml

from forgetting import configuration
from forgetting.pipeline import Pipeline

REPOSITORY = Path(__file__).parents[1]
TINY: dict[str, Any] = {
    "study": "collapse",
    "title": "Tiny",
    "paper": {"title": "T", "authors": "A", "year": 2026, "arxiv": "2603.04580"},
    "benchmarks": {
        "split-digits": {
            "component": "split",
            "dataset": "digits",
            "metric": "task_masked",
            "settings": {"tasks": 5},
        }
    },
    "architectures": {
        "mlp": {"settings": {"hidden": [8]}},
        "wide": {"component": "mlp", "settings": {"hidden": [16]}},
    },
    "strategies": {"sgd": {}, "lwf": {"settings": {"alpha": 2.0}}, "experience_replay": {}},
    "training": {"learning_rate": 0.1, "batch_size": 32, "checkpoints": [0, 1, 5]},
    "seeds": [0],
    "runs": {
        "narrow": {
            "benchmarks": ["split-digits"],
            "architectures": ["mlp"],
            "strategies": ["sgd", "lwf"],
        },
        "wide": {
            "benchmarks": ["split-digits"],
            "architectures": ["wide"],
            "strategies": ["sgd"],
            "training": {"batch_size": 16},
        },
    },
    "measures": {"erank": {"settings": {"probe": {"images": 50}}}},
    "tables": {"scores": {"from": ["accuracy"]}, "summary": {"from": ["scores", "runs", "erank"]}},
    "figures": {
        "average_accuracy": {"settings": {"benchmark": "split-digits"}, "tables": ["scores"]},
        "activation": {
            "component": "activation_erank",
            "settings": {"benchmark": "split-digits"},
            "tables": ["erank"],
        },
    },
    "claims": {
        "forgets": {
            "statement": "SGD forgets",
            "source": "nowhere",
            "statistic": "value",
            "settings": {
                "table": "scores",
                "column": "forgetting",
                "where": {
                    "strategy": "sgd",
                    "architecture": "mlp",
                    "metric": "scenario",
                    "after_task": "last",
                },
            },
            "holds": {"above": 0.05},
        }
    },
    "evidence": "reduced",
    "presets": {"quick": {}, "small": {"training": {"epochs": 3}}},
}


def tiny() -> dict[str, Any]:
    """Return a study of three small runs that may be changed."""
    return copy.deepcopy(TINY)


def write(root: Path, study: dict[str, Any], **config: Any) -> Path:
    """Write a repository with this study and configuration; return its root."""
    folder = root / "workflow" / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{study.get('study', 'collapse')}.yaml").write_text(yaml.safe_dump(study))
    (root / "config.yaml").write_text(yaml.safe_dump({"preset": "quick", **config}))
    return root


def plan_of(root: Path, study: dict[str, Any], **config: Any) -> Any:
    """Return the plan of the study."""
    return pipeline_of(root, study, **config).plan(study["study"])


def pipeline_of(root: Path, study: dict[str, Any], **config: Any) -> Pipeline:
    """Return the pipeline of a repository with this study."""
    return Pipeline(*(write(root, study, **config), *configuration.load(root)))
