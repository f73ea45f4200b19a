"""What the scripts do, as tables: an operation with its arguments, and what must come of it.

The same stories are told to the model, to the scripts on a real server, and to the scripts on the
fast fake: they must end alike.
"""

from typing import Final

from tests.stories.changes import CHANGES
from tests.stories.deadlines import DEADLINES
from tests.stories.due import DUE
from tests.stories.money_back import MONEY_BACK
from tests.stories.paying import PAYING
from tests.stories.reserve import RESERVE
from tests.stories.sales import SALES
from tests.stories.story import Story
from tests.stories.warnings import WARNINGS

STORIES: Final[dict[str, Story]] = (
    SALES | RESERVE | DUE | CHANGES | PAYING | DEADLINES | MONEY_BACK | WARNINGS
)
