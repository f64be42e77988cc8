"""Plain sequential training: each task in turn, with nothing done about forgetting.

The name is the field's for the baseline; the optimiser itself is a training setting.
"""

from forgetting.settings import Settings as Base


class Settings(Base):
    """None: the baseline has nothing to set."""
