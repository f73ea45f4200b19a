"""What is unexpected. A refusal is an outcome (`engine.outcomes`), never one of these."""

from __future__ import annotations

from typing import Final

SALE_FROZEN: Final = "sale_frozen"
"""The reason of a `Fenced` that is about one sale, which is being rebuilt alone: others go on."""


class HoldfastError(Exception):
    """The root of everything Holdfast raises."""


class Unavailable(HoldfastError):
    """The outcome is not known: the same call with the same operation id is safe to repeat.

    After a time-out or a lost connection the script may or may not have run (rule 6).
    """


class Overloaded(HoldfastError):
    """Nothing was tried: a queue is at its bound, or the server refused before running."""


class Fenced(HoldfastError):
    """A partition waits for its operator; nothing was tried. `reason` is a machine word."""

    def __init__(self, partition: int, reason: str) -> None:
        super().__init__(f"partition {partition} is fenced: {reason}")
        self.partition = partition
        self.reason = reason


class SettingsError(HoldfastError):
    """A setting is refused; the message starts with the variable's name."""


class WeakDurability(SettingsError):
    """The Redis server keeps less than the `HOLDFAST_DURABILITY` asked for promises."""


class ScriptError(HoldfastError):
    """A script or its header is malformed, or answered what its header does not name."""
