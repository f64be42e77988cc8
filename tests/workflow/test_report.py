"""Snakemake's report of a finished study: built, and opened from disk in a browser."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import CHROMIUM, Browser

pytestmark = pytest.mark.slow
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
OWN = "cdn.tailwindcss.com should not be used in production"  # the page warns of itself


@pytest.fixture(scope="module", params=["html", "zip"])
def report(finished: Any, request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report's page, of either form."""
    folder = tmp_path_factory.mktemp("report")
    path = folder / f"report.{request.param}"
    finished.snakemake("--report", str(path))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as file:
            file.extractall(folder)
        path = folder / "report" / "report.html"
    return path


@pytest.fixture
def browser(report: Path, tmp_path: Path) -> Iterator[Browser]:
    """Return a browser with the report open; afterwards nothing may have gone wrong in it."""
    browser = Browser(tmp_path / "profile")
    try:
        browser.size(1280, 900)
        browser.open(report)
        browser.wait("document.body.innerText.includes('which of their claims hold?')")
        yield browser
        assert [each for each in browser.complaints if OWN not in each] == []
    finally:
        browser.close()


def choose(browser: Browser, category: str, place: int = 0) -> None:
    """Open a category and look at one of its results."""
    link = f"[...document.querySelectorAll('a')].find(a => a.innerText.trim() === '{category}')"
    browser.wait(f"Boolean({link})")
    browser.evaluate(f"{link}.click()")
    looks = "document.querySelectorAll('tr a[iconname=eye]')"
    browser.wait(f"{looks}.length > {place}")
    browser.evaluate(f"{looks}[{place}].click()")


def test_the_report_is_one_file_or_a_folder(report: Path) -> None:
    assert report.stat().st_size > 10_000


@in_a_browser
def test_a_figure_is_shown_with_its_caption(browser: Browser) -> None:
    choose(browser, "collapse")
    browser.wait("[...document.images].some(image => image.naturalWidth > 1000)")
    assert browser.evaluate("document.querySelector('tr').innerText").split() == [
        *("FIGURE", "BENCHMARK")
    ]
    browser.evaluate("document.querySelector('tr a[iconname=information-circle]').click()")
    browser.wait("document.body.innerText.includes('The paper calls a fall of this number')")
    assert "docs/studies/collapse.md" in browser.evaluate("document.body.innerText")


@in_a_browser
def test_the_scorecard_is_part_of_it(browser: Browser, report: Path) -> None:
    choose(browser, "Scorecard")
    browser.wait("document.querySelector('iframe') !== null")
    source = browser.evaluate("document.querySelector('iframe').getAttribute('src')")
    assert source.startswith("data:text/html") or (report.parent / source).is_file()


@in_a_browser
def test_the_report_fits_a_phone(browser: Browser) -> None:
    browser.size(390, 844, phone=True)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
