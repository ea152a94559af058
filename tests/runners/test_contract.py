"""The contract suite over this package's runners."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from axsched_hpc import LocalRunner, SlurmRunner, SubmititRunner
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.testing.runner_contract import DetachedRunnerContract, RunnerContract
from tests.runners.allocated import allocated
from tests.slurm.harness import Cluster

MakeRunner = Callable[[], BaseRunner]


class TestLocal(DetachedRunnerContract):
    PAUSE = 0.02

    @pytest.fixture
    def make_runner(self) -> MakeRunner:
        return lambda: LocalRunner(max_parallel=20)


class TestDebug(RunnerContract):
    PAUSE = 0.0

    @pytest.fixture
    def make_runner(self) -> MakeRunner:
        return lambda: SubmititRunner("debug", 20)


@pytest.mark.slurm
class TestSlurm(DetachedRunnerContract):
    PAUSE = 0.25

    @pytest.fixture
    def make_runner(self, slurm_cluster: object) -> MakeRunner:
        return lambda: SlurmRunner(memory="100M", time_limit="00:10:00", max_parallel=20)


@pytest.mark.slurm
class TestPacks(DetachedRunnerContract):
    PAUSE = 0.25

    @pytest.fixture
    def make_runner(self, noacct_cluster: object) -> MakeRunner:
        return lambda: SlurmRunner(memory="100M", time_limit="00:10:00", max_parallel=20, trials_per_job=4)


class _Inside(DetachedRunnerContract):
    """Inside an allocation that somebody else holds, as with salloc."""

    PAUSE = 0.1

    @pytest.fixture
    def make_runner(self, allocation: str) -> MakeRunner:
        return lambda: SlurmRunner(memory="100M", time_limit="00:10:00", mode="steps")


@pytest.mark.slurm
class TestSteps(_Inside):
    @pytest.fixture
    def allocation(self, acct_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        with allocated(acct_cluster, 2, monkeypatch) as job:
            yield job


@pytest.mark.slurm
class TestChildren(_Inside):
    @pytest.fixture
    def allocation(self, noacct_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        with allocated(noacct_cluster, 1, monkeypatch) as job:
            yield job


@pytest.mark.slurm
class TestSubmititSlurm(RunnerContract):
    PAUSE = 0.25

    @pytest.fixture
    def make_runner(self, acct_cluster: object) -> MakeRunner:
        return lambda: SubmititRunner("slurm", 20, timeout_min=10, mem_gb=0.1, slurm_partition="main")
