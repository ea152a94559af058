"""What a user meets who gets something wrong: the message as he reads it, nothing submitted, and how it goes
on afterwards.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import (
    AxSchedError,
    AxScheduler,
    ClusterUnavailableError,
    ConfigError,
    ExperimentLockedError,
    ExperimentMismatchError,
    FailureRateError,
    LocalRunner,
    ObjectiveError,
    ParameterError,
    SlurmRunner,
    SubmissionError,
)
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment
from axsched_hpc.runners.base import BaseRunner
from tests.e2e.kit import bowl, client

Make = Callable[..., AxScheduler]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[AxScheduler] = []

    def scheduler(source: Any = None, runner: BaseRunner | None = None, **options: Any) -> AxScheduler:
        options = {"job_output_dir": tmp_path / "run", "poll_interval": 0.1, **options}
        made.append(
            AxScheduler(
                client() if source is None else source, runner or LocalRunner(max_parallel=2), options
            )
        )
        return made[-1]

    yield scheduler
    for each in made:
        each.close()


def said(kind: type[BaseException], act: Callable[[], object]) -> str:
    """The message with which an act fails; the kind has to be exactly that one."""
    with pytest.raises(kind) as caught:
        act()
    assert type(caught.value) is kind
    return str(caught.value)


def submitted(directory: Path) -> list[str]:
    """Traces of a submission: trials' directories and manifests."""
    return [p.name for folder in ("trials", "submitit") for p in (directory / folder).glob("*")]


# ---------------------------------------------------------------- no usable objective


def test_no_objective(make: Make, tmp_path: Path) -> None:
    scheduler = make()
    message = (
        "No objective is set, so there is nothing to run. Call set_objective_function, set_script_objective "
        "or set_container_objective first."
    )
    assert said(ObjectiveError, lambda: scheduler.run_optimization(max_trials=2)) == message
    assert said(ObjectiveError, lambda: scheduler.batch_trial_context().__enter__()) == message
    assert said(ObjectiveError, scheduler.wait) == message
    assert not (tmp_path / "run").exists()


def test_a_script_that_is_missing_or_cannot_be_executed(make: Make, tmp_path: Path) -> None:
    scheduler = make()
    missing = tmp_path / "train.py"
    assert said(ObjectiveError, lambda: scheduler.set_script_objective(missing)) == (
        f"The script {missing} does not exist. Give its path from the current directory, or in full."
    )
    assert said(ObjectiveError, lambda: scheduler.set_script_objective(tmp_path)) == (
        f"The script {tmp_path} is not a file."
    )
    plain = tmp_path / "simulate"
    plain.write_text("#!/bin/sh\n")
    plain.chmod(0o600)
    assert said(ObjectiveError, lambda: scheduler.set_script_objective(plain)) == (
        f"The script {plain} is neither executable nor a file of a known kind (.py, .sh, .R, .r, .jl, .pl). "
        "Make it executable (chmod +x), or name the program that runs it in script_options['interpreter']."
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"interpeter": "sh"},
            ConfigError,
            "Unknown key 'interpeter' in script_options. Did you mean 'interpreter'?",
        ),
        (
            {"timeout": "5"},
            ConfigError,
            "script_options['timeout'] is '5' (str), but takes a number of seconds above 0.",
        ),
        (
            {"args": ["--rate", "{rate}"]},
            ObjectiveError,
            "script_options['args'] has the unknown placeholder {rate} in '{rate}'. Known: attempt, metrics,",
        ),
    ],
)
def test_options_of_a_script(
    make: Make, tmp_path: Path, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    script = tmp_path / "run.sh"
    script.touch()
    assert said(kind, lambda: make().set_script_objective(script, options)).startswith(message)


def test_an_image_that_is_missing(make: Make, tmp_path: Path) -> None:
    image = tmp_path / "model.sif"
    message = said(ObjectiveError, lambda: make().set_container_objective(str(image), "run {params_file}"))
    assert message == f"The container image {image} does not exist. Build it, or correct its path."


def test_a_function_that_cannot_be_sent(make: Make, tmp_path: Path) -> None:
    guard = threading.Lock()

    def objective(parameters: dict[str, Any]) -> dict[str, float]:
        with guard:
            return {"loss": parameters["x"]}

    scheduler = make()
    scheduler.set_objective_function(objective)
    message = said(ObjectiveError, lambda: scheduler.run_optimization(max_trials=1))
    assert "it uses 'guard', a _thread.lock, which cannot be pickled." in message
    assert "Make such an object inside the function instead, or use a script objective." in message
    assert not submitted(tmp_path / "run")
    assert len(scheduler.experiment.trials) == 0
    scheduler.set_objective_function(bowl)
    assert scheduler.run_optimization(max_trials=1) == {"x": 0.5, "y": 0.5}


def test_something_else_than_a_function(make: Make) -> None:
    assert said(ObjectiveError, lambda: make().set_objective_function({"loss": 1})) == (  # type: ignore[arg-type]
        "set_objective_function takes a function of a dict of parameters, not {'loss': 1} (dict)."
    )


# ---------------------------------------------------------------- points of the user's own


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"x": 2.0, "y": 0.1}, "parameter 'x' is 2.0; it takes a float in 0.0..1.0"),
        ({"x": float("nan"), "y": 0.1}, "parameter 'x' is nan; it takes a float in 0.0..1.0"),
        ({"x": "0.5", "y": 0.1}, "parameter 'x' is '0.5' (str); it takes a float in 0.0..1.0"),
        ({"x": 0.5, "y": True}, "parameter 'y' is True (bool); it takes a float in 0.0..1.0"),
        ({"x": 0.5}, "parameter 'y' is missing; it takes a float in 0.0..1.0"),
        ({"x": 0.5, "y": 0.1, "z": 1}, "parameter 'z' is not in the search space. Known: x, y"),
    ],
    ids=["outside", "nan", "text", "bool", "missing", "unknown"],
)
def test_a_point_that_does_not_fit(make: Make, tmp_path: Path, point: dict[str, Any], message: str) -> None:
    scheduler = make()
    scheduler.set_objective_function(bowl)

    def add() -> None:
        with scheduler.batch_trial_context() as batch:
            assert batch.add_trial({"x": 0.1, "y": 0.2}) == 0
            batch.add_trial(point)

    assert said(ParameterError, add) == f"These parameters do not fit the search space: {message}."
    assert len(scheduler.experiment.trials) == 0
    assert not submitted(tmp_path / "run")


def test_an_exception_inside_the_block_submits_nothing(make: Make, tmp_path: Path) -> None:
    scheduler = make()
    scheduler.set_objective_function(bowl)

    def add() -> None:
        with scheduler.batch_trial_context() as batch:
            batch.add_trial({"x": 0.1, "y": 0.2})
            raise ZeroDivisionError("the user's own")

    assert said(ZeroDivisionError, add) == "the user's own"
    assert len(scheduler.experiment.trials) == 0
    assert not submitted(tmp_path / "run")
    with scheduler.batch_trial_context() as batch:
        assert batch.add_trial({"x": 0.3, "y": 0.4}) == 0
    assert [t.status.name for t in scheduler.experiment.trials.values()] == ["COMPLETED"]


def test_a_point_after_the_block(make: Make) -> None:
    scheduler = make()
    scheduler.set_objective_function(bowl)
    with scheduler.batch_trial_context() as batch:
        pass
    assert said(AxSchedError, lambda: batch.add_trial({"x": 0.1, "y": 0.2})) == (
        "add_trial was called after the end of the with-block. Open a new batch_trial_context()."
    )


# ---------------------------------------------------------------- options and arguments


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "monitering_interval",
            1,
            "Unknown config key 'monitering_interval'. Did you mean 'monitoring_interval'?",
        ),
        ("job_output_dri", "x", "Unknown config key 'job_output_dri'. Did you mean 'job_output_dir'?"),
        (
            "monitoring_interval",
            "5",
            "config['monitoring_interval'] is '5' (str), but takes a number of seconds, at least 0.1.",
        ),
        (
            "monitoring_interval",
            0,
            "config['monitoring_interval'] is 0 (int), but takes a number of seconds, at least 0.1.",
        ),
        (
            "poll_interval",
            float("inf"),
            "config['poll_interval'] is inf (float), but takes a number of seconds, at least 0.01.",
        ),
        ("synchronous", "yes", "config['synchronous'] is 'yes' (str), but takes True or False."),
        (
            "cleanup_after_completion",
            1,
            "config['cleanup_after_completion'] is 1 (int), but takes True or False.",
        ),
        ("job_output_dir", "", "config['job_output_dir'] is '' (str), but takes the path of a directory."),
        ("resume", "maybe", "config['resume'] is 'maybe' (str), but takes 'auto' or 'never' or 'must'."),
        ("max_failures", -1, "config['max_failures'] is -1 (int), but takes a whole number, 0 or more."),
        ("failure_rate", 50, "config['failure_rate'] is 50 (int), but takes a number from 0 to 1."),
        (
            "retries",
            {"objectiv": 1},
            "Unknown class of failures 'objectiv' in config['retries']. Did you mean 'objective'?",
        ),
        ("seed", 1.5, "config['seed'] is 1.5 (float), but takes a whole number, 0 or more."),
        ("on_timeout", "kill", "config['on_timeout'] is 'kill' (str), but takes 'cancel' or 'leave'."),
    ],
)
def test_a_wrong_option(make: Make, key: str, value: object, message: str) -> None:
    assert said(ConfigError, lambda: make(**{key: value})) == message


def test_config_that_is_no_dict() -> None:
    message = said(ConfigError, lambda: AxScheduler(client(), LocalRunner(), ["synchronous"]))  # type: ignore[arg-type]
    assert message == "config takes a dict of options, not list."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_trials": -1}, "max_trials is -1 (int), but takes a whole number, 0 or more."),
        ({"max_trials": 2.5}, "max_trials is 2.5 (float), but takes a whole number, 0 or more."),
        ({"max_trials": True}, "max_trials is True (bool), but takes a whole number, 0 or more."),
        ({"timeout": "60"}, "timeout is '60' (str), but takes a number of seconds, 0 or more."),
        ({"timeout": float("nan")}, "timeout is nan (float), but takes a number of seconds, 0 or more."),
        ({"synchronous": "no"}, "synchronous is 'no' (str), but takes True or False."),
    ],
)
def test_wrong_arguments_of_a_run(
    make: Make, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    scheduler = make()
    scheduler.set_objective_function(bowl)
    assert said(ConfigError, lambda: scheduler.run_optimization(**arguments)) == message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("runner", [None, "local", 3], ids=str)
def test_a_runner_that_is_none(runner: Any) -> None:
    assert said(ConfigError, lambda: AxScheduler(client(), runner)) == (
        f"runner is {runner!r} ({type(runner).__name__}), but takes a runner such as LocalRunner() or "
        "SlurmRunner()."
    )


def test_the_runners_own_arguments() -> None:
    assert said(ConfigError, lambda: LocalRunner(max_parallel=0)) == (
        "max_parallel is 0 (int), but takes a whole number, 1 or more."
    )
    assert said(ConfigError, lambda: SlurmRunner(memory="lots")) == (
        "memory is 'lots', but takes a size such as '4G' or '500M'."
    )
    assert said(ConfigError, lambda: SlurmRunner(config={"module": ["gcc"]})) == (
        "Unknown key 'module' in SlurmRunner's config. Did you mean 'modules'?"
    )


def test_clients_that_are_not_configured(make: Make) -> None:
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig
    from ax.core.experiment import Experiment
    from ax.core.parameter import ParameterType, RangeParameter
    from ax.core.search_space import SearchSpace

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ax.service.ax_client import AxClient

        old = AxClient(verbose_logging=False)
    space = Client()
    space.configure_experiment(
        parameters=[RangeParameterConfig(name="x", parameter_type="float", bounds=(0.0, 1.0))]
    )
    experiment = Experiment(SearchSpace([RangeParameter("x", ParameterType.FLOAT, 0.0, 1.0)]))
    for source, message in [
        (Client(), "This ax.Client has no experiment yet: call client.configure_experiment(...) first."),
        (
            space,
            "The experiment has no objective: call client.configure_optimization(objective=...) first.",
        ),
        (old, "This AxClient has no experiment yet: call ax_client.create_experiment(...) first."),
        (experiment, "The experiment has no objective: set experiment.optimization_config first."),
        (
            {"x": [0, 1]},
            "dict is nothing to optimise: pass an ax.Client (configure_experiment and configure_optimization "
            "called), an AxClient (create_experiment called) or an ax Experiment.",
        ),
    ]:
        assert said(ConfigError, lambda source=source: make(source)) == message  # type: ignore[misc]


# ---------------------------------------------------------------- directories


@pytest.mark.parametrize("where", ["{tmp}/file", "{tmp}/file/below", "/proc/experiment", "/sys/experiment"])
def test_a_directory_that_cannot_be_written(make: Make, tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("kept")
    directory = where.format(tmp=tmp_path)
    scheduler = make(job_output_dir=directory)
    scheduler.set_objective_function(bowl)
    message = said(ConfigError, lambda: scheduler.run_optimization(max_trials=1))
    assert message.startswith(f"config['job_output_dir'] is {directory!r}, which cannot be written (")
    assert message.endswith(
        "Nothing was submitted. Choose a directory of your own on the filesystem that all nodes share."
    )
    assert len(scheduler.experiment.trials) == 0
    assert (tmp_path / "file").read_text() == "kept"


def _finished(make: Make) -> AxScheduler:
    scheduler = make()
    scheduler.set_objective_function(bowl)
    scheduler.run_optimization(max_trials=1)
    scheduler.close()
    return scheduler


def test_a_directory_with_another_experiment(make: Make, tmp_path: Path) -> None:
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    _finished(make)
    other = Client(random_seed=5)
    other.configure_experiment(
        parameters=[
            RangeParameterConfig(name="x", parameter_type="float", bounds=(0.0, 2.0)),
            RangeParameterConfig(name="z", parameter_type="float", bounds=(0.0, 1.0)),
        ]
    )
    other.configure_optimization(objective="accuracy")
    files = sorted(p for p in (tmp_path / "run").rglob("*") if p.name != "driver.lock")
    scheduler = make(other)
    scheduler.set_objective_function(bowl)
    assert said(ExperimentMismatchError, lambda: scheduler.run_optimization(max_trials=1)) == (
        f"{tmp_path / 'run'} holds another experiment than the one passed in: parameter 'y' is there, not "
        "here; parameter 'z' is here, not there; the objective 'minimize loss' is there, not here; the "
        "objective 'maximize accuracy' is here, not there. Nothing was changed. Pass in the same definition "
        "to go on, or use another job_output_dir for the new one, where "
        f"scheduler.attach({str(tmp_path / 'run')!r}) brings the trials of this one that fit."
    )
    assert sorted(p for p in (tmp_path / "run").rglob("*") if p.name != "driver.lock") == files
    scheduler = make()
    scheduler.set_objective_function(bowl)
    scheduler.run_optimization(max_trials=1)
    assert len(scheduler.experiment.trials) == 2


def test_resume_never_and_must(make: Make, tmp_path: Path) -> None:
    scheduler = make(resume="must")
    scheduler.set_objective_function(bowl)
    assert said(ConfigError, lambda: scheduler.run_optimization(max_trials=1)) == (
        f"{tmp_path / 'run'} holds no experiment, and config['resume'] is 'must'. Check the path of "
        "job_output_dir, or use 'auto' to start a new one."
    )
    assert not submitted(tmp_path / "run")
    _finished(make)
    scheduler = make(resume="never")
    scheduler.set_objective_function(bowl)
    assert said(ConfigError, lambda: scheduler.run_optimization(max_trials=1)) == (
        f"{tmp_path / 'run'} already holds an experiment, and config['resume'] is 'never'. Choose another "
        "job_output_dir, or 'auto' to go on with it."
    )
    assert sorted(read_experiment(tmp_path / "run").ledger.trials) == [0]
    scheduler = make(resume="must")
    scheduler.set_objective_function(bowl)
    scheduler.run_optimization(max_trials=1)
    assert sorted(scheduler.experiment.trials) == [0, 1]


def test_resume_where_nothing_is(tmp_path: Path) -> None:
    assert said(ConfigError, lambda: AxScheduler.resume(tmp_path / "nothing", LocalRunner())) == (
        f"{tmp_path / 'nothing'} holds no experiment (no definition.json and journal/). Check the path; to "
        "start a new experiment, pass an Ax client to AxScheduler."
    )
    assert not (tmp_path / "nothing").exists()


def test_a_second_scheduler_on_the_same_directory(make: Make, tmp_path: Path) -> None:
    first, second = make(), make()
    for scheduler in (first, second):
        scheduler.set_objective_function(bowl)
    first.run_optimization(max_trials=1)
    message = said(ExperimentLockedError, lambda: second.run_optimization(max_trials=1))
    assert re.fullmatch(
        re.escape(f"{tmp_path / 'run'} is driven by another AxScheduler in this very process, since ")
        + r"[-\d]+ [:\d]+\. "
        + re.escape("Go on with that one, or call its close() first; or use another job_output_dir."),
        message,
    )
    first.close()
    second.run_optimization(max_trials=1)
    assert sorted(second.experiment.trials) == [0, 1]


# ---------------------------------------------------------------- files to load and to save


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty. Use another copy."),
        (b"rubbish", "is not complete JSON (Expecting value, line 1, column 1)."),
        (b'{"experiment": {}', "is not complete JSON (Expecting ',' delimiter, line 1, column 18)."),
        (b"\xff\xfe", "cannot be read ('utf-8' codec can't decode byte 0xff in position 0"),
        (
            b'{"loss": 1}',
            "holds a JSON object with the keys 'loss', which is no ax.Client snapshot, AxClient snapshot or "
            "Experiment. Give a file that client.save_to_json_file, save_experiment or Ax's save_experiment "
            "has written.",
        ),
        (b"[1, 2]", "holds a list, which is no ax.Client snapshot, AxClient snapshot or Experiment."),
        (
            b'{"__type": "Experiment"}',
            "looks like an Experiment, but the installed Ax cannot decode it: KeyError:",
        ),
    ],
    ids=["empty", "rubbish", "half", "binary", "other", "list", "hollow"],
)
def test_a_file_that_cannot_be_loaded(make: Make, tmp_path: Path, content: bytes, message: str) -> None:
    scheduler = make()
    scheduler.set_objective_function(bowl)
    scheduler.run_optimization(max_trials=1)
    before = (scheduler.experiment, scheduler.generation_strategy, scheduler.client)
    file = tmp_path / "saved.json"
    file.write_bytes(content)
    assert said(ConfigError, lambda: scheduler.load_experiment(file)).startswith(f"{file} {message}")
    after = (scheduler.experiment, scheduler.generation_strategy, scheduler.client)
    assert all(one is other for one, other in zip(before, after, strict=True))
    scheduler.run_optimization(max_trials=1)
    assert len(scheduler.experiment.trials) == 2


def test_a_file_that_is_not_there(make: Make, tmp_path: Path) -> None:
    scheduler, file = make(), tmp_path / "saved.json"
    assert said(ConfigError, lambda: scheduler.load_experiment(file)) == (
        f"{file} cannot be read ([Errno 2] No such file or directory: '{file}'). Nothing changed; check the "
        "path."
    )


def test_a_place_where_nothing_can_be_saved(make: Make, tmp_path: Path) -> None:
    scheduler = make()
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "saved.json"):
        message = said(ConfigError, lambda target=target: scheduler.save_experiment(target))  # type: ignore[misc]
        assert message.startswith(f"The experiment cannot be saved to {target} (")
        assert message.endswith(
            "What was there is unchanged; choose a path in a directory that exists and that is yours."
        )


# ---------------------------------------------------------------- scripts that fail

_GOOD = 'echo "{\\"loss\\": $AXSCHED_TRIAL}" > "$AXSCHED_METRICS_FILE"'

#: What the script does in trial 0; its message, with {script}, {metrics} and {stderr} for the files' paths.
_FAILING = {
    "missing": (
        "true",
        "{script} exited with code 0, but wrote no metrics file {metrics}; write "
        '{{"metric": value}} to the path in AXSCHED_METRICS_FILE.',
    ),
    "empty": (
        ': > "$AXSCHED_METRICS_FILE"',
        "{metrics} is empty. The objective has to write its metrics there before it ends, as JSON: "
        '{{"metric": value}}.',
    ),
    "half": (
        'printf \'{"loss": 0.\' > "$AXSCHED_METRICS_FILE"',
        "{metrics} is not complete JSON (Expecting ',' delimiter, line 1, column 11). Was the program "
        "stopped while it was writing? Write the whole object at once, at the end.",
    ),
    "nan": (
        'echo \'{"loss": NaN}\' > "$AXSCHED_METRICS_FILE"',
        "{metrics}: metric 'loss' is nan, not a finite number. Let the objective fail, or report a large "
        "finite penalty, where no value can be computed.",
    ),
    "wrong-name": (
        'echo \'{"Loss": 1}\' > "$AXSCHED_METRICS_FILE"',
        "{metrics} lacks 'loss', which the experiment needs; it has 'Loss'. Report it under exactly that "
        "name, or name it so in the experiment.",
    ),
    "string": (
        'echo \'{"loss": "low"}\' > "$AXSCHED_METRICS_FILE"',
        "{metrics}: metric 'loss' is a string ('low'), not a number. "
        'Write a number, {{"metric": 0.25}}, or a pair [mean, sem].',
    ),
    "exit-3": (
        "echo 'no licence left' >&2; exit 3",
        "{script} exited with code 3; the last lines of {stderr}: no licence left",
    ),
    "killed": (
        "kill -KILL $$",
        "{script} was killed by SIGKILL; {stderr} is empty. SIGKILL comes from outside: from the kernel "
        "where the node has no memory left, or from a person; the job used N MB.",
    ),
    "timeout": (
        "sleep 60",
        "{script} ran longer than script_options['timeout'] = 2 s and was ended. Raise the option if it "
        "needs more; {stderr} is empty",
    ),
}


@pytest.mark.parametrize("case", _FAILING)
def test_a_script_that_fails_costs_its_trial_and_nothing_else(make: Make, tmp_path: Path, case: str) -> None:
    action, expected = _FAILING[case]
    script = tmp_path / "simulate"
    script.write_text(f'#!/bin/sh\nif [ "$AXSCHED_TRIAL" = 0 ]; then\n{action}\nelse\n{_GOOD}\nfi\n')
    script.chmod(0o700)
    scheduler = make(failure_rate=1.0)
    scheduler.set_script_objective(script, {"timeout": 2.0} if case == "timeout" else None)
    best = scheduler.run_optimization(max_trials=3)
    trials = scheduler.experiment.trials
    assert [t.status.name for t in trials.values()] == ["FAILED", "COMPLETED", "COMPLETED"]
    assert best in ([dict(trials[n].arm.parameters) for n in (1, 2)])
    attempt = tmp_path / "run" / "trials" / "00000" / "attempt-1"
    message = expected.format(script=script, metrics=attempt / "metrics.json", stderr=attempt / "stderr.log")
    (failure,) = scheduler.result.failures
    reason = re.sub(r"used \d+ MB", "used N MB", failure.reason)
    assert (failure.trial, failure.attempts, reason) == (0, 1, message)
    assert trials[0].status_reason == failure.reason
    assert (attempt / "stderr.log").is_file()
    assert not (tmp_path / "run" / "trials" / "00001" / "attempt-1" / "stderr.log").exists()
    if case == "exit-3":
        assert (attempt / "stderr.log").read_text().startswith("no licence left\n")


def test_a_script_that_always_fails_stops_the_run(make: Make, tmp_path: Path) -> None:
    script = tmp_path / "simulate"
    script.write_text("#!/bin/sh\necho 'no licence left' >&2\nexit 3\n")
    script.chmod(0o700)
    scheduler = make(client(initial=20), LocalRunner(max_parallel=1))
    scheduler.set_script_objective(script)
    with pytest.raises(FailureRateError) as caught:
        scheduler.run_optimization(max_trials=8)
    first, *messages, last = str(caught.value).splitlines()
    assert first == "5 of 5 trials failed, so the run has stopped. The last messages:"
    assert [line.partition(": ")[0] for line in messages] == [f"  trial {n}" for n in range(5)]
    assert all(line.endswith("stderr.log: no licence left") for line in messages)
    assert last == (
        f"The files of failed trials are kept below {tmp_path / 'run' / 'trials'}. "
        "Mend the objective and start "
        "again, or raise config['failure_rate'] or config['max_failures']."
    )
    assert [line.strip() for line in messages] == list(caught.value.messages)
    script.write_text(f"#!/bin/sh\n{_GOOD}\n")
    scheduler.set_script_objective(script)
    scheduler.run_optimization(max_trials=8)
    assert [t.status.name for t in scheduler.experiment.trials.values()] == ["FAILED"] * 5 + ["COMPLETED"] * 3


def test_max_failures(make: Make, tmp_path: Path) -> None:
    scheduler = make(max_failures=0, synchronous=False)
    scheduler.set_objective_function(lambda parameters: {"loss": 1 / 0})
    message = said(FailureRateError, lambda: scheduler.run_optimization(max_trials=20))
    assert re.match(r"[12] of [12] trials failed, so the run has stopped\.", message)
    assert "ZeroDivisionError: division by zero (in <lambda>, " in message


# ---------------------------------------------------------------- a cluster that refuses or is not there


def _goes_on_elsewhere(make: Make, tmp_path: Path, refused: AxScheduler, total: int) -> None:
    refused.close()
    scheduler = make()
    scheduler.set_objective_function(bowl)
    scheduler.run_optimization(max_trials=total)
    trials = read_experiment(tmp_path / "run").ledger.trials
    assert sorted(trials) == list(range(total))
    assert {t.state for t in trials.values()} == {TrialState.COMPLETED}


def test_slurm_is_not_installed(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = make(runner=SlurmRunner(memory="100M"))
    scheduler.set_objective_function(bowl)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        message = said(ClusterUnavailableError, lambda: scheduler.run_optimization(max_trials=3))
    assert message == (
        "scontrol is not on PATH, so there is no Slurm here. Run this on a login node, load the site's Slurm "
        "module, or use LocalRunner() instead."
    )
    assert not submitted(tmp_path / "run")
    assert len(scheduler.experiment.trials) == 0
    _goes_on_elsewhere(make, tmp_path, scheduler, 3)


@pytest.mark.slurm
def test_the_controller_is_down(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acct_cluster: object
) -> None:
    dead = tmp_path / "slurm.conf"
    dead.write_text(
        f"ClusterName=dead\nSlurmctldHost={os.uname().nodename}(127.0.0.1)\nSlurmctldPort=1\n"
        "MessageTimeout=2\nAuthType=auth/munge\nNodeName=n1\nPartitionName=p Nodes=n1\n"
    )
    scheduler = make(runner=SlurmRunner(memory="100M"))
    scheduler.set_objective_function(bowl)
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_CONF", str(dead))
        message = said(ClusterUnavailableError, lambda: scheduler.run_optimization(max_trials=3))
    assert message.startswith("The Slurm controller does not answer (")
    assert message.endswith("Nothing was submitted. Try again later, or ask the site's support.")
    assert not submitted(tmp_path / "run")
    assert len(scheduler.experiment.trials) == 0
    _goes_on_elsewhere(make, tmp_path, scheduler, 3)


@pytest.mark.slurm
def test_a_partition_that_does_not_exist(make: Make, tmp_path: Path, acct_cluster: Any) -> None:
    scheduler = make(runner=SlurmRunner(partition="nope", memory="100M", max_parallel=2))
    scheduler.set_objective_function(bowl)
    with pytest.raises(SubmissionError) as caught:
        scheduler.run_optimization(max_trials=3)
    assert not caught.value.transient
    assert "invalid partition specified: nope" in str(caught.value)
    ledger = read_experiment(tmp_path / "run").ledger
    assert ledger.trials == {} and ledger.batches == {}
    _goes_on_elsewhere(make, tmp_path, scheduler, 3)
