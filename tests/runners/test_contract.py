"""The contract suite over this package's runners."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from axsched_hpc import LocalRunner, SlurmRunner, SubmititRunner
from axsched_hpc.runners.base import BaseRunner
from axsched_hpc.testing.runner_contract import DetachedRunnerContract, RunnerContract

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
class TestSubmititSlurm(RunnerContract):
    PAUSE = 0.25

    @pytest.fixture
    def make_runner(self, acct_cluster: object) -> MakeRunner:
        return lambda: SubmititRunner("slurm", 20, timeout_min=10, mem_gb=0.1, slurm_partition="main")
