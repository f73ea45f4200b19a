"""Pieces that every command's grammar is made of."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from engine.errors import SettingsError
from engine.limits import ID_PATTERN, MAX_INTEGER, MAX_PARTITIONS
from holdfast.system import DEFAULT_DIRECTORY, DEFAULT_PORT

DEFAULT_HOST: Final = "127.0.0.1"

Command = Callable[[argparse.Namespace], int]
"""What `options.run` holds: it does the work and answers the exit code."""
Options: TypeAlias = "argparse._ActionsContainer"
"""A command, or a group of options in it."""
Menu: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(
    menu: Menu,
    name: str,
    run: Command,
    what: str,
) -> argparse.ArgumentParser:
    """Put a command on a menu; its options are added to what comes back."""
    command = menu.add_parser(name, help=what, description=what)
    command.set_defaults(run=run)
    return command


def add_data(command: argparse.ArgumentParser) -> None:
    """`--data DIR`."""
    command.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_DIRECTORY,
        metavar="DIR",
        help=f"the system's data directory (default: {DEFAULT_DIRECTORY})",
    )


def add_address(command: argparse.ArgumentParser, port: int | None = DEFAULT_PORT) -> None:
    """`--host` and `--port`; without a default port a free one where the usual one is taken."""
    command.add_argument("--host", default=DEFAULT_HOST, metavar="H")
    about = f"0: a free one (default: {DEFAULT_PORT if port is None else port}"
    about += ", or a free one where that is taken)" if port is None else ")"
    command.add_argument("--port", type=between(0, 65_535), default=port, metavar="P", help=about)


def add_json(command: argparse.ArgumentParser) -> None:
    """`--json`."""
    command.add_argument("--json", action="store_true", help="one JSON object on stdout")


def between(least: int, most: int) -> Callable[[str], int]:
    """The type of a whole number within bounds."""

    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return number


def subject(text: str) -> str:
    """The type of a token's subject."""
    if not re.fullmatch(ID_PATTERN.removesuffix("$"), text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an id ({ID_PATTERN})")
    return text


def moment_ms(text: str) -> int:
    """The type of a time, in RFC 3339 with its offset: milliseconds since the epoch."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text}: of which zone? Z, or an offset like +02:00")
    return int(moment.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a journal; `partition` None where the text names none."""

    partition: int | None
    sequence: int

    def within(self, partition: int | None) -> tuple[int, int]:
        """The partition and the sequence, with the `--partition` that may stand beside.

        Raises:
            SettingsError: neither names a partition, or they name two.
        """
        if partition is None and self.partition is None:
            raise SettingsError(
                f"{self.sequence}: of which partition? P:SEQUENCE, or --partition P"
            )
        if None not in (partition, self.partition) and partition != self.partition:
            raise SettingsError(f"{self.partition}:{self.sequence} is not in partition {partition}")
        chosen = self.partition if partition is None else partition
        assert chosen is not None
        return chosen, self.sequence


def add_partition(command: Options) -> None:
    """`--partition P`."""
    command.add_argument("--partition", type=between(0, MAX_PARTITIONS - 1), metavar="P")


def position(text: str) -> Position:
    """The type of a place in a journal: `P:SEQUENCE`, or `SEQUENCE` beside `--partition`."""
    partition, colon, sequence = text.rpartition(":")
    return Position(
        between(0, MAX_PARTITIONS - 1)(partition) if colon else None,
        between(1, MAX_INTEGER)(sequence),
    )
