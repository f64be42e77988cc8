"""The tables that are made from other tables, by name.

A function's parameters are named like the tables it is given; those with a default may be lacking.
"""

from collections.abc import Callable, Mapping

import pandas as pd

from forgetting.tables.continued import continued
from forgetting.tables.performance import performance, rank_and_performance
from forgetting.tables.ranks import forgetting_rank, representative_rank
from forgetting.tables.scores import scores
from forgetting.tables.summary import summary

FROM_TABLES: Mapping[str, Callable[..., pd.DataFrame]] = {
    "continued": continued,
    "performance": performance,
    "rank_and_performance": rank_and_performance,
    "scores": scores,
    "representative_rank": representative_rank,
    "forgetting_rank": forgetting_rank,
    "summary": summary,
}
