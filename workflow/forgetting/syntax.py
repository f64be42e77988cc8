"""Syntax trees of source files, each parsed once."""

import ast
import functools
from pathlib import Path


@functools.cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file; shared, so it must not be changed."""
    return ast.parse(path.read_bytes(), str(path))
