"""One way to run the trials of `throughput.py`, in a process of its own: prints the seconds of the loop.

    python -m benchmarks.contestants WAY slurm|local --trials N --slots N --seconds S --folder DIR

All ways run the same body, which sleeps and returns one number, so many at a time, at points that are drawn
at random and depend on nothing. What is loaded and configured beforehand is not counted. The hand-written
ones are what a careful user of that library writes today: jobs are submitted in arrays, ends are noticed by
the result files and not by sacct, and polls are as frequent as ours at their quickest.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.simplefilter("ignore")

#: Seconds between two looks of the hand-written loops, where nothing has happened.
LOOK = 0.02


@dataclass(frozen=True)
class Work:
    """So many trials of so many seconds, so many at a time."""

    where: str
    trials: int
    slots: int
    seconds: float
    folder: Path

    def body(self) -> Callable[..., float]:
        """The objective; pickled by value, so that its job imports nothing for it."""
        seconds = self.seconds

        def objective(x: float, y: float) -> float:
            import time

            time.sleep(seconds)
            return (y - 0.13 * x * x) ** 2 + x

        return objective


def machine_seconds() -> float:
    """Seconds of its processors that this machine has worked so far, whoever for."""
    user, nice, system, _, _, irq, soft, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


Bounds = {"x": (-5.0, 10.0), "y": (0.0, 15.0)}

#: Whatever is to be timed; returns how many trials were completed.
Loop = Callable[[], int]


# ---------------------------------------------------------------- this package


def ours(work: Work) -> Loop:
    """AxScheduler with its defaults."""
    return _ours(work, [])


def given(work: Work) -> Loop:
    """The same at points that need no suggestion of Ax: what is left is not the time of its generation."""
    return _ours(work, points(work.trials))


def in_one_job(work: Work) -> Loop:
    """The same, where the driver is a job itself, and the trials processes in it."""
    return _ours(work, [], mode="steps")


def _ours(work: Work, queue: list[dict[str, float]], **options: Any) -> Loop:
    from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner

    runner: Any
    if work.where == "local":
        runner = LocalRunner(max_parallel=work.slots)
    elif options:
        runner = SlurmRunner(memory="50M", time_limit="00:05:00", **options)
    else:
        runner = SlurmRunner(memory="50M", time_limit="00:05:00", max_parallel=work.slots)
    config = {"job_output_dir": work.folder / "run", "synchronous": False}
    scheduler = AxScheduler(_client(), runner, config)
    body = work.body()
    scheduler.set_objective_function(lambda parameters: {"loss": body(**parameters)})
    if queue:
        scheduler.enqueue(queue)

    def loop() -> int:
        with scheduler:
            scheduler.run_optimization(max_trials=work.trials)
            return sum(trial.status.is_completed for trial in scheduler.experiment.trials.values())

    return loop


def _client() -> Any:
    """An Ax client that draws from Sobol's sequence."""
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    client = Client(random_seed=1)
    client.configure_experiment(
        [RangeParameterConfig(name=n, parameter_type="float", bounds=b) for n, b in Bounds.items()]
    )
    client.configure_optimization(objective="-loss")
    client.configure_generation_strategy(method="random_search")
    return client


# ---------------------------------------------------------------- floors, without an optimiser


def points(number: int) -> list[dict[str, float]]:
    """Random points."""
    import random

    draw = random.Random(1).uniform
    return [{name: draw(*bounds) for name, bounds in Bounds.items()} for _ in range(number)]


def executor(work: Work) -> Any:
    """submitit's executor for one task of a job."""
    from submitit import AutoExecutor

    made = AutoExecutor(work.folder / "submitit", cluster=work.where)
    made.update_parameters(timeout_min=5)
    if work.where == "slurm":
        made.update_parameters(slurm_mem="50M", cpus_per_task=1, slurm_array_parallelism=work.slots)
    return made


def map_array(work: Work) -> Loop:
    """submitit: all as one array, no optimiser."""
    submit, body = executor(work), work.body()

    def loop() -> int:
        given = points(work.trials)
        jobs = submit.map_array(body, [each["x"] for each in given], [each["y"] for each in given])
        return len([job.result() for job in jobs])

    return loop


def pool(work: Work) -> Loop:
    """concurrent.futures: a pool of processes that stay, no optimiser."""
    from concurrent.futures import ProcessPoolExecutor

    def loop() -> int:
        given = points(work.trials)
        with ProcessPoolExecutor(work.slots) as processes:
            calls = [processes.submit(_call, work.seconds, each) for each in given]
            return len([call.result() for call in calls])

    return loop


def processes(work: Work) -> Loop:
    """multiprocessing: a process forked for each call, no optimiser and nothing on the disk."""
    from multiprocessing import connection, get_context

    fork = get_context("fork")

    def loop() -> int:
        waiting, running, values = points(work.trials), dict[Any, Any](), list[float]()
        while waiting or running:
            while waiting and len(running) < work.slots:
                mine, theirs = fork.Pipe(duplex=False)
                process = fork.Process(target=_send, args=(theirs, work.seconds, waiting.pop()))
                process.start()
                theirs.close()
                running[mine] = process
            for each in connection.wait(list(running)):
                values.append(each.recv())  # type: ignore[union-attr]
                running.pop(each).join()
        return len(values)

    return loop


def _send(channel: Any, seconds: float, point: Mapping[str, float]) -> None:
    channel.send(_call(seconds, point))


def _call(seconds: float, point: Mapping[str, float]) -> float:
    return Work("", 0, 0, seconds, Path()).body()(**point)


class Jobs:
    """submitit jobs under way: submitted in arrays, and their ends noticed by their result files."""

    def __init__(self, work: Work) -> None:
        self._executor, self._body = executor(work), work.body()

    def submit(self, given: Iterable[Mapping[str, Any]]) -> list[Any]:
        """Submit a job for each point, as one array."""
        with self._executor.batch():
            return [self._executor.submit(self._body, **point) for point in given]


def as_slots_get_free(work: Work) -> Loop:
    """submitit: a job for each slot that is free, no optimiser."""
    jobs = Jobs(work)

    def loop() -> int:
        waiting, running, ended = points(work.trials), list[Any](), 0
        while waiting or running:
            done = [job for job in running if job.done()]
            running = [job for job in running if job not in done]
            ended += len([job.result() for job in done])
            if free := waiting[: work.slots - len(running)]:
                del waiting[: len(free)]
                running += jobs.submit(free)
            if not done:
                time.sleep(LOOK)
        return ended

    return loop


# ---------------------------------------------------------------- Ax by itself


def client(work: Work) -> Loop:
    """`ax.Client.run_trials`, with a runner and a metric by its protocols."""
    from ax.api.protocols.runner import IRunner
    from ax.core.trial_status import TrialStatus

    jobs, known = Jobs(work), dict[int, Any]()

    class Submitit(IRunner):
        def run_trial(self, trial_index: int, parameterization: Mapping[str, Any]) -> dict[str, Any]:
            (known[trial_index],) = jobs.submit([parameterization])
            return {"job": known[trial_index].job_id}

        def poll_trial(self, trial_index: int, trial_metadata: Mapping[str, Any]) -> TrialStatus:
            done = known[trial_index].done()
            return TrialStatus.COMPLETED if done else TrialStatus.RUNNING

        def stop_trial(self, trial_index: int, trial_metadata: Mapping[str, Any]) -> dict[str, Any]:
            known[trial_index].cancel()
            return {}

    made = _client()
    made.configure_runner(Submitit())
    made.configure_metrics([_loss(lambda trial: known[trial].result())])

    def loop() -> int:
        made.run_trials(work.trials, parallelism=work.slots, initial_seconds_between_polls=LOOK)
        return sum(trial.status.is_completed for trial in made._experiment.trials.values())

    return loop


def _loss(result: Callable[[int], float]) -> Any:
    """A metric that reads a trial's result."""
    from ax.api.protocols.metric import IMetric

    class Loss(IMetric):
        def fetch(self, trial_index: int, trial_metadata: Mapping[str, Any]) -> tuple[int, float]:
            return 0, result(trial_index)

    return Loss("loss")


def orchestrator(work: Work) -> Loop:
    """Ax's Orchestrator, tuned: trials in batches, no wait before the first poll, no back-off."""
    from ax.core.base_trial import BaseTrial
    from ax.core.runner import Runner
    from ax.core.trial_status import TrialStatus
    from ax.orchestration.orchestrator import Orchestrator, OrchestratorOptions

    jobs, known = Jobs(work), dict[int, Any]()

    class Submitit(Runner):
        def run(self, trial: BaseTrial) -> dict[str, Any]:
            return self.run_multiple([trial])[trial.index]

        def run_multiple(self, trials: Iterable[BaseTrial]) -> dict[int, dict[str, Any]]:
            trials = list(trials)
            made = jobs.submit([trial.arms[0].parameters for trial in trials])
            known.update({trial.index: job for trial, job in zip(trials, made, strict=True)})
            return {trial.index: {"job": known[trial.index].job_id} for trial in trials}

        def poll_trial_status(self, trials: Iterable[BaseTrial]) -> dict[TrialStatus, set[int]]:
            found: dict[TrialStatus, set[int]] = {}
            for trial in trials:
                done = known[trial.index].done()
                status = TrialStatus.COMPLETED if done else TrialStatus.RUNNING
                found.setdefault(status, set()).add(trial.index)
            return found

    made = _client()
    made.configure_runner(Submitit())  # type: ignore[arg-type]  # a Runner does
    made.configure_metrics([_loss(lambda trial: known[trial].result())])
    driver = Orchestrator(
        experiment=made._experiment,
        generation_strategy=made._generation_strategy,
        options=OrchestratorOptions(
            max_pending_trials=work.slots,
            run_trials_in_batches=True,
            min_seconds_before_poll=0.0,
            init_seconds_between_polls=LOOK,  # type: ignore[arg-type]  # a float does
            seconds_between_polls_backoff_factor=1.0,
            logging_level=logging.ERROR,
        ),
    )

    def loop() -> int:
        driver.run_n_trials(work.trials)
        return sum(trial.status.is_completed for trial in made._experiment.trials.values())

    return loop


# ---------------------------------------------------------------- others


def optuna(work: Work) -> Loop:
    """Optuna: ask and tell around submitit."""
    import optuna as library

    library.logging.set_verbosity(library.logging.ERROR)
    study = library.create_study(sampler=library.samplers.RandomSampler(seed=1))
    space = {name: library.distributions.FloatDistribution(*bounds) for name, bounds in Bounds.items()}
    jobs = Jobs(work)

    def loop() -> int:
        left, running = work.trials, dict[Any, Any]()
        while left or running:
            done = [trial for trial, job in running.items() if job.done()]
            for trial in done:
                study.tell(trial, running.pop(trial).result())
            if free := min(left, work.slots - len(running)):
                left -= free
                asked = [study.ask(space) for _ in range(free)]
                running.update(zip(asked, jobs.submit([trial.params for trial in asked]), strict=True))
            if not done:
                time.sleep(LOOK)
        return len(study.trials)

    return loop


def libensemble(work: Work) -> Loop:
    """libEnsemble: its own processes, which stay; random sampling by its manager."""
    import numpy as np
    from libensemble.alloc_funcs.start_only_persistent import only_persistent_gens
    from libensemble.gen_funcs.persistent_sampling import persistent_uniform
    from libensemble.libE import libE
    from libensemble.tools import add_unique_random_streams

    body = work.body()

    def simulate(given: Any, *_: Any) -> Any:
        out = np.zeros(1, dtype=[("f", float)])
        out["f"] = body(*map(float, given["x"][0]))
        return out

    lower, upper = (np.array(ends) for ends in zip(*Bounds.values(), strict=True))

    def loop() -> int:
        os.chdir(work.folder)
        history, _, flag = libE(
            {"sim_f": simulate, "in": ["x"], "out": [("f", float)]},
            {
                "gen_f": persistent_uniform,
                "persis_in": ["f", "x", "sim_id"],
                "out": [("x", float, (2,))],
                "user": {"initial_batch_size": work.slots, "lb": lower, "ub": upper},
            },
            {"sim_max": work.trials},
            add_unique_random_streams({}, work.slots + 1),
            {"alloc_f": only_persistent_gens, "user": {"async_return": True}},
            {
                "nworkers": work.slots,
                "comms": "local",
                "gen_on_manager": True,
                "disable_log_files": True,
                "save_H_and_persis_on_abort": False,
                "save_H_on_completion": False,
            },
        )
        return int(history["sim_ended"].sum()) if flag == 0 else 0

    return loop


#: The way whose driver is itself a job.
IN_JOB = "axsched-hpc (in one job)"

#: Name -> function, what is needed beside the package, and where it can run.
WAYS: dict[str, tuple[Callable[[Work], Loop], str, tuple[str, ...]]] = {
    "axsched-hpc": (ours, "", ("local", "slurm")),
    "axsched-hpc (given points)": (given, "", ("local", "slurm")),
    IN_JOB: (in_one_job, "", ("slurm",)),
    "map_array": (map_array, "", ("slurm",)),
    "pool": (pool, "", ("local",)),
    "processes": (processes, "", ("local",)),
    "submitit": (as_slots_get_free, "", ("local", "slurm")),
    "Orchestrator": (orchestrator, "", ("local", "slurm")),
    "Client.run_trials": (client, "", ("local", "slurm")),
    "Optuna": (optuna, "optuna", ("local", "slurm")),
    "libEnsemble": (libensemble, "libensemble", ("local",)),
}


def main() -> None:
    """Run one way, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("where", choices=("local", "slurm"))
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    work = Work(options.where, options.trials, options.slots, options.seconds, options.folder)
    loop = WAYS[options.way][0](work)
    begun, before = time.perf_counter(), machine_seconds()
    completed = loop()
    took = time.perf_counter() - begun
    busy = (machine_seconds() - before) / took / (os.cpu_count() or 1)
    told: dict[str, Any] = {"seconds": took, "completed": completed, "busy": busy}
    if (run := work.folder / "run").is_dir():
        from benchmarks.phases import phases

        told["phases"] = phases(run)
    print("\n" + json.dumps(told))


if __name__ == "__main__":
    main()
