"""What submitit's parameters ask Slurm for, and the same with more."""

from __future__ import annotations

from typing import Any

import pytest

from axsched_hpc import SlurmRunner, SubmititRunner
from axsched_hpc.core.events import Request
from axsched_hpc.core.request import Asked
from axsched_hpc.runners.slurm_options import ADDITIONAL, asked, requesting


def options(**fields: Any) -> dict[str, Any]:
    return {ADDITIONAL: {name.replace("_", "-"): value for name, value in fields.items()}}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, Asked()),
        ({"mem_gb": 1.5, "timeout_min": 90}, Asked(1536, 5400)),
        ({"slurm_mem": "2G", "slurm_time": "1-00:00:00"}, Asked(2048, 86400)),
        (options(mem="4G", time="01:00:00"), Asked(4096, 3600)),
        (options(mem_per_cpu="2G", cpus_per_task=4), Asked(8192, None)),
        (options(mem_per_cpu="2G", cpus_per_task=4, ntasks_per_node=3), Asked(24576, None)),
        (options(mem_per_gpu="10G", gpus_per_task=2, ntasks=1), Asked(20480, None)),
        (options(mem_per_gpu="10G"), Asked()),
        (options(mem="0", time="infinite"), Asked()),
        ({"mem_gb": 4, **options(mem="8G")}, Asked(8192, None)),
    ],
)
def test_what_is_asked_for(parameters: dict[str, Any], expected: Asked) -> None:
    assert asked(parameters) == expected


def test_the_runners_say_what_they_ask_for() -> None:
    assert SlurmRunner(memory="2G", time_limit="00:30:00").asked == Asked(2048, 1800)
    runner = SlurmRunner(cpus_per_task=2, config={"sbatch_options": {"mem-per-cpu": "3G"}})
    assert runner.asked == Asked(6144, 3600)
    assert SubmititRunner("slurm", 2, mem_gb=1, timeout_min=5).asked == Asked(1024, 300)
    assert SubmititRunner("local", 2).asked == Asked()


def asking(parameters: dict[str, Any], **request: Any) -> dict[str, Any]:
    found: dict[str, Any] = requesting(parameters, Request(**request))[ADDITIONAL]
    return found


def test_more_is_asked_for_by_the_same_option() -> None:
    assert asking(options(mem="4G"), memory_mb=8192) == {"mem": "8192M"}
    assert asking({"mem_gb": 4}, memory_mb=8192) == {"mem": "8192M"}
    assert asking(options(mem_per_cpu="1G", cpus_per_task=4), memory_mb=8192)["mem-per-cpu"] == "2048M"
    per_gpu = options(mem_per_gpu="10G", gpus_per_task=2, ntasks=1)
    assert asking(per_gpu, memory_mb=40960)["mem-per-gpu"] == "20480M"
    assert asking(options(time="01:00:00"), time_s=90_000) == {"time": "1-01:00:00"}


def test_nodes_are_avoided_beside_those_of_the_user() -> None:
    assert asking({}, exclude=("n1", "n2")) == {"exclude": "n1,n2"}
    assert asking(options(exclude="bad[1-3]"), exclude=("n1",)) == {"exclude": "bad[1-3],n1"}


def test_nothing_is_changed_without_a_request() -> None:
    before = {"mem_gb": 4, **options(time=10)}
    assert requesting(before, Request()) == before
    assert requesting({}, Request()) == {}


def test_the_warning_leaves_a_user_s_own_signal_alone() -> None:
    assert requesting({}, Request(), warning=90)[ADDITIONAL] == {"signal": "B:USR1@90"}
    own = options(signal="B:TERM@60")
    assert requesting(own, Request(), warning=90) == own


def test_the_warning_is_not_nearer_to_the_start_than_to_the_end() -> None:
    assert requesting(options(time=1), Request(), warning=120)[ADDITIONAL]["signal"] == "B:USR1@30"
    assert requesting(options(time=10), Request(), warning=120)[ADDITIONAL]["signal"] == "B:USR1@120"
    assert requesting(options(time=1), Request(time_s=600), warning=120)[ADDITIONAL]["signal"] == "B:USR1@120"


def test_under_srun_the_warning_goes_to_the_step() -> None:
    assert requesting({"slurm_use_srun": True}, Request(), warning=90)[ADDITIONAL] == {"signal": "USR1@90"}
