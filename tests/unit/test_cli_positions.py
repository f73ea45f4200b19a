"""Positions in a journal, as the operator spells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import SettingsError
from holdfast import cli
from holdfast.cli_arguments import Position, position


@pytest.mark.parametrize(
    "line",
    [
        "backlog replay --from 5",
        "backlog replay --from 1:5 --partition 2",
        "backlog quarantine show 5",
    ],
)
def test_a_position_without_its_partition_is_wrong_usage(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*line.split(), "--data", str(tmp_path)]) == 2
    assert "partition" in capsys.readouterr().err


def test_a_position_names_its_partition_by_itself_or_beside_it() -> None:
    assert position("3:17") == Position(3, 17)
    assert position("3:17").within(None) == position("17").within(3) == (3, 17)
    assert position("3:17").within(3) == (3, 17)
    with pytest.raises(SettingsError):
        position("3:17").within(4)
