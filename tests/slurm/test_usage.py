"""What a real accounting tells of the memory and time of ended jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from axsched_hpc.slurm import parse, render
from axsched_hpc.slurm.parse import Usage
from axsched_hpc.slurm.run import run
from tests.slurm.harness import Cluster
from tests.slurm.processes import poll

pytest_plugins = ("tests.slurm.fixtures",)
pytestmark = pytest.mark.slurm

#: 150 MiB for two seconds, in one of two tasks.
SCRIPT = """#!/bin/sh
test "$SLURM_ARRAY_TASK_ID" = 1 || exit 0
exec srun python3 -c 'import time; kept = bytearray(150 << 20); time.sleep(2)'
"""


def asked(*jobs: str) -> dict[str, Usage]:
    answer = run(render.sacct_usage(jobs))
    return parse.usage(answer.code, answer.out, answer.err)


def test_usage_of_the_tasks_of_an_array(acct_cluster: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(SCRIPT)
    options = ("--array=0-1", "--mem=400M", "--time=7", "--acctg-freq=1", f"--output={tmp_path}/log-%a")
    done = acct_cluster.run("sbatch", "--parsable", "--wait", *options, str(script))
    assert done.returncode == 0, done.stderr
    short, long = (f"{done.stdout.strip()}_{task}" for task in (0, 1))

    def recorded() -> bool:
        found = asked(short, long)
        # The start of a short job reaches the database after its end.
        return set(found) == {short, long} and all(use.limit_s and use.asked_mb for use in found.values())

    assert poll(recorded, 20.0, interval=0.5), asked(short, long)
    found = asked(short, long)
    assert {(use.asked_mb, use.limit_s, use.out_of_memory) for use in found.values()} == {(400, 420, False)}
    assert found[long].used_mb is not None and 150 <= found[long].used_mb <= 250
    assert found[long].elapsed_s is not None and 2 <= found[long].elapsed_s <= 60
    assert asked(long) == {long: found[long]}


def test_usage_without_accounting(noacct_cluster: Cluster) -> None:
    with pytest.raises(parse.AccountingOff):
        asked("1")
