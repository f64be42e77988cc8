"""The pictures of a study, drawn once for all tests of its file."""

import pytest

from looking_at_figures import Picture, Tables


@pytest.fixture(scope="module")
def drawn(request: pytest.FixtureRequest, given: Tables) -> dict[str, Picture]:
    """Every figure of ``FIGURES`` with its settings there, drawn from ``given``."""
    return {
        component: request.module.draw(component, given) for component in request.module.FIGURES
    }
