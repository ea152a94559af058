"""A driver process of the campaign, forked from a process that has imported Ax already.

Importing Ax takes seconds, a fork milliseconds. The parent must have one thread only.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner
from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.io import faults, manifest
from axsched_hpc.io.layout import Layout
from axsched_hpc.runners.base import BaseRunner, Batch
from tests.chaos.objective import logging_objective
from tests.chaos.plan import Plan
from tests.e2e.kit import client

#: Exit code of a driver that ended with an error which says what to do.
REFUSED = 3


@dataclass(frozen=True)
class Place:
    """Where a round runs.

    Attributes
    ----------
    name
        ``local``, ``slurm``, ``noacct``, ``packs`` or ``nfs``.
    slurm
        The environment in which Slurm's commands speak to the cluster; None where there is none.
    mounts
        Two mounts of one directory, for the driver and for the workers; empty where there is no NFS.
    pack
        Attempts in one Slurm job.
    """

    name: str
    slurm: Mapping[str, str] | None = None
    mounts: tuple[Path, ...] = ()
    pack: int = 1


class BesideRunner(LocalRunner):
    """Workers that reach the experiment directory by another mount than their driver, with another cache."""

    def __init__(self, max_parallel: int, directory: Path, beside: Path) -> None:
        super().__init__(max_parallel)
        self._directory = directory
        self._beside = Layout.at(beside)

    def submit(self, batch: Batch) -> Mapping[int, str]:
        there = manifest.read(batch.manifest)
        manifest.write(self._beside, replace(there, root=self._beside.root))
        return super().submit(self._moved(batch))

    def find(self, batches: Sequence[Batch]) -> Mapping[str, Mapping[int, str]]:
        return super().find([self._moved(batch) for batch in batches])

    def _moved(self, batch: Batch) -> Batch:
        return replace(batch, manifest=self._beside.manifest(batch.token))


@dataclass(frozen=True)
class Setting:
    """What all drivers of one round share.

    Attributes
    ----------
    directory
        The experiment directory.
    beside
        Its other path, by which the workers reach it; None for the same.
    log
        Where the objective logs.
    """

    plan: Plan
    place: Place
    directory: Path
    log: Path
    beside: Path | None = field(default=None)


def start(setting: Setting, output: Path, own_faults: Path, worker_faults: Path) -> int:
    """Fork a driver; its process id.

    Parameters
    ----------
    output
        Where it writes what it says.
    own_faults, worker_faults
        Directories of the faults for it, and for the workers that it starts.
    """
    pid = os.fork()
    if pid == 0:
        _be_driver(setting, output, own_faults, worker_faults)
    return pid


def _be_driver(setting: Setting, output: Path, own_faults: Path, worker_faults: Path) -> NoReturn:
    code = 1
    try:
        os.setsid()
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.environ.update(setting.place.slurm or {})
        os.environ["AXSCHED_FAULTS"] = str(worker_faults)
        faults.arm(own_faults)
        logging.basicConfig(
            level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", force=True
        )
        _drive(setting)
        code = 0
    except AxSchedError as error:
        sys.stderr.write(f"ended by {type(error).__name__}: {error}\n")
        code = REFUSED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _drive(setting: Setting) -> None:
    plan = setting.plan
    config = {
        "job_output_dir": str(setting.directory),
        "synchronous": plan.synchronous,
        "cleanup_after_completion": plan.cleanup,
        "monitoring_interval": 1,
        "poll_interval": 0.1,
        "save_interval": 0.5,
        # Workers are killed again and again here, and each death is the infrastructure's fault.
        "retries": {"infrastructure": 50},
    }
    with AxScheduler(client(plan.number, initial=plan.trials + 1), _runner(setting), config) as scheduler:
        scheduler.set_objective_function(logging_objective(str(setting.log), plan.shortest, plan.longest))
        scheduler.run_optimization(max_trials=plan.trials)


def slots(plan: Plan, place: Place) -> int:
    """Attempts at a time, by the script."""
    return max(plan.slots, place.pack)


def _runner(setting: Setting) -> BaseRunner:
    at_a_time = slots(setting.plan, setting.place)
    if setting.place.slurm is not None:
        pack = setting.place.pack
        return SlurmRunner(memory="100M", time_limit="00:10:00", max_parallel=at_a_time, trials_per_job=pack)
    if setting.beside is not None:
        return BesideRunner(at_a_time, setting.directory, setting.beside)
    return LocalRunner(max_parallel=at_a_time)
