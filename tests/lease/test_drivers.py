"""Whole drivers that want one experiment at the same moment."""

from __future__ import annotations

import pytest

from tests.lease import kit
from tests.lease.driving import Forge, is_whole

# One process of the tests runs them all, since they share what they have started.
pytestmark = [kit.needs_hosts, pytest.mark.timeout(300)]

TRIALS = 3


@pytest.mark.parametrize("number", [2, 3])
def test_of_drivers_that_all_may_take_it_exactly_one_does(
    drivers: Forge, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    folders = [tmp_path_factory.mktemp("race") for _ in range(4)]
    # Each has found the experiment free, and is stopped before it makes its segment.
    racers = {
        folder: [
            drivers.start(folder, f"host-{place}", trials=TRIALS, fault="open.before", takeover_after=60)
            for place in range(number)
        ]
        for folder in folders
    }
    for those in racers.values():
        for driver in those:
            kit.wait_until(driver.stopped, "found the experiment free")
    for turn, those in enumerate(racers.values()):
        # Not always the same one first.
        for driver in those[turn % number :] + those[: turn % number]:
            driver.go_on()
    for folder, those in racers.items():
        codes = [driver.ended() for driver in those]
        assert sorted(codes) == [0] + [1] * (number - 1)
        winner = those[codes.index(0)]
        for driver in those:
            if driver is not winner:
                text = f"{driver.root} is driven by process {winner.pid} on {winner.host}, since "
                assert f"axsched_hpc.core.errors.ExperimentLockedError: {text}" in driver.log.read_text()
        is_whole(folder, TRIALS)
