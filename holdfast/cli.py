"""The command `holdfast`: its grammar, and what its exit codes mean.

Exit codes: 0 done, 1 a check failed, 2 wrong usage or a refused setting, 3 a server could not be
reached. With `--json`, stdout carries one JSON object and nothing else; logs go to stderr.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from engine.errors import HoldfastError, SettingsError, Unavailable
from engine.limits import ID_PATTERN
from holdfast import commands, logs
from holdfast.embedded.process import ServerFailed
from holdfast.system import DEFAULT_DIRECTORY, DEFAULT_PORT, AlreadyRunning, NotRunning

DONE: Final = 0
CHECK_FAILED: Final = 1
WRONG_USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_SIMULATOR_PORT: Final = 12_111
MAX_API_WORKERS: Final = 64
MAX_TOKENS: Final = 1_000_000
MAX_TOKEN_TTL_S: Final = 366 * 24 * 3600

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    options = parser().parse_args(arguments)
    # Until a command reads the settings; what is not set up would log to stdout.
    logs.configure("warning", "console")
    command: Command = options.run
    try:
        return command(options)
    except (SettingsError, AlreadyRunning) as refused:
        return fail(WRONG_USAGE, refused)
    except (Unavailable, NotRunning, ServerFailed) as away:
        return fail(UNREACHABLE, away)
    except HoldfastError as failed:
        return fail(CHECK_FAILED, failed)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough of it. Python would complain about it at its exit.
        sys.stdout = None
        return DONE
    except OSError as refused:
        # A directory that cannot be written, a file that belongs to somebody else.
        return fail(WRONG_USAGE, refused)


def fail(code: int, reason: Exception) -> int:
    """Say why on stderr, in one place and one way."""
    print(f"holdfast: {reason}", file=sys.stderr)
    return code


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="holdfast", description="A reservation engine for scarce stock."
    )
    menu = top.add_subparsers(required=True, metavar="COMMAND")

    up = _add(menu, "up", commands.run_up, "the whole system, in the foreground")
    _add_data(up)
    _add_address(up, None)
    up.add_argument("--api-workers", type=_between(1, MAX_API_WORKERS), metavar="N")
    up.add_argument("--demo-sale", action="store_true", help="with a sale to try things on")
    up.add_argument("--redis-url", metavar="URL", help="a Redis to use instead of a new Valkey")
    up.add_argument("--database-url", metavar="URL", help="a PostgreSQL to use instead of a new")

    api = _add(menu, "api", commands.run_api, "the HTTP API alone")
    _add_address(api)
    api.add_argument(
        "--fd",
        type=_between(0, 1 << 20),
        metavar="N",
        help="serve on an inherited, listening socket instead",
    )

    _add(menu, "worker", commands.run_worker, "the background worker alone")

    simulator = _add(
        menu, "simulator", commands.run_simulator, "the payment gateway's simulator alone"
    )
    _add_data(simulator)
    _add_address(simulator, DEFAULT_SIMULATOR_PORT)

    migrate = _add(
        menu, "migrate", commands.run_migrate, "bring the database to the newest version"
    )
    _add_data(migrate)

    token = _add(menu, "token", commands.run_token, "development tokens")
    _add_data(token)
    token.add_argument("--sub", required=True, type=_subject, metavar="ID", help="the customer")
    token.add_argument("--scope", default="bookings", help='like "bookings admin"')
    token.add_argument("--count", type=_between(1, MAX_TOKENS), metavar="N", help="ID-1 … ID-N")
    token.add_argument("--ttl", type=_between(1, MAX_TOKEN_TTL_S), metavar="SECONDS")

    backlog = menu.add_parser("backlog", help="the journal's way to PostgreSQL")
    backlog_menu = backlog.add_subparsers(required=True, metavar="COMMAND")
    status = _add(
        backlog_menu, "status", commands.run_backlog_status, "how far PostgreSQL is behind Redis"
    )
    _add_data(status)
    _add_json(status)

    verify = _add(menu, "verify", commands.run_verify, "compare Redis, the journal and PostgreSQL")
    _add_data(verify)
    _add_json(verify)

    demo = _add(menu, "demo", commands.run_demo, "sell out a flash sale over HTTP")
    demo.add_argument("--buyers", type=_between(1, 1_000_000), default=5_000, metavar="N")
    demo.add_argument("--stock", type=_between(1, 1_000_000), default=1_000, metavar="N")
    _add_json(demo)
    return top


def _add(
    menu: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Command,
    what: str,
) -> argparse.ArgumentParser:
    command = menu.add_parser(name, help=what, description=what)
    command.set_defaults(run=run)
    return command


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_DIRECTORY,
        metavar="DIR",
        help=f"the system's data directory (default: {DEFAULT_DIRECTORY})",
    )


def _add_address(command: argparse.ArgumentParser, port: int | None = DEFAULT_PORT) -> None:
    command.add_argument("--host", default=DEFAULT_HOST, metavar="H")
    about = f"0: a free one (default: {DEFAULT_PORT if port is None else port}"
    about += ", or a free one where that is taken)" if port is None else ")"
    command.add_argument("--port", type=_between(0, 65_535), default=port, metavar="P", help=about)


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return number


def _subject(text: str) -> str:
    if not re.fullmatch(ID_PATTERN.removesuffix("$"), text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an id ({ID_PATTERN})")
    return text
