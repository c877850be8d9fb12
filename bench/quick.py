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
from typing import TYPE_CHECKING, Any

from aiohttp import ClientError

from bench.audit import kinds
from bench.measure import MINIMAL, OPERATOR, Measured, Size, measure
from bench.shots import percentile
from bench.world import BenchError
from tests.bed.controlplane import BuildError, ControlPlaneError
from tests.bed.kube import KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def _reactions(measured: Measured) -> dict[str, list[float]]:
    """The percentiles of each process's shots, in milliseconds."""
    times = {user: [shot.milliseconds for shot in shots] for user, shots in measured.shots.items()}
    return {user: [percentile(each, percent) for percent in _PERCENTS] for user, each in times.items()}


def _figures(size: Size, measured: Measured) -> dict[str, Any]:
    """The line of JSON."""
    reactions = _reactions(measured)
    ratios = [ours / least for ours, least in zip(reactions[OPERATOR], reactions[MINIMAL], strict=True)]
    figures: dict[str, Any] = {}
    for percent, ours, least, ratio in zip(_PERCENTS, reactions[OPERATOR], reactions[MINIMAL], ratios, strict=True):
        figures |= {f"reaction_ratio_p{percent}": round(ratio, 3)}
        figures |= {f"reaction_ms_p{percent}": round(ours, 2), f"minimal_ms_p{percent}": round(least, 2)}
    changes = [request for request in measured.changes if not request.by_the_clock]
    return figures | {
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
    figures, reactions = _figures(size, measured), _reactions(measured)
    rows = [
        f"{size.bots} bots, {size.shots} shots at each process; times in ms; load before {measured.load_before:.1f}",
        "",
        f"{'scaled to 2, back at 1':<26}{'p50':>9}{'p95':>9}{'p99':>9}",
        f"{'  operator':<26}" + "".join(f"{each:9.2f}" for each in reactions[OPERATOR]),
        f"{'  minimal loop':<26}" + "".join(f"{each:9.2f}" for each in reactions[MINIMAL]),
        f"{'  ratio':<26}" + "".join(f"{figures[f'reaction_ratio_p{each}']:9.2f}" for each in _PERCENTS),
        "",
        f"cold start                {figures['cold_start_s']:9.2f} s until every bot has a status",
        f"memory                    {measured.settled.rss:9.1f} MiB RSS at rest, {measured.after_shots.rss:.1f} after "
        f"the shots (PSS {measured.after_shots.pss:.1f})",
        f"requests per change       {figures['requests_per_change']:9.2f}",
        *_kinds(measured, size),
        f"writes in {size.quiet:>3} quiet s      {figures['idle_writes']:9d}",
        f"reads in {size.quiet:>3} quiet s       {len(measured.idle) - figures['idle_writes']:9d}",
        f"CPU when idle             {figures['idle_cpu_percent']:9.2f} % of one core",
    ]
    return "\n".join(rows) + "\n"


def _kinds(measured: Measured, size: Size) -> list[str]:
    """What the requests of a change are."""
    found = kinds(request for request in measured.changes if not request.by_the_clock)
    return [f"  {kind:<24}{count / size.shots:9.2f}" for kind, count in found.most_common()]


if __name__ == "__main__":
    sys.exit(main())
