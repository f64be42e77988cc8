"""The comparison across studies: the files it is made from, and those that it makes."""

from forgetting.entries import canonical
from forgetting.errors import UserError
from forgetting.pipeline import FOLDER, Pipeline, about_benchmarks

ACROSS = "across"
"""The target, the folder, and what measures taken for it say."""
SPECTRA = "hessian"
"""The measure whose spectra are compared with the instruments."""
FIGURES = ("instruments_over_tasks", "held_out_prediction")
"""Functions of figures/across.py."""


class Comparison:
    """Everything that the rules need to know of it."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Compare the studies that a pipeline's configuration chooses."""
        self._pipeline = pipeline
        self._names = [name for name in pipeline.chosen if pipeline.takes(name, ACROSS)]

    def sources(self, scope: str) -> dict[str, list[str]]:
        """Return the files that the comparison is made from, by kind.

        ``runs``; ``instruments`` of these runs; and ``spectra`` of them, where their study takes
        any. With a ``scope`` only of the runs that ``only`` selects.

        Raises:
            UserError: No study has instruments under this preset, or no selected run has.
        """
        found: dict[str, list[str]] = {"runs": [], "instruments": [], "spectra": []}
        for name in self._names:
            plan, folder = self._pipeline.plan(name), f"{self._pipeline.preset}/{name}"
            asked = {*(plan.selected if scope else plan.runs)}
            taken = [
                (f"{folder}/measures/{measure}/{path}.parquet", path)
                for measure, about in plan.across.items()
                for path in about.needs
                if path in asked
            ]
            runs = dict.fromkeys(path for _, path in taken)
            found["instruments"] += [file for file, _ in taken]
            found["runs"] += [f"{folder}/runs/{path}/run.json" for path in runs]
            found["spectra"] += [
                f"{folder}/measures/{measure}/{path}.parquet"
                for measure, about in plan.own.items()
                if about.component == SPECTRA
                for path in about.needs
                if path in runs
            ]
        if not found["runs"]:
            raise self._nothing()
        return found

    def files(self) -> list[str]:
        """Return the files of the comparison, and what is behind them.

        Raises:
            UserError: From `sources`.
        """
        pipeline = self._pipeline
        behind = [path for paths in self.sources(pipeline.scope).values() for path in paths]
        folder = FOLDER.format(preset=pipeline.preset, study=ACROSS, scope=pipeline.scope)
        tables = [f"tables/{name}.csv" for name in ("instruments", "runs", "prediction")]
        figures = [f"figures/{name}.pdf" for name in FIGURES]
        made = [f"{folder}/{name}" for name in (*tables, *figures, f"{ACROSS}.md")]
        return [*behind, *made]

    def about(self) -> str:
        """Return what is said of the benchmarks of every study compared, by study, as JSON."""
        plans = {name: self._pipeline.plan(name) for name in self._names}
        return canonical({name: about_benchmarks(p.runs.values()) for name, p in plans.items()})

    def _nothing(self) -> UserError:
        config, studies = self._pipeline.config, self._pipeline.studies
        having = [name for name in studies if self._pipeline.takes(name, ACROSS)]
        if not having:
            return UserError(
                f"across: with preset {config.preset} no study has a measure of target across, so "
                "there is nothing to compare; type\nsnakemake --cores 2 across --config "
                "preset=small data_dir=/path/to/data"
            )
        if config.only is not None:
            return UserError(
                f"across: only={config.only} leaves no run that has a measure of target "
                "across; leave it out, or name runs on labelled images"
            )
        return UserError(
            f"across: studies={','.join(self._pipeline.chosen)} has no measure of target across; "
            f"there are {', '.join(having)}"
        )
