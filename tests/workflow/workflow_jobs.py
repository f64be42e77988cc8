"""The jobs of the tiny study, and what follows from training or measuring again."""

RUNS = ("mlp/sgd/0", "mlp/lwf/0", "wide/sgd/0")
MEASURED = {f"measure erank/{run}" for run in RUNS}
TABLES = {f"collect {table}" for table in ("accuracy", "runs", "scores", "erank", "summary")}
DRAWN = {"draw average_accuracy", "draw activation"}
ENDS = {"judge", "score"}
ALL = {"prepare digits"} | {f"train {run}" for run in RUNS} | MEASURED | TABLES | DRAWN | ENDS


def after(jobs: set[str]) -> set[str]:
    """Return these jobs (all trainings, all measurements or all figures) and what follows."""
    if jobs and all(job.startswith("draw") for job in jobs):
        return jobs | {"score"}
    if jobs and all(job.startswith("measure") for job in jobs):
        erank = {"collect erank", "collect summary", "draw activation"}
        return jobs | erank | {"score"}
    measured = {job.replace("train ", "measure erank/") for job in jobs}
    return jobs | measured | TABLES | DRAWN | ENDS
