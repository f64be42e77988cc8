import argparse
import csv
import html.parser
import json
import re
import shlex

import pytest
from PIL import Image

from forgetting import claims, scorecard, verdicts
from forgetting.commands import scorecard as command
from forgetting.errors import UserError
from forgetting.scorecard import Context, details, drawing
from test_verdicts import entry as claim
from test_verdicts import make

NASTY = "<script>alert('x')</script> & \"a|b\" *c* [d](e) `f`"
PATH = "split-mnist/mlp/sgd/seeds0-3"
RECORD = {
    "spec": {
        "benchmark": {"component": "split", "settings": {"tasks": 2, "classes": None}},
        "architecture": {"component": "perceptron", "settings": {"hidden": [32, 16]}},
        "strategy": {
            "parts": [{"component": "momentum", "settings": {"decay": 0.5}}],
            "starts_from": {"strategy": "warm-up", "task": 1},
        },
        "training": {"epochs": 7, "learning_rate": 1e-05, "stop": {"at": 0.9}},
    },
    "status": "finished",
    "seeds": {"0": {"status": "finished"}, "1": {"status": "diverged", "task": 2, "step": 3}},
    "datasets": [{"name": "mnist", "stand_in": False, "train_images": 60000}],
    "fingerprint": "0123456789abcdef",
    "commit": "c0ffee" * 6,
    "device": "cpu",
    "wall_seconds": 90.0,
    "versions": {"torch": "2.0"},
}


def basis(figures=("erank over tasks",), diverged=(), **changes):
    """The basis of a claim with its precondition, as judging writes it."""
    of_lwf = {"table": "scores", "column": "forgetting", "where": {"strategy": "lwf"}}
    entry = claim(
        **{
            "figures": figures,
            "note": "a reading of ours",
            "doubts": {"estimator": "it follows the range"},
            "precondition": {
                "statistic": "value",
                "settings": of_lwf,
                "holds": {"above": 0.1},
                "text": "LwF forgets too",
            },
            **changes,
        }
    )
    _, found = verdicts.judge_with_basis(claims.expand({"it": entry}), make(diverged=diverged))
    return found["it"]


BASIS = basis()
VOID = {"meta", "img", "line", "rect", "circle", "path", "input"}


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


def study(rows, description=None):
    return scorecard.study(description or {"study": "x"}, scorecard.Material(rows))


def render(*rows, preset="small", **description):
    entry = {"study": "collapse", "title": "Collapse", "paper": "Zhu & Jin", **description}
    studies = [study(rows, entry), study([], {"study": "anatomy"})]
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
    assert page.tags.count("script") == source.count("<script") == 1  # the page's own
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
    inside = [url for url in urls if url.startswith("#")]
    ids = {value for _, name, value in page.attributes if name == "id"}
    assert {url.removeprefix("#") for url in inside} <= ids
    urls = [url for url in urls if url not in inside]
    assert urls
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
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


def test_a_drawing_holds_interval_paper_and_zero_in_scale():
    found = scorecard.plot(0.6, 0.4, 0.8, paper=0.5)
    positions = [found.zero, found.low, found.paper, found.value, found.high]
    assert positions == sorted(positions)
    assert found.zero == drawing.MARGIN
    assert found.high == drawing.WIDTH - drawing.MARGIN
    middle = (found.low + found.high) / 2
    assert found.value == pytest.approx(middle, abs=0.1)
    assert found.ends == ("0", "0.8")
    assert found.label == "ours 0.6, interval 0.4 to 0.8, the paper's value 0.5"


@pytest.mark.parametrize("low_high", [(None, None), (None, 0.3)])
def test_a_drawing_without_an_interval(low_high):
    found = scorecard.plot(0.2, *low_high, paper=None)
    assert (found.low, found.high, found.paper) == (None, None, None)
    assert scorecard.plot(0.0, 0.0, 0.0, paper=0.0).value == drawing.MARGIN


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
    assert study([], {"study": "x", "paper": None}).paper == ""


def warning(*rows):
    return " ".join(scorecard.warnings([study(rows)]))


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
    assert source.index("stand-in data") < source.index("<table") < source.index("<main")
    assert "cannot bear a verdict" in page.text
    assert "> **All 1 judged claims rest on stand-in data" in markdown


def whole_page(tmp_path, scope="."):
    """The command on two studies, of which one was run."""
    folder = tmp_path / "small"
    home = folder / "collapse" / scope
    (home / "figures").mkdir(parents=True)
    table = home / "claims.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, verdicts.COLUMNS)
        writer.writeheader()
        writer.writerow(row(note='says "no", then\nyes', statement="größer als"))
    table.with_suffix(".json").write_text(json.dumps({"forgets[mlp]": BASIS}))
    record = folder / "collapse" / "runs" / PATH / "run.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps(RECORD))
    figure = home / "figures" / "erank over tasks.png"
    Image.new("RGBA", (3, 2), (200, 30, 30, 128)).save(figure)
    studies = [{"study": "collapse", "title": "Collapse"}, {"study": "handoff", "title": "Handoff"}]
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    line = ["--preset", "small", "--studies", json.dumps(studies), "--home", str(folder)]
    line += ["--claims", str(table), str(folder / "handoff" / "claims.csv")]
    line += ["--figures", str(figure), str(figure.with_suffix(".pdf"))]
    cards = [folder / scope / f"scorecard.{suffix}" for suffix in ("html", "md")]
    line += ["--out-html", str(cards[0]), "--out-md", str(cards[1])]
    command.run(parser.parse_args(line))
    page, markdown = (card.read_text(encoding="utf-8") for card in cards)
    return Page(page), markdown, parser, line


def test_the_command(tmp_path):
    page, markdown, parser, line = whole_page(tmp_path)
    assert "größer als" in page.text
    assert 'says "no", then yes' in markdown
    assert "not run No claims of this study have been judged" in page.text
    assert "![erank over tasks](collapse/figures/erank%20over%20tasks.png)" in markdown
    assert "## Handoff" in markdown
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == [
        *("collapse", "scorecard.html", "scorecard.md")
    ]
    for position, given, message in (
        (3, "[]", "collapse is not a study"),
        (3, "{", "not JSON"),
        (5, str(tmp_path / "elsewhere"), "not below --home"),
    ):
        with pytest.raises(UserError, match=message):
            command.run(parser.parse_args([*line[:position], given, *line[position + 1 :]]))


def test_the_command_on_a_selection_of_runs(tmp_path):
    page, markdown, _, _ = whole_page(tmp_path, "partial/only")
    assert "größer als" in page.text
    assert "1 reproduced" in markdown
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


def opened(found, **context):
    """The words of a row that rests on this basis."""
    behind = details(found, Context("collapse", "small", records={PATH: RECORD}, **context))
    figure = scorecard.Figure("erank over tasks", "data:image/png;base64,", "")
    shown = scorecard.Study("collapse", "t", "p", (scorecard.row(row(), behind),), (figure,))
    return Page(scorecard.render("small", [shown])[0]), behind


def test_a_row_opens_what_its_number_was_computed_from():
    page, behind = opened(BASIS)
    for shown in (
        "seed 0: 0.5 , seed 1: 0.52 , seed 2: 0.54 , seed 3: 0.56",
        "4 rows of tables/scores.csv , column forgetting ; all with benchmark split-mnist,",
        "Precondition, met: LwF forgets too",
        "mean 0.25 [0.149, 0.351]; needed: above 0.1",
        "Definition of value A number of one table, as it stands",
        "The number of each seed, combined over the columns over .",
        "Claimed: above 0.05.",
        "Note: a reading of ours.",
        "About the estimator. it follows the range.",
    ):
        assert shown in page.text
    assert ("a", "href", "#collapse.figure.erank-over-tasks") in page.attributes
    assert behind.region == (0.05, None)
    own, condition = behind.numbers
    assert own["slices"][0]["cells"] == [["0.5", "0.52", "0.54", "0.56"]]
    assert condition["per_seed"] == {"0": "0.2", "1": "0.31", "2": "0.19", "3": "0.3"}


def test_a_row_names_its_runs_with_settings_and_code():
    page, behind = opened(basis(diverged=[("sgd", 1)]))
    runs = {run.path: run for run in behind.runs}
    assert set(runs) == {PATH, "split-mnist/mlp/lwf/seeds0-3"}
    assert runs[PATH].ended == "seed 1 diverged"
    assert runs[PATH].data == "mnist, 60,000 images"
    assert runs["split-mnist/mlp/lwf/seeds0-3"].code == "unknown"  # its run.json is not there
    for shown in (
        "0123456789abcdef",
        "benchmark split tasks 2 architecture perceptron hidden [32, 16]",
        "strategy momentum decay 0.5 starts from strategy warm-up, task 1",
        "training epochs 7, learning_rate 1e-05, stop (at 0.9)",
        "commit c0ffeec0ffee, cpu, 1.5 minutes, torch 2.0",
    ):
        assert shown in page.text
    assert ("a", "href", "#collapse.run.split-mnist-mlp-sgd-seeds0-3") in page.attributes


def test_a_row_says_why_it_is_inconclusive():
    assert (
        opened({**BASIS, "reasons": ["precondition unmet: it (1)"]})[1].why == "precondition unmet"
    )
    missing = basis(settings={"table": "erank", "where": {}}, precondition=None)
    page, behind = opened(missing)
    assert (behind.why, behind.numbers, behind.runs, behind.command) == ("", (), (), "")
    assert "Erank.csv is missing." in page.text


def test_the_command_names_the_runs_and_no_others():
    command = opened(BASIS, seeds=5)[1].command
    assert shlex.split(command) == [
        *("snakemake", "--cores", "2", "small/collapse/partial/only/claims.csv", "--config"),
        *("preset=small", "only=split-mnist/mlp/lwf/*,split-mnist/mlp/sgd/*"),
        *("seeds=5", "download=true"),
    ]


def test_claims_come_in_the_order_of_the_study():
    rows = [row(claim=name) for name in ("b[1]", "c", "a", "b[2]")]
    found = study(rows, {"study": "x", "claims": ["c", "b", "a"]})
    assert [each.claim for each in found.rows] == ["c", "b[1]", "b[2]", "a"]
    addresses = [address for address, _ in study([row(claim="a[b]"), row(claim="a-b")]).judged]
    assert addresses == ["x.a-b", "x.a-b-2"]


def test_claims_that_were_not_run_are_folded_away():
    page, source, _ = render(row(), row(claim="other", verdict="not run"))
    assert "1 claims that need runs which this preset does not have" in page.text
    assert source.index('data-verdict="reproduced"') < source.index('class="fold unrun"')


def test_a_long_slice_is_cut_and_says_so():
    tables = make({"sgd": [0.5] * 3})
    rows = tables["scores"].loc[tables["scores"].index.repeat(100)].reset_index(drop=True)
    rows["task"] = rows.groupby("seed").cumcount()
    settings = {"table": "scores", "column": "forgetting", "where": {"strategy": "sgd"}}
    entry = claim(statistic="value", settings={**settings, "over": ["task"]})
    _, found = verdicts.judge_with_basis(claims.expand({"it": entry}), {**tables, "scores": rows})
    (cut,) = found["it"]["number"]["slices"]
    assert (cut["rows"], cut["lines"], len(cut["cells"])) == (300, 100, 60)
    assert cut["columns"] == ["task", "seed 0", "seed 1", "seed 2"]
    assert "The first 60 of 100 lines" in opened(found["it"])[0].text
