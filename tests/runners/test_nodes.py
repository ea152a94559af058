"""Objectives that start their tasks themselves, over several nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from axsched_hpc import SlurmRunner
from axsched_hpc.core.states import JobState
from axsched_hpc.objectives.install import install
from axsched_hpc.objectives.spec import script_objective
from axsched_hpc.testing.runner_contract import RunnerContract, Task, Workshop
from tests.slurm.harness import Cluster

pytestmark = pytest.mark.slurm

_SCRIPT = """
. "$AXSCHED_PARAMETERS_FILE"
srun sh -c 'echo "$SLURMD_NODENAME $SLURM_PROCID $SLURM_CPUS_PER_TASK"' > "$started.tasks"
echo '{"value": 1}' > "$AXSCHED_METRICS_FILE"
"""


class Waiting(RunnerContract):
    """The waiting of the contract suite, without its tests."""

    __test__ = False
    PAUSE = 0.2


def test_a_script_calls_srun_over_its_nodes(slurm_cluster: Cluster, tmp_path: Path) -> None:
    workshop = Workshop.at(tmp_path)
    script = tmp_path / "mpi.sh"
    script.write_text(_SCRIPT)
    objective = script_objective(script, {"parameters_format": "env", "interpreter": "sh"})
    workshop.objective = install(workshop.layout, objective)
    runner = SlurmRunner(memory="100M", time_limit=10, nodes=2, tasks_per_node=3, cpus_per_task=2)
    jobs = runner.submit(workshop.batch(Task()))
    (status,) = Waiting().wait_for_end(runner, [jobs[0]]).values()
    assert status.state is JobState.SUCCEEDED
    lines = (workshop.layout.trial(0) / "started.tasks").read_text().splitlines()
    tasks = sorted(line.split() for line in lines)
    assert sorted(int(rank) for _, rank, _ in tasks) == list(range(6))
    nodes = [node for node, _, _ in tasks]
    assert len(set(nodes)) == 2 and all(nodes.count(node) == 3 for node in nodes)
    assert {cpus for _, _, cpus in tasks} == {"2"}
