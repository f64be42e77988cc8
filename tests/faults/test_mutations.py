"""The shipped studies with something wrong in them, under every preset, thousands of times."""

import os
from pathlib import Path

import pytest

from mutations import PRESETS, STUDIES, Shipped

pytestmark = pytest.mark.faults
EXAMPLES = int(os.environ.get("FORGETTING_MUTATIONS", "100"))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("study", STUDIES)
def test_a_shipped_study(tmp_path: Path, study: str, preset: str) -> None:
    Shipped(tmp_path).change(study, preset, EXAMPLES)
