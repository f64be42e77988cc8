import argparse
import csv
import html.parser
import json
import re

import pytest

from forgetting import scorecard, verdicts
from forgetting.commands import scorecard as command
from forgetting.errors import UserError

NASTY = "<script>alert('x')</script> & \"a|b\" *c* [d](e) `f`"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000000000200010005fe02fea70000000049454e44ae426082"
)
VOID = {"meta", "img", "br", "line", "circle", "path", "hr", "link", "input"}


def row(**changes):
    return {
        "claim": "forgets[mlp]",
        "statement": "SGD forgets",
        "source": "section 4",
        "paper_value": "0.5",
        "value": "0.6",
        "ci_low": "0.4",
        "ci_high": "0.8",
        "n_seeds": "5",
        "verdict": "reproduced",
        "evidence": "protocol",
        "note": "",
        **changes,
    }


class Page(html.parser.HTMLParser):
    """Checks that tags are balanced and collects what a test looks at."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.attributes, self.words, self.tags = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend((tag, *attr) for attr in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend((tag, *attr) for attr in attrs)

    def handle_endtag(self, tag):
        assert self.open
        assert self.open[-1] == tag
        self.open.pop()

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def render(*rows, preset="small", **description):
    entry = {"study": "collapse", "title": "Collapse", "paper": "Zhu & Jin", **description}
    studies = [scorecard.study(entry, rows), scorecard.study({"study": "anatomy"}, [])]
    page, markdown = scorecard.render(preset, studies)
    return Page(page), page, markdown


def test_every_verdict_is_a_word_and_a_symbol():
    rows = [row(verdict=verdict) for verdict in scorecard.SYMBOLS]
    page, _, markdown = render(*rows)
    for verdict, symbol in scorecard.SYMBOLS.items():
        assert f"{symbol} {verdict}" in page.text
        assert f"{symbol} {verdict} |" in markdown
    assert len(set(scorecard.SYMBOLS.values())) == 4
    assert set(scorecard.SYMBOLS) == {"reproduced", "contradicted", "inconclusive", "not run"}


def test_a_row_holds_everything_a_reader_needs():
    page, _, markdown = render(row(note="Their figure 2."))
    for shown in (
        *("forgets[mlp]", "SGD forgets", "section 4", "0.5", "0.6 [0.4, 0.8]", "5", "protocol"),
        "Their figure 2.",
    ):
        assert shown in page.text
        assert shown.replace("[", r"\[").replace("]", r"\]") in markdown


def test_everything_is_escaped():
    fields = ("claim", "statement", "source", "paper_value", "note", "evidence")
    page, source, markdown = render(
        row(**dict.fromkeys(fields, NASTY)), title=NASTY, paper=NASTY, preset=NASTY
    )
    assert "script" not in page.tags
    assert "<script" not in source
    assert "<script" not in markdown.replace(r"\<script", "")
    assert page.text.count("alert('x')") >= len(fields) + 2
    (line,) = [line for line in markdown.splitlines() if line.startswith(r"| \<script")]
    assert len(re.split(r"(?<!\\)\|", line)) == 11  # nine cells


def test_newlines_do_not_break_a_markdown_row():
    _, _, markdown = render(row(note="one\ntwo\n\nthree"))
    assert "| one two three |" in markdown


def test_the_page_is_one_file_that_loads_nothing(tmp_path):
    page = whole_page(tmp_path)[0]
    loading = {"src", "href", "srcset", "data", "action", "poster", "xlink:href", "background"}
    urls = [value for _, name, value in page.attributes if name in loading]
    assert urls
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    source = (tmp_path / "small" / "scorecard.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|//[a-z]", source.replace("base64,", ""))


def test_the_page_is_html5_for_small_screens_too():
    page, source, _ = render(row())
    assert source.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert ("meta", "charset", "utf-8") in page.attributes
    assert ("meta", "name", "viewport") in page.attributes
    assert "@media (max-width:" in source
    assert page.tags.count("h1") == page.tags.count("title") == page.tags.count("main") == 1
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    labels = {value for _, name, value in page.attributes if name == "data-label"}
    assert labels == {"Paper", "Ours", "Seeds", "Evidence", "Verdict"}


def test_a_drawing_holds_interval_paper_and_zero_in_scale():
    found = scorecard.plot(0.6, 0.4, 0.8, paper=0.5)
    positions = [found.zero, found.low, found.paper, found.value, found.high]
    assert positions == sorted(positions)
    assert found.zero == scorecard.MARGIN
    assert found.high == scorecard.WIDTH - scorecard.MARGIN
    middle = (found.low + found.high) / 2
    assert found.value == pytest.approx(middle, abs=0.1)
    assert found.label == "ours 0.6, interval 0.4 to 0.8, the paper's value 0.5"


@pytest.mark.parametrize("low_high", [(None, None), (None, 0.3)])
def test_a_drawing_without_an_interval(low_high):
    found = scorecard.plot(0.2, *low_high, paper=None)
    assert (found.low, found.high, found.paper) == (None, None, None)
    assert scorecard.plot(0.0, 0.0, 0.0, paper=0.0).value == scorecard.MARGIN


def test_a_claim_without_numbers_has_no_drawing():
    empty = row(value="", ci_low="", ci_high="", paper_value="falls", verdict="not run")
    page, _, markdown = render(empty)
    assert "svg" not in page.tags
    assert "| falls | section 4 | none |" in markdown
    page, _, _ = render(row(value="nan", ci_low="nan", ci_high="inf"))
    assert "svg" not in page.tags


def test_paper_in_words_or_parts():
    parts = {"title": "Why", "authors": ["A. Zhu", "B. Jin"], "year": 2026, "arxiv": "2603.04580"}
    page, _, _ = render(row(), paper=parts)
    assert "A. Zhu, B. Jin. Why. 2026. arXiv:2603.04580" in page.text
    assert scorecard.study({"study": "x", "paper": None}, []).paper == ""


def warning(*rows):
    return " ".join(scorecard.warnings([scorecard.study({"study": "x"}, rows)]))


def test_the_top_says_what_cannot_bear_a_verdict():
    stand_in = row(evidence="stand-in", verdict="inconclusive")
    assert warning(row()) == ""
    assert warning(stand_in, stand_in).startswith("All 2 judged claims rest on stand-in data")
    assert warning(stand_in, row()).startswith("1 of 2 judged claims rest on stand-in data")
    assert "published protocol" not in warning(stand_in, row())
    assert "published protocol (1 reduced, 1 stand-in)" in warning(
        stand_in, row(evidence="reduced")
    )
    nothing = "Nothing has been judged"
    assert warning().startswith(nothing)
    assert warning(row(verdict="not run", evidence="")).startswith(nothing)
    page, source, markdown = render(stand_in)
    assert source.index("stand-in data") < source.index("<table")
    assert "cannot bear a verdict" in page.text
    assert "> **All 1 judged claims rest on stand-in data" in markdown


def whole_page(tmp_path, scope="."):
    """The command on two studies, of which one was run."""
    folder = tmp_path / "small"
    home = folder / "collapse" / scope
    (home / "figures").mkdir(parents=True)
    claims = home / "claims.csv"
    with claims.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, verdicts.COLUMNS)
        writer.writeheader()
        writer.writerow(row(note='says "no", then\nyes', statement="größer als"))
    figure = home / "figures" / "erank over tasks.png"
    figure.write_bytes(PNG)
    studies = [{"study": "collapse", "title": "Collapse"}, {"study": "handoff", "title": "Handoff"}]
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    line = ["--preset", "small", "--studies", json.dumps(studies)]
    line += ["--claims", str(claims), str(folder / "handoff" / "claims.csv")]
    line += ["--figures", str(figure), str(figure.with_suffix(".pdf"))]
    cards = [folder / scope / f"scorecard.{suffix}" for suffix in ("html", "md")]
    line += ["--out-html", str(cards[0]), "--out-md", str(cards[1])]
    command.run(parser.parse_args(line))
    page, markdown = (card.read_text(encoding="utf-8") for card in cards)
    return Page(page), markdown, parser, line


def test_the_command(tmp_path):
    page, markdown, parser, line = whole_page(tmp_path)
    assert "größer als" in page.text
    assert 'says "no", then yes' in page.text
    assert "1 reproduced" in page.text
    assert "not run No claims of this study have been judged" in page.text
    assert "![erank over tasks](collapse/figures/erank%20over%20tasks.png)" in markdown
    assert "## Handoff" in markdown
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == [
        *("collapse", "scorecard.html", "scorecard.md")
    ]
    for studies, message in (("[]", "collapse is not a study"), ("{", "not JSON")):
        with pytest.raises(UserError, match=message):
            command.run(parser.parse_args([*line[:3], studies, *line[4:]]))


def test_the_command_on_a_selection_of_runs(tmp_path):
    page, markdown, _, _ = whole_page(tmp_path, "partial/only")
    assert "1 reproduced" in page.text
    shown = "../../collapse/partial/only/figures/erank%20over%20tasks.png"
    assert f"![erank over tasks]({shown})" in markdown
    assert (tmp_path / "small/partial/only" / shown.replace("%20", " ")).exists()


def test_markdown_tables_have_no_blank_line_inside():
    _, _, markdown = render(row(), row(claim="second"), row(claim="third"))
    lines = markdown.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| claim |"))
    assert lines[start - 1] == ""
    assert all(line.startswith("|") for line in lines[start : start + 5])
    assert lines[start + 5] == ""
