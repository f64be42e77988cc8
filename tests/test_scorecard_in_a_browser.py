"""The scorecard as a reader has it: opened from disk, filtered, on a phone, by keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from browser import CHROMIUM, Browser
from forgetting import scorecard
from test_scorecard import PATH, RECORD, basis, row

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt: chromium)"),
]
SHOWN = "[...document.querySelectorAll('.claim')].filter(c => c.checkVisibility()).map(c => c.id)"
VERDICTS = ["reproduced", "contradicted", "inconclusive", "not run"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a scorecard of two studies with a claim of each verdict, and a figure each."""
    folder = tmp_path_factory.mktemp("scorecard with space")
    picture = folder / "rank.png"
    Image.linear_gradient("L").resize((1400, 600)).save(picture)
    long = (
        "a-claim-with-a-name-that-is-long-and-has-no-space[split-cifar100, bi_convgru, activation]"
    )
    rows = [
        row(claim=verdict, verdict=verdict, statement=f"it is {verdict}") for verdict in VERDICTS
    ]
    rows[0]["claim"], rows[0]["note"] = long, "n" * 300
    studies = [
        scorecard.study(
            {"study": name, "title": name},
            scorecard.Material(
                claims=rows,
                basis={each["claim"]: basis(figures=("rank",)) for each in rows},
                records={PATH: RECORD},
                figures=[scorecard.figure(picture, folder)],
            ),
            "small",
        )
        for name in ("collapse", "anatomy")
    ]
    path = folder / "scorecard.html"
    path.write_text(scorecard.render("small", studies)[0], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def browser(chromium: Browser, page: Path) -> Iterator[Browser]:
    """Return a browser with the page open; afterwards nothing may have gone wrong in it."""
    chromium.size(1280, 900)
    chromium.open(page)
    yield chromium
    assert chromium.complaints == []


def counted(browser: Browser) -> str:
    return browser.evaluate("document.querySelector('#filter output').textContent")


def test_rows_are_filtered_by_study_verdict_and_words(browser: Browser) -> None:
    assert counted(browser) == "8 of 8 claims"
    assert len(browser.evaluate(SHOWN)) == 6  # those that were not run are folded away
    browser.evaluate("form.study.value = 'anatomy'; filter()")
    assert {name.split(".")[0] for name in browser.evaluate(SHOWN)} == {"anatomy"}
    assert not browser.evaluate("document.getElementById('collapse').checkVisibility()")
    browser.evaluate("form.querySelector('[value=reproduced]').click()")
    assert browser.evaluate(SHOWN) == ["anatomy.contradicted", "anatomy.inconclusive"]
    browser.evaluate("form.words.value = 'IS contra'; filter()")
    assert browser.evaluate(SHOWN) == ["anatomy.contradicted"]
    assert counted(browser) == "1 of 8 claims"
    browser.evaluate("form.study.value = ''; form.words.value = 'it is not'; filter()")
    assert browser.evaluate(SHOWN) == ["collapse.not-run", "anatomy.not-run"]


def test_a_row_opens_with_its_figure(browser: Browser) -> None:
    claim = "document.getElementById('collapse.contradicted')"
    assert not browser.evaluate(f"{claim}.querySelector('.body').checkVisibility()")
    browser.evaluate(f"{claim}.querySelector('summary').click()")
    browser.wait(f"{claim}.querySelector('.shown img')?.naturalWidth === 1400")
    assert browser.evaluate(f"{claim}.querySelector('.body').checkVisibility()")
    browser.evaluate(f"{claim}.open = false; {claim}.open = true")
    assert browser.evaluate(f"{claim}.querySelectorAll('.shown img').length") == 1


def test_an_address_unfolds_what_it_names(browser: Browser) -> None:
    run = "collapse.run.split-mnist-mlp-sgd-seeds0-3"
    browser.evaluate(f"document.querySelector('a[href=\"#{run}\"]').click()")
    browser.wait(f"document.getElementById('{run}').open")
    assert browser.evaluate(f"document.getElementById('{run}').checkVisibility()")
    browser.evaluate("document.querySelector('.glance a[href=\"#anatomy.contradicted\"]').click()")
    browser.wait("document.getElementById('anatomy.contradicted').open")
    browser.evaluate("location.hash = '#anatomy.not-run'")
    browser.wait("document.getElementById('anatomy.not-run').checkVisibility()")


def test_it_can_be_used_by_keyboard_alone(browser: Browser) -> None:
    focused = "document.activeElement.name || document.activeElement.closest('details')?.id"

    def tab_to(name: str) -> None:
        for _ in range(60):
            if browser.evaluate(focused) == name:
                return
            browser.press("Tab")
        raise AssertionError(f"{name} is not reached; at {browser.evaluate(focused)}")

    tab_to("study")
    tab_to("verdict")
    browser.press(" ")  # not those that are reproduced
    assert counted(browser) == "6 of 8 claims"
    tab_to("words")
    for letter in "contra":
        browser.press(letter)
    browser.wait("document.querySelector('#filter output').textContent === '2 of 8 claims'")
    tab_to("collapse.contradicted")
    outlined = "getComputedStyle(document.activeElement).outlineStyle"
    assert browser.evaluate(outlined) == "solid"
    browser.press("Enter")
    browser.wait("document.getElementById('collapse.contradicted').open")


@pytest.mark.parametrize("width", [320, 390, 800])
def test_nothing_is_wider_than_the_screen(browser: Browser, width: int) -> None:
    browser.size(width, 844, phone=True)
    browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    browser.wait("document.querySelectorAll('.claim[open] .shown img').length === 8")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_is_whole_without_its_script(browser: Browser, page: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page)
        found = browser.call("DOM.getDocument", depth=1)["root"]["nodeId"]
        form = browser.call("DOM.querySelector", nodeId=found, selector="#filter")["nodeId"]
        claims = browser.call("DOM.querySelectorAll", nodeId=found, selector=".claim")["nodeIds"]
        style = browser.call("DOM.describeNode", nodeId=form)["node"]["attributes"]
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert "hidden" in style  # what needs the script is not offered
    assert len(claims) == 8
