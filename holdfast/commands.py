"""What each sub-command runs, with which settings; it returns the exit code.

Each imports what it needs when it is called, so that `holdfast token` does not wait for asyncpg.
"""

from __future__ import annotations

import argparse
import asyncio

from engine.settings import Settings, load_settings
from holdfast import logs


def run_up(options: argparse.Namespace) -> int:
    """`holdfast up`."""
    from holdfast import settings, up  # noqa: PLC0415

    return up.run(
        up.UpOptions(
            data=options.data,
            host=options.host,
            port=options.port,
            api_workers=options.api_workers or settings.default_api_workers(),
            demo_sale=options.demo_sale,
            redis_url=options.redis_url,
            database_url=options.database_url,
        )
    )


def run_api(options: argparse.Namespace) -> int:
    """`holdfast api`."""
    from api.serve import serve  # noqa: PLC0415

    serve(_environment_settings(), options.host, options.port, options.fd)
    return 0


def run_worker(_: argparse.Namespace) -> int:
    """`holdfast worker`."""
    from workers.main import run  # noqa: PLC0415

    run(_environment_settings())
    return 0


def run_simulator(options: argparse.Namespace) -> int:
    """`holdfast simulator`."""
    from holdfast.simulator.serve import run  # noqa: PLC0415
    from holdfast.simulator.settings import load_simulator_settings  # noqa: PLC0415

    run(load_simulator_settings(), options.host, options.port, options.data / "simulator")
    return 0


def run_demo(options: argparse.Namespace) -> int:
    """`holdfast demo`."""
    from holdfast import demo  # noqa: PLC0415

    return asyncio.run(demo.demo(options.buyers, options.stock, as_json=options.json))


def run_bench(options: argparse.Namespace) -> int:
    """`holdfast bench`."""
    from holdfast.bench import command  # noqa: PLC0415

    return asyncio.run(command.bench(options.rounds, options.live, as_json=options.json))


def _environment_settings() -> Settings:
    """The settings of a part that runs alone."""
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    return settings
