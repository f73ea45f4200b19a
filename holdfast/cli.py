"""The command `holdfast`: its grammar, and what its exit codes mean.

Exit codes: 0 done, 1 a check failed, 2 wrong usage or a refused setting, 3 a server could not be
reached. With `--json`, stdout carries one JSON object and nothing else; logs go to stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from engine.errors import HoldfastError, SettingsError, Unavailable
from holdfast import cli_operator, commands, logs
from holdfast.cli_arguments import Command, add, add_address, add_data, add_json, between
from holdfast.embedded.process import ServerFailed
from holdfast.system import AlreadyRunning, NotRunning

DONE: Final = 0
CHECK_FAILED: Final = 1
WRONG_USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130

DEFAULT_SIMULATOR_PORT: Final = 12_111
MAX_API_WORKERS: Final = 64


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

    up = add(menu, "up", commands.run_up, "the whole system, in the foreground")
    add_data(up)
    add_address(up, None)
    up.add_argument("--api-workers", type=between(1, MAX_API_WORKERS), metavar="N")
    up.add_argument("--demo-sale", action="store_true", help="with a sale to try things on")
    up.add_argument("--redis-url", metavar="URL", help="a Redis to use instead of a new Valkey")
    up.add_argument("--database-url", metavar="URL", help="a PostgreSQL to use instead of a new")

    api = add(menu, "api", commands.run_api, "the HTTP API alone")
    add_address(api)
    api.add_argument(
        "--fd",
        type=between(0, 1 << 20),
        metavar="N",
        help="serve on an inherited, listening socket instead",
    )

    add(menu, "worker", commands.run_worker, "the background worker alone")

    simulator = add(
        menu, "simulator", commands.run_simulator, "the payment gateway's simulator alone"
    )
    add_data(simulator)
    add_address(simulator, DEFAULT_SIMULATOR_PORT)

    cli_operator.add_commands(menu)

    demo = add(menu, "demo", commands.run_demo, "sell out a flash sale over HTTP")
    demo.add_argument("--buyers", type=between(1, 1_000_000), default=5_000, metavar="N")
    demo.add_argument("--stock", type=between(1, 1_000_000), default=1_000, metavar="N")
    add_json(demo)

    bench = add(menu, "bench", commands.run_bench, "what it does by the second, beside its limits")
    bench.add_argument("--rounds", type=between(1, 100), default=3, metavar="N")
    bench.add_argument(
        "--live",
        type=between(0, 10_000_000),
        default=200_000,
        metavar="N",
        help="live bookings for the cost of a hold in a full Redis; 0: not measured",
    )
    add_json(bench)
    return top
