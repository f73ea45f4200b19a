"""The stories, told to the scripts on fakeredis: where there is no server, and no `#!lua` line."""

from __future__ import annotations

import pytest

from tests.helpers.fake import FakePartition
from tests.stories import STORIES
from tests.stories.telling import tell

SHORT = [name for name, rows in STORIES.items() if len(rows) < 20]


@pytest.mark.parametrize("name", SHORT)
def test_the_scripts_tell_the_same_story(name: str) -> None:
    tell(STORIES[name], FakePartition())
