"""What the bench prints: the machine, the rows, the verdict."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from statistics import median
from typing import Any, Final

import psutil
from redis.asyncio import Redis
from rich.table import Table

from holdfast.bench.orders import Measured
from holdfast.bench.stage import Stage
from holdfast.bench.verdicts import TARGETS, Rounds

PACKAGES: Final = ("holdfast-reservations", "uvicorn", "uvloop", "httptools", "starlette", "redis")
PACKAGES_COMPARED: Final = ("asyncpg",)
PARTS: Final = ("api", "redis", "worker", "postgres", "gateway")


async def machine(stage: Stage) -> dict[str, Any]:
    """Where it ran, on what, with which settings."""
    async with Redis.from_url(stage.run.redis_url) as server:
        told = await server.info("server")
        durability = await server.config_get("append*")
    async with stage.database() as connection:
        postgres = await connection.fetchval("SHOW server_version")
        synchronous = await connection.fetchval("SHOW synchronous_commit")
    return {
        "processors": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30), 1),
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "redis": _server(told),
        "postgres": postgres,
        "packages": {name: version(name) for name in (*PACKAGES, *PACKAGES_COMPARED)},
        "settings": {
            "api_processes": 1,
            "worker_processes": 1,
            "appendfsync": durability["appendfsync"],
            "synchronous_commit": synchronous,
            **{
                name.lower(): str(value)
                for name, value in stage.settings.model_dump(
                    include={"durability", "partitions", "rate_limit", "max_in_flight"}
                ).items()
            },
        },
    }


def _server(told: Mapping[str, Any]) -> str:
    name = told.get("server_name", "redis")
    return f"{name} {told.get(f'{name}_version') or told['redis_version']}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            return next(line.partition(":")[2].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def verdict(rounds: Rounds) -> list[dict[str, Any]]:
    """Each target, what was reached, and whether that is enough; None where it was not measured."""
    lines = []
    for target in TARGETS:
        reached = target.reached(rounds)
        lines.append(
            {
                "measure": target.about,
                "reached": None if reached is None else round(reached, 3),
                "bound": target.bound,
                "at_most": target.at_most,
                "aim": target.aim,
                "unit": target.unit,
                "met": None if reached is None else target.met(reached),
            }
        )
    return lines


def summary(found: Sequence[Measured]) -> dict[str, Any]:
    """A row: medians over its rounds."""
    return {
        "per_s": round(median(one.per_s for one in found), 1),
        "p50_ms": round(median(one.p50_ms for one in found), 2),
        "p99_ms": round(median(one.p99_ms for one in found), 2),
        "answers": {
            status: sum(one.answers.get(status, 0) for one in found)
            for status in sorted({status for one in found for status in one.answers})
        },
        "load_share": round(median(one.load_share for one in found), 2),
        "shares": {
            part: round(median(one.shares.get(part, 0.0) for one in found), 2) for part in PARTS
        },
        "rounds": [asdict(one) | {"per_s": round(one.per_s, 1)} for one in found],
    }


def machine_lines(told: Mapping[str, Any]) -> list[str]:
    """The machine, for people."""
    packages = ", ".join(f"{name} {number}" for name, number in told["packages"].items())
    settings = ", ".join(f"{name} {value}" for name, value in told["settings"].items())
    return [
        f"{told['processors']} processors ({told['processor']}), {told['memory_gib']} GiB, "
        f"load {told['load_before']} before; {told['system']}",
        f"Python {told['python']}, {told['redis']}, PostgreSQL {told['postgres']}; {packages}",
        settings,
    ]


def rows_table(rounds: Rounds, about: Mapping[str, str]) -> Table:
    """What was measured."""
    drawn = Table(title="Measured (medians; processors in use)", title_justify="left")
    drawn.add_column("row", no_wrap=True)
    for name in ("by the second", "p50 ms", "p99 ms", "load", *PARTS):
        drawn.add_column(name, justify="right")
    drawn.add_column("answers")
    for name, found in rounds.items():
        row = summary(found)
        drawn.add_row(
            about[name],
            f"{row['per_s']:,.0f}",
            f"{row['p50_ms']:,.1f}" if row["p50_ms"] else "",
            f"{row['p99_ms']:,.1f}" if row["p99_ms"] else "",
            f"{row['load_share']:.2f}" if row["load_share"] else "",
            *(f"{row['shares'][part]:.2f}" if row["shares"][part] else "" for part in PARTS),
            " ".join(f"{status}: {count:,}" for status, count in row["answers"].items()),
        )
    return drawn


def verdict_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """What was reached of what was to be."""
    drawn = Table(title="Against the targets", title_justify="left")
    drawn.add_column("measure", no_wrap=True)
    for name in ("reached", "target", "verdict"):
        drawn.add_column(name, justify="right")
    for line in lines:
        sign = "≤" if line["at_most"] else "≥"
        aim = f" (aim {line['aim']:g})" if line["aim"] else ""
        unit = f" {line['unit']}" if line["unit"] else ""
        said = {None: "not measured", True: "met", False: "MISSED"}[line["met"]]
        reached = "" if line["reached"] is None else f"{line['reached']:,.3g}{unit}"
        drawn.add_row(line["measure"], reached, f"{sign} {line['bound']:g}{unit}{aim}", said)
    return drawn
