"""The base class of every component's settings, and settings that several components share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Typed, documented, immutable settings; a key that is not a field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Probe(Settings):
    """The images that a network is looked at with, the same for all seeds of a data set."""

    split: Literal["train", "test"] = "test"
    """Part of the data that they are drawn from."""
    images: Annotated[int, Field(gt=0)] = 2000
    """How many; all, where there are fewer."""
