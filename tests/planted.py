"""Points with instruments of which it is known what they have to do with the outcomes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from forgetting.outcomes import OUTCOMES

FAMILIES = {"split mnist": 6, "split cifar10": 10, "permuted mnist": 8}
STRATEGIES = ("sgd", "l2", "ewc")


def points(
    seeds: Sequence[int] = range(4), families: Sequence[str] = tuple(FAMILIES), rng: int = 0
) -> pd.DataFrame:
    """A point for each seed of each run after each task but the last.

    ``drives`` makes the outcomes, with noise, on top of a trend over tasks that makes ``confound``
    as well; ``useless`` is noise; ``misleads`` drives them one way in one family and the other way
    in the others.
    """
    random = np.random.default_rng(rng)
    rows = []
    for place, family in enumerate(families):
        for seed in seeds:
            for strategy in STRATEGIES:
                for task in range(1, FAMILIES[family]):
                    drives, useless, noise, more, flip = random.normal(size=5)
                    sign = 1 if place == 0 else -1
                    outcome = 0.1 * drives + 0.05 * task + 0.03 * noise + 0.06 * sign * flip
                    rows.append(
                        {
                            "study": "collapse",
                            "family": family,
                            "benchmark": family.replace(" ", "-"),
                            "architecture": "mlp",
                            "strategy": strategy,
                            "seed": seed,
                            "task": task,
                            "drives": drives,
                            "useless": useless,
                            "confound": task + 0.3 * more,
                            "misleads": flip,
                            **dict.fromkeys(OUTCOMES, outcome),
                        }
                    )
    return pd.DataFrame(rows)
