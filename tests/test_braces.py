"""What bash makes of the braces is what was put into them."""

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from forgetting.braces import braced
from forgetting.naming import NAME

FOLDERS = st.from_regex(NAME, fullmatch=True)
# Few names, so that paths share folders; a folder of one level is never a file of another.
PATHS = st.lists(FOLDERS, min_size=2, max_size=4).flatmap(
    lambda names: st.lists(st.tuples(*[st.sampled_from(names)] * 3), max_size=12)
)


def expanded(text: str) -> list[str]:
    words = ["bash", "-c", f'printf "%s\\n" {text}']
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()


@settings(max_examples=40, deadline=None)
@given(PATHS)
def test_bash_expands_them_to_the_same_files_each_once(paths: list[tuple[str, ...]]) -> None:
    files = ["/".join((*path, "run.json")) for path in paths]
    assert sorted(expanded(braced(files))) == sorted(set(files))


def test_products_of_names_are_written_once() -> None:
    paths = [f"runs/{net}/seeds{seed}/run.json" for net in ("mlp", "resnet18") for seed in (0, 1)]
    assert braced(paths) == "runs/{mlp,resnet18}/{seeds0,seeds1}/run.json"
    assert braced([*paths, "runs/mlp/seeds2/run.json"]) == (
        "runs/{mlp/{seeds0,seeds1,seeds2}/run.json,resnet18/{seeds0,seeds1}/run.json}"
    )
    assert braced(paths[:1]) == paths[0]
    assert braced([]) == ""
