"""config.yaml and --config: which preset, which studies, where data and results are."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from forgetting.documents import Document
from forgetting.seeds import MOST
from forgetting.settings import Settings

STUDIES = "workflow/studies"
Keep = Literal["all", "last", "none"]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _place(value: str) -> str:
    if not value.strip() or re.search(r"[\x00-\x1f\x7f-\x9f]", value):
        raise ValueError("the path of a folder is needed, without control characters")
    try:
        Path(value).expanduser()
    except RuntimeError:
        raise ValueError("there is no such user; write the path of the home folder") from None
    return value


def _no_braces(value: str) -> str:
    if {*"{}"} & {*value}:
        raise ValueError("Snakemake reads { and } as wildcards; choose another name")
    return value


Place = Annotated[str, AfterValidator(_place)]


class Config(Settings):
    """What to run."""

    preset: str = "quick"
    """Size of the studies: quick (bundled data, minutes), small (real images), paper."""
    studies: (
        Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
        | None
    ) = None
    """Studies that `snakemake` builds without a target; all when left out."""
    seeds: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """Number of seeds, instead of those that the study lists."""
    only: str | None = None
    """Globs over benchmark/architecture/strategy/seedsPACK, with commas between them; what is made
    from the selected runs goes under partial/only/."""
    data_dir: Place = "data"
    """Folder of the raw data sets; may be read-only."""
    results: Annotated[Place, AfterValidator(_no_braces)] = "results"
    """Folder of everything generated, Snakemake's records included."""
    download: bool = False
    """Whether a data set that is missing from data_dir may be fetched."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks are trained; auto: on a GPU what the study asks one for, if there is one."""
    jobs_per_gpu: Annotated[int, Field(ge=1)] = 1
    """Jobs that share a GPU of one machine."""
    keep_checkpoints: Keep = "all"
    """Checkpoints that outlive a run's measures: all, its last or none."""


def load(root: Path, merged: Mapping[str, Any] | None = None) -> tuple[Config, Document]:
    """Read config.yaml of the repository, overridden by what Snakemake merged into it.

    The document is for messages about values that turn out to be wrong later.

    ``merged`` is Snakemake's ``config``: where it differs from the file, the value came from
    the command line, and a mistake in it is reported as such.

    Raises:
        UserError: The file or a value is wrong.
    """
    document = Document.read(root / "config.yaml", name="config.yaml")
    values = dict(document.raw if merged is None else merged)
    given = frozenset(k for k in values if k not in document.raw or values[k] != document.raw[k])
    document = Document(document.path, document.raw, command_line=given)
    config: Config = document.check(Config, values)
    for position, name in enumerate(config.studies or []):
        document.choose(("studies", position), name, studies(root), what="a study")
    return config, document


def studies(root: Path) -> list[str]:
    """Return the names of all studies, sorted."""
    return sorted(path.stem for path in (root / STUDIES).glob("*.yaml"))
