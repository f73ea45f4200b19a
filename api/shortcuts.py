"""The paths that are asked most, found without going through the routes.

Starlette tries its routes one after the other, by regular expression: nothing beside a page from
PostgreSQL, and much beside a hold. A shortcut leads to the very object that the route leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from api.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class _Template:
    """A path with one id in it."""

    before: str
    name: str
    after: str
    endpoint: Endpoint


class Shortcuts:
    """Endpoints by the templates of their paths, which have one id in them or none."""

    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._whole: dict[str, Endpoint] = {}
        self._templates: list[_Template] = []
        for path, endpoint in endpoints.items():
            before, opened, rest = path.partition("{")
            if not opened:
                self._whole[path] = endpoint
                continue
            name, _, after = rest.partition("}")
            assert "{" not in after, "one id at the most"
            self._templates.append(_Template(before, name, after, endpoint))

    def find(self, scope: Scope) -> Endpoint | None:
        """The endpoint of a request's path, with `path_params` set as a route sets them."""
        path: str = scope["path"]
        found = self._whole.get(path)
        if found is not None:
            scope["path_params"] = {}
            return found
        for template in self._templates:
            if path.startswith(template.before) and path.endswith(template.after):
                value = path[len(template.before) : len(path) - len(template.after)]
                if value and "/" not in value:
                    scope["path_params"] = {template.name: value}
                    return template.endpoint
        return None


NO_SHORTCUTS: Final = Shortcuts({})
