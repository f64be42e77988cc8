"""Figures across studies: every study's instrument on every network, and what each foretells.

Each function takes tables and settings and returns the figure with the table of what it draws.
"""

from forgetting.figures import _across_instruments, _across_prediction
from forgetting.figures._panels import Drawn, Tables
from forgetting.settings import Settings


class InstrumentsOverTasks(Settings):
    """Every instrument over the tasks of every family of benchmarks."""


class HeldOutPrediction(Settings):
    """How well each instrument foretells either outcome."""


def instruments_over_tasks(given: Tables, settings: InstrumentsOverTasks) -> Drawn:
    """A row of panels for each family, a column for each instrument, a line for each run."""
    return _across_instruments.instruments_over_tasks(given, settings)


def held_out_prediction(given: Tables, settings: HeldOutPrediction) -> Drawn:
    """A row of panels for each outcome; dots with bars for each instrument."""
    return _across_prediction.held_out_prediction(given, settings)
