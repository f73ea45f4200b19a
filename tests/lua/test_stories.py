"""The stories, told to the scripts on a real server."""

from __future__ import annotations

import pytest

from tests.helpers.scripted import ScriptedPartition
from tests.stories import STORIES
from tests.stories.telling import tell


@pytest.mark.parametrize("name", STORIES)
def test_the_scripts_tell_the_same_story(name: str, partition: ScriptedPartition) -> None:
    tell(STORIES[name], partition)
