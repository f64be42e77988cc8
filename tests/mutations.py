"""Changes to valid configurations and studies, and the contract of what may come of them."""

import copy
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgetting import configuration, sources
from forgetting.data import imagenet
from forgetting.documents import Document
from forgetting.errors import UserError
from forgetting.pipeline import Pipeline
from studies import REPOSITORY

STUDIES = configuration.studies(REPOSITORY)
PRESETS = ("quick", "small", "paper")

Place = tuple[Any, ...]
# What a slip of the hand, another tool or malice may leave.
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**12),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(
        ["../x", "/etc/passwd", "a;b", "$(x)", "~", "{x}", "%s", "sgd", "mlp", "no", "1-0", "0-2"]
    ),
    st.sampled_from(
        ["", "~nobody", "a\0b", "a\nb", "os", "x" * 300, "٣", "0-999999999", "9" * 40, 10**30]
    ),
)
VALUES = st.one_of(
    LEAVES,
    st.lists(LEAVES, max_size=3),
    st.dictionaries(st.text(max_size=6) | st.integers(), LEAVES, max_size=2),
)
# What stands in a text by accident or malice.
SNIPPETS = [
    *"\t\0\ufeff\x1b\x85&*!|>%@`'\"#,:{}[]?-\n~",
    "\r\n",
    "<<: ",
    "<<: *missing\n",
    "&name ",
    "*name",
    "--- ",
    "\n---\n",
    "...\n",
    "[" * 60,
    "[" * 20_000,
    "{a: " * 60,
    "9" * 5000,
    "0x" + "f" * 5000,
    "1e999",
    ".nan",
    "-.inf",
    "2026-99-99",
    "1:99:99",
    "0o9",
    "=",
    "? [a, b]\n",
    "!!int x ",
    "!!bool x ",
    "!!null x ",
    "!!binary '' ",
    "!!set {a, b} ",
    "!!timestamp 2026-01-01 ",
    "!!python/object/apply:os.mkdir [pwned] ",
    "!!python/name:os.system ",
    "!custom ",
    '"\\ud800"',
    '"\\0"',
    "{{ x }}",
    "$(touch pwned)",
    "../../x",
    "\U0001f600",
]


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Where something can be changed."""
    if at:
        yield at
    if isinstance(value, dict):
        for key, child in value.items():
            yield from places(child, (*at, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from places(child, (*at, index))


def found(value: Any, at: Place) -> Any:
    """Return what stands at a place."""
    for key in at:
        value = value[key]
    return value


@st.composite
def mutated(draw: st.DrawFn, valid: dict[str, Any]) -> dict[str, Any]:
    """Something valid with one to three changes."""
    changed = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        everywhere = list(places(changed))
        if not everywhere:
            break
        *before, key = draw(st.sampled_from(everywhere))
        owner = found(changed, tuple(before))
        how = draw(st.sampled_from(["replace", "remove", "rename", "add", "move"]))
        if how == "remove":
            del owner[key]
        elif how == "rename" and isinstance(owner, dict):
            owner[draw(st.text(max_size=6))] = owner.pop(key)
        elif how == "add" and isinstance(owner, dict):
            owner[draw(st.text(max_size=6))] = draw(VALUES)
        elif how == "move":
            owner[key] = copy.deepcopy(found(changed, draw(st.sampled_from(everywhere))))
        else:
            owner[key] = draw(VALUES)
    return changed


@st.composite
def misspelt(draw: st.DrawFn, valid: str) -> bytes:
    """A text with one to three changes, as the bytes of a file."""
    text = valid
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        lines = text.splitlines(keepends=True) or [""]
        line = draw(st.integers(0, len(lines) - 1))
        how = draw(st.sampled_from(["cut", "insert", "repeat", "drop", "swap", "indent", "end"]))
        if how == "cut":
            text = text[:at] + text[at + draw(st.integers(1, 20)) :]
        elif how == "insert":
            text = text[:at] + draw(st.sampled_from(SNIPPETS)) + text[at:]
        elif how == "end":
            text = text[:at]
        else:
            other = draw(st.integers(0, len(lines) - 1))
            if how == "repeat":
                lines.insert(other, lines[line])
            elif how == "drop":
                del lines[line]
            elif how == "swap":
                lines[line], lines[other] = lines[other], lines[line]
            else:
                lines[line] = draw(st.sampled_from(["", " ", "  ", "\t", "- "])) + lines[
                    line
                ].lstrip(" ")
            text = "".join(lines)
    coding = draw(st.sampled_from(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "latin-1"]))
    content = text.encode(coding, "replace")
    if draw(st.integers(0, 9)) == 0:
        content = content.replace(b"\n", b"\r\n")
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(min_size=1, max_size=3)) + content[at:]
    return content


# Checksums of the user's images that were looked at, so that the next time they need not be.
REMEMBERED = ("results", "results/data", "results/data/.checksums.json")


def files(root: Path) -> dict[str, bytes]:
    """Return every file and folder below a folder, with its content."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b""
        for path in root.rglob("*")
    }


def plan_everything(root: Path, merged: Mapping[str, Any] | None = None) -> Pipeline:
    """Do what reading the workflow and choosing its jobs does, for every target."""
    Pipeline.check_file(root)
    with mock.patch("gc.freeze"):  # it is not the only one of this process
        pipeline = Pipeline.load(root, merged)
    pipeline.descriptions()
    pipeline.captions()
    for name in pipeline.studies:
        plan = pipeline.plan(name)
        pipeline.everything(name)
        pipeline.about(name)
        for table in plan.tables:
            pipeline.table_sources(name, table, pipeline.scope)
        for source in plan.sources.values():
            sources.to_json(source)
        for measure in plan.measures.values():
            pipeline.code("measure", measure.components)
            for path in measure.needs:
                measure.compared(plan.runs[path])
    for name in pipeline.tuned:
        pipeline.tuned_files(name)
        pipeline.tuning_runs(name)
        assert pipeline.tuning(name).identity
    return pipeline


def outcome(
    root: Path, file: str, before: dict[str, bytes], merged: Mapping[str, Any] | None = None
) -> str:
    """Plan everything: a plan (no text), or one message by the contract. Nothing is written."""
    message = ""
    try:
        plan_everything(root, merged)
    except UserError as error:
        message = str(error)
        check_message(message, file)
    changed = {name for name, _ in files(root).items() ^ before.items()}
    assert changed <= {file, *REMEMBERED}
    return message


def check_message(message: str, file: str) -> None:
    """A message names file and place, is short, and shows neither code nor control characters."""
    here = rf"{re.escape(file)}(, line \d+(, column \d+)?)?"
    start = rf"({here}|command line: --config .+?|config\.yaml: preset): \S"
    assert re.match(start, message), message
    assert all(line.isprintable() for line in message.split("\n")), message
    assert len(message) < 6000, message
    for code in ("Traceback", "object at 0x", "errors.pydantic", "NoneType", "<class"):
        assert code not in message, message


def tried(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def dumped(content: Any) -> bytes:
    return yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False).encode()


def changing(root: Path, file: str, change: st.SearchStrategy, examples: int) -> None:
    """Try changes of one file; each is a mapping or bytes."""
    before = files(root)
    valid = before[file]

    @tried(examples)
    @given(change)
    def check(content: dict[str, Any] | bytes) -> None:
        (root / file).write_bytes(content if isinstance(content, bytes) else dumped(content))
        outcome(root, file, before)

    try:
        check()
    finally:
        (root / file).write_bytes(valid)


def stand_ins(data: Path) -> None:
    """Make files by which those data sets are found that cannot be downloaded; nothing is read."""
    labels = {
        label
        for lists in imagenet.class_lists().values()
        for group in lists.values()
        for label in group
    }
    names = [f"imagenet/{part}/{label}/a.JPEG" for part in ("train", "val") for label in labels]
    names += ["celeba/list_attr_celeba.txt", "celeba/list_eval_partition.txt"]
    names += ["celeba/img_align_celeba/000001.jpg", "continual-imagenet/classes/0.npy"]
    for name in names:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"x")


class Shipped:
    """The shipped studies, each alone in a repository below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        stand_ins(folder / "data")

    def change(self, study: str, preset: str, examples: int) -> None:
        """Try changes of a study under a preset: of what it says, and of its text."""
        root, file = self.folder / f"{study}-{preset}", f"workflow/studies/{study}.yaml"
        (root / file).parent.mkdir(parents=True)
        shutil.copy(REPOSITORY / file, root / file)
        data = str(self.folder / "data")
        (root / "config.yaml").write_bytes(
            dumped({"preset": preset, "data_dir": data, "download": True})
        )
        assert plan_everything(root).plan(study).runs
        valid = (root / file).read_text()
        changing(root, file, mutated(dict(Document.read(root / file, name=file).raw)), examples)
        changing(root, file, misspelt(valid), examples)
