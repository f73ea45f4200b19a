"""Reads what a form or a query says, typed; what nobody asked for is refused, as Stripe does.

Nesting is written in brackets: `metadata[booking_id]=…`, `expand[0]=…`, `created[gte]=…`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, Final

from holdfast.simulator.errors import ApiError, invalid

MAX_PARAMETERS: Final = 200
MAX_PARAMETER_CHARS: Final = 5_000
_NAME: Final = re.compile(r"^([A-Za-z0-9_]{1,64})((?:\[[A-Za-z0-9_ .-]{0,64}\]){0,3})$")
_PART: Final = re.compile(r"\[([^\]]*)\]")
_INTEGER: Final = re.compile(r"^-?[0-9]{1,18}$")

MAX_METADATA_KEYS: Final = 50
MAX_METADATA_KEY_CHARS: Final = 40
MAX_METADATA_VALUE_CHARS: Final = 500
"""https://docs.stripe.com/api/metadata"""


def decode(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Nest the pairs of a form: objects are dicts, lists are dicts by their index as written."""
    root: dict[str, Any] = {}
    for count, (name, value) in enumerate(pairs, start=1):
        found = _NAME.match(name)
        if not found or count > MAX_PARAMETERS or len(value) > MAX_PARAMETER_CHARS:
            raise invalid("Invalid parameter", "parameter_invalid", name[:64])
        place, parts = root, [found[1], *_PART.findall(found[2])]
        for part in parts[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise invalid("Invalid hash", "parameter_invalid", name)
        last = parts[-1] or str(len(place))
        if isinstance(place.get(last), dict):
            raise invalid("Invalid hash", "parameter_invalid", name)
        place[last] = value
    return root


class Parameters:
    """The parameters of one request. Read each, then `finish`."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = dict(values)
        self.expand = self.texts("expand")

    def text(self, name: str, allowed: Collection[str] | None = None) -> str | None:
        """A text, perhaps one of a few."""
        value = self._values.pop(name, None)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise invalid("Invalid string", "parameter_invalid_string", name)
        if allowed is not None and value not in allowed:
            raise invalid(
                f"Invalid {name}: must be one of {', '.join(allowed)}", "parameter_invalid", name
            )
        return value

    def required_text(self, name: str) -> str:
        """A text that must be there."""
        value = self.text(name)
        if value is None:
            raise invalid(f"Missing required param: {name}.", "parameter_missing", name)
        return value

    def integer(self, name: str, least: int, most: int) -> int | None:
        """An integer within bounds."""
        text = self.text(name)
        if text is None:
            return None
        if not _INTEGER.match(text):
            raise invalid(f"Invalid integer: {name}", "parameter_invalid_integer", name)
        if not least <= int(text) <= most:
            raise invalid(
                f"Invalid {name}: must be from {least} to {most}", "parameter_invalid_integer", name
            )
        return int(text)

    def flag(self, name: str) -> bool:
        """`true` or `false`; absent is false."""
        return self.text(name, ("true", "false")) == "true"

    def table(self, name: str) -> dict[str, str]:
        """A flat object of texts."""
        value = self._values.pop(name, {})
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise invalid("Invalid hash", "parameter_invalid", name)
        return value

    def metadata(self) -> dict[str, str]:
        """`metadata`, within Stripe's bounds; an empty value removes its key."""
        table = {key: value for key, value in self.table("metadata").items() if value}
        if len(table) > MAX_METADATA_KEYS:
            raise invalid("Metadata has at most 50 keys", "parameter_invalid", "metadata")
        for key, value in table.items():
            if len(key) > MAX_METADATA_KEY_CHARS or len(value) > MAX_METADATA_VALUE_CHARS:
                raise invalid("Metadata is too long", "parameter_invalid", f"metadata[{key}]")
        return table

    def texts(self, name: str) -> list[str]:
        """A list of texts, as written: `name[]` or `name[0]`."""
        return list(self.table(name).values())

    def finish(self) -> None:
        """Refuse what nobody read."""
        for name in self._values:
            raise ApiError(
                400,
                f"Received unknown parameter: {name}",
                code="parameter_unknown",
                param=name,
                executed=False,
            )
