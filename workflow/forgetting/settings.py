"""The base class of every component's settings."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Typed, documented, immutable settings; a key that is not a field is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, defer_build=True
    )
