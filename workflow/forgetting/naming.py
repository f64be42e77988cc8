"""Names of a study's entries: what may become a part of a path."""

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

NAME = r"[a-z0-9][a-z0-9_~-]*(\.[a-z0-9_~-]+)*"
"""Nothing that leads to another folder, and nothing that a shell reads."""
LONGEST = 150
"""Characters; file systems allow 255 bytes, of which logs and temporary files need some."""


def is_name(text: str) -> bool:
    """Whether a text can be a part of a path."""
    return len(text) <= LONGEST and re.fullmatch(NAME, text) is not None


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(
            f"a name is at most {LONGEST} lower-case letters, digits and _ ~ - . (split-mnist)"
        )
    return text


Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})
]
