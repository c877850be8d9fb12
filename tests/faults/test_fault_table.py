"""A cheap selection of `make faults`: three faults to a bot that is guarded, and one to a bot that nobody guards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bench.faults.faults import FAULTS
from bench.faults.play import cell
from bench.faults.stage import Stage, Stages
from bench.faults.variants import PLAIN, VARIANTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bed.bed import Bed

pytestmark = pytest.mark.bed

GUARDED = next(each for each in VARIANTS if each.name == "Gate, own")
PROMISED = ("a deleted pod", "a scale to 2", "a rollback A-B-A")


async def test_nobody_meets_where_it_is_promised_and_two_do_where_nothing_guards(bed: Bed, rights: Path) -> None:
    rows = {each.name: each for each in FAULTS}
    free: Stages = {False: asyncio.Queue()}
    for _ in (*PROMISED, PLAIN):
        free[False].put_nowait(await Stage.of(bed, 0, rights))
    guarded = (cell(free, rows[name], GUARDED) for name in PROMISED)
    *kept, unguarded = await asyncio.gather(*guarded, cell(free, rows["a deleted pod"], PLAIN))
    for name, figures in zip(PROMISED, kept, strict=True):
        assert rows[name].promised(GUARDED)
        assert figures.clean, f"{name}: {figures}"
    assert not rows["a deleted pod"].promised(PLAIN)
    assert unguarded.overlap > 1
    assert unguarded.peak == 2
    assert unguarded.conflicts
