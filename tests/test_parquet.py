"""Parquet files with a checksum of their own: read by anyone, and refused when damaged."""

from pathlib import Path

import pandas as pd
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgetting import parquet
from forgetting.errors import UserError

DRAWN = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FRAME = pd.DataFrame(
    {"seed": [0, 0, 1], "statistic": ["nc1", "nc2", "nc1"], "value": [0.25, float("nan"), -1.0]}
)
ABOUT = {b"forgetting": b'{"measure": "neural_collapse", "checksum": "sha256:of something else"}'}


def written(folder: Path) -> Path:
    path = folder / "seeds0.parquet"
    table = pyarrow.Table.from_pandas(FRAME, preserve_index=False)
    parquet.write(table.replace_schema_metadata({**table.schema.metadata, **ABOUT}), path)
    return path


def test_it_is_parquet_as_other_programs_read_it(tmp_path: Path) -> None:
    path = written(tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(path), FRAME)
    table = parquet.read(path)
    pd.testing.assert_frame_equal(table.to_pandas(), FRAME)
    assert table.schema.metadata[b"forgetting"] == ABOUT[b"forgetting"]
    once = path.read_bytes()
    assert written(tmp_path).read_bytes() == once


def test_a_file_of_another_program_is_read_as_it_is(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(parquet.read(tmp_path / "a.parquet").to_pandas(), FRAME)


@DRAWN
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_by_name_or_changes_nothing(
    tmp_path: Path, place: float, bit: int
) -> None:
    path = written(tmp_path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        found = parquet.read(path)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        pd.testing.assert_frame_equal(found.to_pandas(), FRAME)


@DRAWN
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, share: float) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"seeds0\.parquet: not a table .* --forcerun"):
        parquet.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.parquet: not a table"):
        parquet.read(tmp_path / "no.parquet")
