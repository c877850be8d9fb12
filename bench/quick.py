"""How fast and how cheap the operator is, with many bots on a real control plane and no processes of bots.

    python -m bench.quick [--bots 200] [--shots 40] [--quiet 60]

Prints a table, and last one line of JSON; progress goes to stderr. README.md beside this file says how to read it.
Exit code 0: measured. 1: not, and one sentence says why.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from statistics import median
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError

from bench.audit import kinds
from bench.measure import MINIMAL, OPERATOR, Measured, Size, measure
from bench.shots import likely, percentile
from bench.world import BenchError
from tests.bed.controlplane import BuildError, ControlPlaneError
from tests.bed.kube import KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.process import Memory

_FAILURES = (BenchError, BuildError, ControlPlaneError, KubeError, ClientError, OSError)
_PERCENTS = (50, 95, 99)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Returns the exit code."""
    options = _parser().parse_args(arguments)
    size = Size(options.bots, options.shots, options.quiet)
    failures: list[BaseException] = []
    try:
        measured = asyncio.run(measure(size))
    except* _FAILURES as group:
        failures += _leaves(group)
    if failures:
        sys.stderr.write(f"bench: not measured: {failures[0] or type(failures[0]).__name__}\n")
        return 1
    sys.stdout.write(f"{_table(size, measured)}\n{json.dumps(_figures(size, measured))}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.quick", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bots", type=_at_least(1), default=200, help="TelegramBots, each with a Deployment (200)")
    parser.add_argument("--shots", type=_at_least(2), default=40, help="shots at each of the two processes (40)")
    parser.add_argument("--quiet", type=_at_least(1), default=60, help="seconds during which nothing changes (60)")
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return int(text)

    return number


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The single errors of a group of groups."""
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


def _times(measured: Measured, user: str) -> list[float]:
    """How long each shot at a process took, in milliseconds."""
    return [shot.milliseconds for shot in measured.shots[user]]


def _arrivals(measured: Measured, user: str) -> list[float]:
    """The part of it until the process's patch arrived at the API server."""
    return [shot.arrived for shot in measured.shots[user]]


def _reaction(measured: Measured) -> dict[str, float]:
    """The figures of the shots."""
    ours, least = _times(measured, OPERATOR), _times(measured, MINIMAL)
    figures = {}
    for percent in _PERCENTS:
        figures[f"reaction_ratio_p{percent}"] = round(percentile(ours, percent) / percentile(least, percent), 3)
        figures[f"reaction_ms_p{percent}"] = round(percentile(ours, percent), 2)
        figures[f"minimal_ms_p{percent}"] = round(percentile(least, percent), 2)
    low, high = likely(ours, least)
    return figures | {
        "reaction_ratio_p50_low": round(low, 3),
        "reaction_ratio_p50_high": round(high, 3),
        "arrival_ms_p50": round(median(_arrivals(measured, OPERATOR)), 2),
        "minimal_arrival_ms_p50": round(median(_arrivals(measured, MINIMAL)), 2),
    }


def _figures(size: Size, measured: Measured) -> dict[str, Any]:
    """The line of JSON."""
    changes = [request for request in measured.changes if not request.by_the_clock]
    return _reaction(measured) | {
        "rss_mib": round(measured.after_shots.rss, 1),
        "pss_mib": round(measured.after_shots.pss, 1),
        "rss_mib_before_shots": round(measured.settled.rss, 1),
        "requests_per_change": round(len(changes) / size.shots, 2),
        "idle_writes": sum(request.writes for request in measured.idle),
        "idle_requests": len(measured.idle),
        "idle_seconds": size.quiet,
        "idle_cpu_percent": round(100 * measured.idle_cpu, 2),
        "cold_start_s": round(measured.cold_start, 2),
        "load_before": round(measured.load_before, 2),
        "bots": size.bots,
        "shots": size.shots,
    }


def _table(size: Size, measured: Measured) -> str:
    """What a person reads."""
    figures = _figures(size, measured)
    ratios = "".join(f"{figures[f'reaction_ratio_p{each}']:9.2f}" for each in _PERCENTS)
    likely_p50 = f"p50 likely {figures['reaction_ratio_p50_low']:.2f} to {figures['reaction_ratio_p50_high']:.2f}"
    rows = [
        f"{size.bots} bots, {size.shots} shots at each process; load before {measured.load_before:.1f}",
        "",
        _row("scaled to 2, back at 1", "".join(f"{'p' + str(each):>9}" for each in _PERCENTS)),
        _row("  operator", _percentiles(_times(measured, OPERATOR))),
        _row("  minimal loop", _percentiles(_times(measured, MINIMAL))),
        _row("  ratio", f"{ratios}   {likely_p50}"),
        _row("until the patch arrives", ""),
        _row("  operator", _percentiles(_arrivals(measured, OPERATOR))),
        _row("  minimal loop", _percentiles(_arrivals(measured, MINIMAL))),
        "",
        _row("cold start", f"{measured.cold_start:9.2f} s until every bot has a status"),
        _row("memory at rest", _memory(measured.settled)),
        _row("memory after the shots", _memory(measured.after_shots)),
        _row("requests per change", f"{figures['requests_per_change']:9.2f}"),
        *_kinds(measured, size),
        _row(f"writes in {size.quiet} quiet s", f"{figures['idle_writes']:9d}"),
        _row(f"reads in {size.quiet} quiet s", f"{len(measured.idle) - figures['idle_writes']:9d}"),
        _row("CPU when idle", f"{figures['idle_cpu_percent']:9.2f} % of one core"),
    ]
    return "\n".join(rows) + "\n"


def _row(title: str, values: str) -> str:
    return f"{title:<26}{values}".rstrip()


def _percentiles(times: Sequence[float]) -> str:
    return "".join(f"{percentile(times, percent):9.2f}" for percent in _PERCENTS) + " ms"


def _memory(memory: Memory) -> str:
    return f"{memory.rss:9.1f} MiB RSS, {memory.pss:.1f} PSS"


def _kinds(measured: Measured, size: Size) -> list[str]:
    """What the requests of a change are."""
    found = kinds(request for request in measured.changes if not request.by_the_clock)
    return [_row(f"  {kind}", f"{count / size.shots:9.2f}") for kind, count in found.most_common()]


if __name__ == "__main__":
    sys.exit(main())
