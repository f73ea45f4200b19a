"""Reads the scripts under `lua/`, checks their headers, and knows their digests.

A script is data: `lua/<name>.lua`. Its header names its keys, the keys it derives, its arguments,
its outcomes and the journal entries it writes; `check` compares the header with the text, and the
engine refuses an answer that the header does not name. `-- @include lib/x` splices `lua/lib/x.lua`
in; `-- @include keys` splices the key-name functions that `engine.keys` generates.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from engine.errors import ScriptError
from engine.keys import FAMILY, lua_source
from engine.outcomes import Outcome

GUARD: Final = "lib/stays"
"""The piece that no script includes, since one Redis has no use for it."""
_OUTCOMES: Final = frozenset(Outcome)
_HEADER_FIELDS: Final = ("keys", "derives", "args", "outcomes", "entries")
_INCLUDE: Final = re.compile(r"^-- @include (\S+)\n", re.MULTILINE)
_FIELD: Final = re.compile(r"^-- (\w+): +(.*)$")
_MORE: Final = re.compile(r"^-- {2,}(\S.*)$")


@dataclass(frozen=True, slots=True)
class Script:
    """A script with its header, ready to be sent."""

    name: str
    text: bytes
    sha1: bytes
    """Lower-case hex, as EVALSHA takes it."""
    summary: str
    keys: tuple[str, ...]
    derives: tuple[str, ...]
    args: tuple[str, ...]
    outcomes: frozenset[str]
    words: Mapping[bytes, Outcome]
    """The same, as the server answers them."""
    entries: tuple[str, ...]
    flags: frozenset[str]


def _directory() -> Traversable:
    return resources.files("lua")


def script_names() -> list[str]:
    """Names of all scripts, sorted."""
    return sorted(
        entry.name.removesuffix(".lua")
        for entry in _directory().iterdir()
        if entry.name.endswith(".lua")
    )


def _header(name: str, source: str) -> tuple[dict[str, list[str]], str]:
    fields: dict[str, list[str]] = {}
    summary: list[str] = []
    current = ""
    for line in source.splitlines()[1:]:
        if line.startswith("-- @include") or not line.startswith("--"):
            break
        if found := _FIELD.match(line):
            current = found[1]
            fields[current] = found[2].split()
        elif current and (more := _MORE.match(line)):
            fields[current] += more[1].split()
        elif not current:
            summary.append(line.removeprefix("-- "))
        else:
            raise ScriptError(f"lua/{name}.lua: header line not understood: {line}")
    if tuple(fields) != _HEADER_FIELDS:
        raise ScriptError(f"lua/{name}.lua: the header must name {', '.join(_HEADER_FIELDS)}")
    fields = {field: [] if words == ["none"] else words for field, words in fields.items()}
    return fields, " ".join(summary)


def _splice(source: str, derives: list[str]) -> str:
    def included(match: re.Match[str]) -> str:
        what = match[1]
        if what == "keys":
            return lua_source(derives) + "\n"
        return (_directory() / f"{what}.lua").read_text(encoding="utf-8")

    return _INCLUDE.sub(included, source)


@cache
def load_script(name: str) -> Script:
    """Read, check and splice one script.

    Raises:
        ScriptError: the header and the text disagree.
    """
    source = (_directory() / f"{name}.lua").read_text(encoding="utf-8")
    fields, summary = _header(name, source)
    text = _splice(source, fields["derives"])
    data = text.encode()
    script = Script(
        name=name,
        text=data,
        sha1=_sha1(data),
        summary=summary,
        keys=tuple(fields["keys"]),
        derives=tuple(fields["derives"]),
        args=tuple(fields["args"]),
        outcomes=frozenset(fields["outcomes"]),
        words={word.encode(): Outcome(word) for word in fields["outcomes"] if word in _OUTCOMES},
        entries=tuple(fields["entries"]),
        flags=frozenset(re.findall(r"[\w-]+", source.split("\n", 1)[0].partition("flags=")[2])),
    )
    _check(script, text)
    return script


@cache
def load_guarded(name: str) -> Script:
    """A script as the nodes of a cluster are sent it: `GUARD` comes first."""
    script = load_script(name)
    first, newline, rest = script.text.partition(b"\n")
    text = first + newline + (_directory() / f"{GUARD}.lua").read_bytes() + rest
    return replace(script, text=text, sha1=_sha1(text))


def _sha1(text: bytes) -> bytes:
    # Not a secret: SHA-1 is how EVALSHA names a script.
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def _check(script: Script, text: str) -> None:
    """Compare a header with what its text does."""
    used_keys = set(re.findall(r"(?<!function )\bkey_(\w+)\(", text))
    _agree(script, "derives", set(script.derives), used_keys)
    if unknown := set(script.derives) - set(FAMILY):
        raise ScriptError(f"lua/{script.name}.lua derives unknown keys {sorted(unknown)}")
    if script.keys != ("meta",):
        raise ScriptError(f"lua/{script.name}.lua: every script takes the meta key alone")
    words = set(re.findall(r"'([a-z_]+)'", text))
    if missing := {word for word in script.outcomes if word not in words}:
        raise ScriptError(f"lua/{script.name}.lua never answers {sorted(missing)}")
    if strange := script.outcomes - set(Outcome):
        raise ScriptError(f"lua/{script.name}.lua: no such outcomes: {sorted(strange)}")
    answered = set(re.findall(r"(?:return \{|return nil, \{|refuse\(|_reply\()'([a-z_]+)'", text))
    if unnamed := answered - script.outcomes:
        raise ScriptError(f"lua/{script.name}.lua answers {sorted(unnamed)} unnamed in its header")
    highest = max((int(n) for n in re.findall(r"ARGV\[(\d+)\]", text)), default=0)
    fixed = [arg for arg in script.args if not arg.startswith("[")]
    if highest > len(fixed) and len(fixed) == len(script.args):
        raise ScriptError(f"lua/{script.name}.lua reads ARGV[{highest}], unnamed in its header")
    writes = bool(re.search(r"\bappend\(partition, ", text.partition("local function append")[2]))
    if writes != bool(script.entries):
        raise ScriptError(f"lua/{script.name}.lua: `entries` and what it appends disagree")
    if missing := {entry for entry in script.entries if entry not in words}:
        raise ScriptError(f"lua/{script.name}.lua never appends {sorted(missing)}")


def _agree(script: Script, field: str, named: set[str], used: set[str]) -> None:
    if named != used:
        raise ScriptError(
            f"lua/{script.name}.lua: header `{field}` and text disagree on "
            f"{sorted(named.symmetric_difference(used))}"
        )
