"""Snakemake, whose SLURM plugin looks at the queue every two seconds instead of ever more rarely.

The plugin (2.8) adds ten seconds to the time between two looks after every look that found no
finished job, and has no option against that.
"""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda _: 2, lambda _, seconds: None)

if __name__ == "__main__":
    sys.argv[0] = "snakemake"
    main()
