"""A short crash campaign: some rounds of a fixed seed, and some of a new one each time."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests import scripts
from tests.chaos.plan import DRIVER_POINTS, LAST_POINTS, WORKER_POINTS, cover, draw
from tests.slurm.harness import Cluster

ROOT = Path(__file__).resolve().parents[2]


def campaign(folder: Path, where: str, rounds: str, seed: int) -> str:
    """Run it in a process of its own, which forks drivers and so must be no pytest; what it said."""
    arguments = ["--where", where, "--rounds", rounds, "--seed", seed, "--folder", folder / "chaos"]
    done = scripts.run(ROOT / "tests/chaos/campaign.py", arguments, folder=folder, timeout=280)
    # In the report of a failed test it says how the round is repeated.
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, None], ids=["fixed", "random"])
def test_local(seed: int | None, tmp_path: Path) -> None:
    said = campaign(tmp_path, "local", "1,2", seed or secrets.randbelow(10**6))
    assert "2 rounds in" in said
    assert "; 0 violations." in said


@pytest.mark.slurm
@pytest.mark.timeout(300)
def test_slurm_with_a_fixed_seed(acct_cluster: Cluster, tmp_path: Path) -> None:
    assert "; 0 violations." in campaign(tmp_path, "slurm", "1", 1)


@pytest.mark.slurm
@pytest.mark.timeout(300)
def test_slurm_without_accounting_with_a_random_seed(noacct_cluster: Cluster, tmp_path: Path) -> None:
    assert "; 0 violations." in campaign(tmp_path, "noacct", "1", secrets.randbelow(10**6))


def test_a_round_follows_from_its_seed_and_number() -> None:
    assert draw(3, 17) == draw(3, 17)
    assert len({str(draw(seed, number).lives) for seed in (1, 2) for number in (1, 2, 3)}) == 6
    assert draw(3, 17, trials=5).lives == draw(3, 17).lives


def test_a_covering_round_has_all_its_points_and_the_last_ones_at_its_end() -> None:
    points = [*DRIVER_POINTS, *WORKER_POINTS]
    plan = cover(1, 1, points)
    assert {fault.point for fault in plan.faults} == set(points)
    assert {fault.action for fault in plan.faults} == {"kill"}
    drivers = [f.point for life in plan.lives for f in life.faults if f.point in DRIVER_POINTS]
    assert drivers[-2:] == list(LAST_POINTS)
    assert plan.cleanup
