"""SlurmRunner: what it takes, the batch script that it writes, and real jobs of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc import SlurmRunner
from axsched_hpc.core.errors import ClusterUnavailableError, ConfigError, SubmissionError
from axsched_hpc.core.states import JobState
from axsched_hpc.io import claim
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.objectives.install import install
from axsched_hpc.objectives.spec import script_objective
from axsched_hpc.runners.base import Batch, BatchAttempt
from axsched_hpc.runners.slurm_jobs import SlurmJobs
from axsched_hpc.slurm.run import Completed, run
from axsched_hpc.testing.runner_contract import RunnerContract, Task, Workshop
from tests.slurm.fixtures import missing
from tests.slurm.harness import Cluster

SMALL: dict[str, Any] = {"memory": "100M", "time_limit": "00:10:00"}

# ---------------------------------------------------------------- what it takes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"partition": ""}, "partition is '', but takes a name, or None for the site's default."),
        ({"partition": "a\n#SBATCH --uid=0"}, "partition is 'a\\n#SBATCH --uid=0', but takes a name"),
        ({"account": 7}, "account is 7, but takes a name"),
        ({"time_limit": "1h"}, "time_limit is '1h', but takes a time such as '01:00:00' or '2-00:00:00'."),
        ({"time_limit": True}, "time_limit is True, but takes a time"),
        ({"time_limit": None}, "time_limit is None, but takes a time"),
        ({"time_limit": 1.5}, "time_limit is 1.5, but takes a time"),
        ({"time_limit": -5}, "time_limit is -5, but takes a time"),
        ({"time_limit": "01:00:00\n"}, "time_limit is '01:00:00\\n', but takes a time"),
        ({"memory": "4 G"}, "memory is '4 G', but takes a size such as '4G' or '500M'."),
        ({"memory": "lots"}, "memory is 'lots', but takes a size"),
        ({"memory": "4B"}, "memory is '4B', but takes a size"),
        ({"memory": None}, "memory is None, but takes a size"),
        ({"cpus_per_task": 0}, "cpus_per_task"),
        ({"cpus_per_task": "2"}, "cpus_per_task"),
        ({"gpus_per_task": 0}, "gpus_per_task"),
        ({"max_parallel": 0}, "max_parallel"),
        ({"max_parallel": True}, "max_parallel"),
        ({"config": ["modules"]}, "SlurmRunner(config=...) takes a dict of options, not list."),
        ({"config": {"module": []}}, "Unknown key 'module' in SlurmRunner's config. Did you mean 'modules'?"),
        ({"config": {3: []}}, "Unknown key 3 in SlurmRunner's config. Known: environment,"),
        ({"config": {"modules": "gcc"}}, "config['modules'] is 'gcc', but takes a list of strings."),
        ({"config": {"setup": [1]}}, "config['setup'] is [1], but takes a list of strings."),
        ({"config": {"environment": ["A=1"]}}, "config['environment'] is ['A=1'], but takes a dict"),
        ({"config": {"environment": {"A-B": "1"}}}, "'A-B' is no name of an environment variable."),
        ({"config": {"environment": {"A": None}}}, "config['environment']['A'] is None, but takes a string"),
        ({"config": {"environment": {"A": "\0"}}}, "config['environment']['A'] is '\\x00', but"),
        ({"config": {"sbatch_options": "qos=high"}}, "config['sbatch_options'] is 'qos=high', but takes"),
        ({"config": {"sbatch_options": {"q os": 1}}}, "'q os' is no long name of an option of sbatch."),
        ({"config": {"sbatch_options": {"p": "main"}}}, "'p' is no long name of an option of sbatch."),
        ({"config": {"sbatch_options": {"qos": "a\nb"}}}, "config['sbatch_options']['qos'] is 'a\\nb'"),
        ({"config": {"sbatch_options": {"qos": ["a"]}}}, "but takes one line of text, a number or True."),
        ({"config": {"sbatch_options": {"--array": "0-3"}}}, "['--array']: this option is set by axsched"),
        ({"config": {"sbatch_options": {"job_name": "x"}}}, "['job_name']: this option is set by axsched"),
        ({"config": {"max_array_size": 0}}, "config['max_array_size']"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        SlurmRunner(**arguments)


@pytest.mark.parametrize(
    "limit", ["90", 90, "90:30", "01:30:00", "2-12", "2-12:30", "2-12:30:00", "UNLIMITED"]
)
def test_times_that_sbatch_knows(limit: str | int) -> None:
    assert SlurmRunner(time_limit=limit).max_parallel == 32


@pytest.mark.parametrize("memory", ["4G", "4000M", "4GB", "1t", 4000, "0"])
def test_sizes_that_sbatch_knows(memory: str | int) -> None:
    assert SlurmRunner(memory=memory).max_parallel == 32


# ---------------------------------------------------------------- the batch script


class Sbatch:
    """Takes every submission; keeps the scripts."""

    def __init__(self) -> None:
        self.scripts: list[str] = []

    def __call__(self, argv: Sequence[str]) -> Completed:
        assert argv[0] == "sbatch"
        self.scripts.append(Path(argv[-1]).read_text())
        return Completed(0, f"Submitted batch job {100 + len(self.scripts)}\n", "")


def _script(folder: Path, count: int = 2, **arguments: Any) -> list[str]:
    """The lines of the script for a batch of so many attempts."""
    sbatch = Sbatch()
    runner = SlurmRunner(**arguments)
    # The only place at which what runs sbatch can be put in the runner that translates the arguments.
    made = runner._jobs
    assert isinstance(made, SlurmJobs)
    made._execute = sbatch
    attempts = tuple(BatchAttempt(number, 1, folder / str(number)) for number in range(count))
    runner.submit(Batch("axs-1", folder / "the manifest.json", attempts, folder, python="/opt/python"))
    (script,) = sbatch.scripts
    return script.splitlines()


def _options(lines: list[str]) -> dict[str, str]:
    words = [line.removeprefix("#SBATCH --").partition("=") for line in lines if line.startswith("#SBATCH ")]
    return {key: "".join(shlex.split(value)) for key, _, value in words}


@pytest.mark.slurm
class TestScript:
    """submitit makes no script for a cluster on a machine without srun."""

    @pytest.fixture(autouse=True)
    def _cluster(self, acct_cluster: Cluster) -> None:
        pass

    def test_the_defaults(self, tmp_path: Path) -> None:
        lines = _script(tmp_path)
        assert _options(lines) == {
            "array": "0-1%2",
            "cpus-per-task": "1",
            "error": f"{tmp_path}/%A_%a_0_log.err",
            "job-name": "axs-1",
            "mem": "4G",
            "nodes": "1",
            "open-mode": "append",
            "output": f"{tmp_path}/%A_%a_0_log.out",
            "time": "01:00:00",
        }
        manifest = shlex.quote(f"{tmp_path}/the manifest.json")
        index = '"$((SLURM_ARRAY_TASK_ID + 0))"'
        assert f"exec /opt/python -u -m axsched_hpc.worker {manifest} {index}" in lines

    def test_every_argument(self, tmp_path: Path) -> None:
        options = _options(
            _script(
                tmp_path,
                partition="gpu",
                time_limit=90,
                memory=500,
                cpus_per_task=4,
                gpus_per_task=2,
                account="a group",
                config={
                    "sbatch_options": {
                        "--qos": "high",
                        "mail_type": "END,FAIL",
                        "exclusive": True,
                        "requeue": False,
                        "reservation": None,
                        "nice": 100,
                        "comment": "it's $(not) run",
                    }
                },
            )
        )
        assert {
            key: options[key] for key in ("partition", "time", "mem", "cpus-per-task", "gpus-per-task")
        } == {
            "partition": "gpu",
            "time": "90",
            "mem": "500",
            "cpus-per-task": "4",
            "gpus-per-task": "2",
        }
        assert (options["account"], options["qos"], options["ntasks"]) == ("a group", "high", "1")
        assert (options["mail-type"], options["exclusive"], options["nice"]) == ("END,FAIL", "", "100")
        assert options["comment"] == "it's $(not) run"
        assert options.keys().isdisjoint({"requeue", "reservation", "signal", "wckey"})

    @pytest.mark.parametrize("option", ["mem-per-cpu", "mem_per_gpu"])
    def test_memory_by_another_measure_takes_the_place(self, option: str, tmp_path: Path) -> None:
        options = _options(_script(tmp_path, config={"sbatch_options": {option: "1G"}}))
        assert options[option.replace("_", "-")] == "1G"
        assert "mem" not in options

    def test_a_batch_of_one_is_an_array_too(self, tmp_path: Path) -> None:
        assert _options(_script(tmp_path, 1))["array"] == "0-0%1"

    def test_setup_comes_before_the_worker_in_order(self, tmp_path: Path) -> None:
        config = {
            "modules": ["gcc/12", "py thon"],
            "environment": {"A": "two words", "N": 3},
            "setup": ['source "$HOME/env"', "ulimit -c 0"],
        }
        lines = _script(tmp_path, config=config)
        setup = lines[lines.index("# setup") + 1 : lines.index("# command") - 1]
        assert setup == [
            'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"',
            "module load gcc/12 || exit 1",
            "module load 'py thon' || exit 1",
            "export A='two words'",
            "export N=3",
            'source "$HOME/env"',
            "ulimit -c 0",
        ]

    def test_no_slurm_option_follows_the_first_command(self, tmp_path: Path) -> None:
        lines = _script(tmp_path, config={"setup": ["#SBATCH --uid=0"]})
        first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
        assert [line for line in lines[:first] if "uid" in line] == []


# ---------------------------------------------------------------- real jobs


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop.at(tmp_path)


class Waiting(RunnerContract):
    """The waiting of the contract suite, without its tests."""

    __test__ = False
    PAUSE = 0.2


def _ends(runner: SlurmRunner, jobs: Sequence[str]) -> set[JobState]:
    return {status.state for status in Waiting().wait_for_end(runner, jobs).values()}


@pytest.mark.slurm
def test_the_environment_arrives_as_it_was_given(
    workshop: Workshop, tmp_path: Path, acct_cluster: Cluster
) -> None:
    environment = {
        "AX_WORDS": "  two  words ",
        "AX_QUOTES": 'it\'s "quoted" \\ and `touch x`',
        "AX_COMMAND": "$(touch x) ${HOME} $HOME ; exit 1",
        "AX_LINES": "one\ntwo\n#SBATCH --uid=0",
        "AX_LETTERS": "äöü €",
        "AX_EMPTY": "",
        "AX_NUMBER": 0.5,
    }
    script = tmp_path / "show.py"
    script.write_text(
        "import json, os\n"
        "print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('AX_')}))\n"
        "open(os.environ['AXSCHED_METRICS_FILE'], 'w').write('{\"value\": 1}')\n"
    )
    workshop.objective = install(workshop.layout, script_objective(script, {}))
    batch = workshop.batch(Task())
    runner = SlurmRunner(**SMALL, config={"environment": environment})
    assert _ends(runner, list(runner.submit(batch).values())) == {JobState.SUCCEEDED}
    seen = json.loads(AttemptFiles(batch.attempts[0].directory).stdout.read_text())
    assert seen == {name: str(value) for name, value in environment.items()}


@pytest.mark.slurm
@pytest.mark.parametrize("name", ['it\'s "quoted"', "$HOME `id` ;x& #b", "50% ünï"])
def test_the_directory_may_have_an_odd_name(name: str, tmp_path: Path, acct_cluster: Cluster) -> None:
    (tmp_path / name).mkdir()
    workshop = Workshop.at(tmp_path / name)
    batch = workshop.batch(Task())
    runner = SlurmRunner(**SMALL)
    runner.prepare(workshop.layout.submitit)
    jobs = runner.submit(batch)
    assert _ends(runner, list(jobs.values())) == {JobState.SUCCEEDED}
    log = runner.log(batch, 0, jobs[0])
    assert log is not None and log.exists()


@pytest.mark.parametrize("name", ["100%j", "a%%b", "back\\slash", "two\nlines"])
def test_names_that_slurm_changes_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Choose a job_output_dir without %, backslashes and line breaks"):
        SlurmRunner().prepare(tmp_path / name)


@pytest.mark.slurm
def test_a_module_that_cannot_be_loaded_ends_the_job_and_says_so(
    workshop: Workshop, acct_cluster: Cluster
) -> None:
    batch = workshop.batch(Task())
    runner = SlurmRunner(**SMALL, config={"modules": ["no/such module"]})
    jobs = runner.submit(batch)
    # The accounting has the exit code a little after squeue has the end.
    known = Waiting().wait(runner, [jobs[0]], lambda now: jobs[0] in now and now[jobs[0]].exit_code == 1)
    assert known[jobs[0]].state is JobState.FAILED
    log = runner.log(batch, 0, jobs[0])
    assert log is not None and "module" in log.read_text()
    assert workshop.executions() == []


@pytest.mark.slurm
def test_a_large_batch_is_split_and_found_again(workshop: Workshop, slurm_cluster: Cluster) -> None:
    asked: list[str] = []

    def execute(argv: Sequence[str]) -> Completed:
        asked.append(argv[0])
        return run(argv)

    batch = workshop.batch(*[Task()] * 8)
    parameters = {"slurm_additional_parameters": {"mem": "100M", "time": 10}}
    runner = SlurmJobs(parameters, max_array_size=3, execute=execute)
    jobs = runner.submit(batch)
    assert asked == ["sbatch"] * 3
    assert sorted(jobs) == list(range(8))
    assert [job.partition("_")[2] for _, job in sorted(jobs.items())] == list("01201201")
    later = SlurmRunner(**SMALL, config={"max_array_size": 3})
    assert later.find([batch]) == {batch.token: jobs}
    assert _ends(later, list(jobs.values())) == {JobState.SUCCEEDED}
    assert later.find([batch]) == {batch.token: jobs}
    assert workshop.executions() == list(range(8))
    for index in range(8):
        owner = claim.read(AttemptFiles(batch.attempts[index].directory))
        assert owner is not None and owner.job == jobs[index]


@pytest.mark.slurm
def test_the_rest_of_a_split_batch_may_be_refused(workshop: Workshop, acct_cluster: Cluster) -> None:
    answers = iter(
        [Completed(0, "Submitted batch job 7\n", ""), Completed(1, "", "Access/permission denied")]
    )
    runner = SlurmJobs({}, max_array_size=3, execute=lambda argv: next(answers))
    assert runner.submit(workshop.batch(*[Task()] * 5)) == {0: "7_0", 1: "7_1", 2: "7_2"}


@pytest.mark.slurm
def test_a_lost_answer_in_a_split_batch_is_told(workshop: Workshop, acct_cluster: Cluster) -> None:
    lost = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    answers = iter([Completed(0, "Submitted batch job 7\n", ""), Completed(1, "", lost)])
    runner = SlurmJobs({}, max_array_size=3, execute=lambda argv: next(answers))
    with pytest.raises(SubmissionError, match="Socket timed out") as caught:
        runner.submit(workshop.batch(*[Task()] * 5))
    assert caught.value.transient


@pytest.mark.slurm
def test_a_surrounding_job_does_not_leak(
    workshop: Workshop, acct_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    surrounding = {
        "SLURM_JOB_ID": "77",
        "SLURM_ARRAY_TASK_ID": "5",
        "SLURM_MEM_PER_CPU": "1",
        "SLURM_MEM_PER_NODE": "1",
        "SLURM_CPUS_PER_TASK": "7",
        "SBATCH_PARTITION": "nosuch",
        "SBATCH_TIMELIMIT": "99999",
        "SRUN_CPUS_PER_TASK": "7",
        "SUBMITIT_EXECUTOR": "local",
    }
    for name, value in surrounding.items():
        monkeypatch.setenv(name, value)
    workshop.objective = install(
        workshop.layout,
        script_objective(_writes_what_srun_says(workshop.layout.root.parent), {"interpreter": "sh"}),
    )
    batch = workshop.batch(Task(), Task())
    runner = SlurmRunner(**SMALL, cpus_per_task=2)
    jobs = runner.submit(batch)
    ended = _ends(runner, list(jobs.values()))
    says = [AttemptFiles(item.directory).stdout.read_text().split() for item in batch.attempts]
    assert ended == {JobState.SUCCEEDED}, says
    # CPUs of the step that the script's own srun made; memory and array index of the job.
    assert says == [["2", "100", "0"], ["2", "100", "1"]]


def _writes_what_srun_says(folder: Path) -> Path:
    script = folder / "says.sh"
    script.write_text(
        "srun sh -c 'echo $SLURM_CPUS_PER_TASK $SLURM_MEM_PER_NODE $SLURM_ARRAY_TASK_ID' || exit 1\n"
        'echo "{\\"value\\": 1}" > "$AXSCHED_METRICS_FILE"\n'
    )
    return script


# ---------------------------------------------------------------- when Slurm says no


@pytest.mark.slurm
def test_a_partition_that_does_not_exist(workshop: Workshop, slurm_cluster: Cluster) -> None:
    batch = workshop.batch(Task())
    runner = SlurmRunner(partition="nosuch", **SMALL)
    with pytest.raises(SubmissionError, match=r"invalid partition specified: nosuch.*`sinfo`") as caught:
        runner.submit(batch)
    assert not caught.value.transient
    assert runner.find([batch]) == {}


@pytest.mark.slurm
def test_an_option_that_sbatch_does_not_know(workshop: Workshop, acct_cluster: Cluster) -> None:
    runner = SlurmRunner(**SMALL, config={"sbatch_options": {"no-such": "x"}})
    with pytest.raises(SubmissionError, match=r"--no-such.*config\['sbatch_options'\]") as caught:
        runner.submit(workshop.batch(Task()))
    assert not caught.value.transient


def test_without_slurm_on_the_path(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    runner, batch = SlurmRunner(), workshop.batch(Task())
    calls = [
        lambda: runner.prepare(workshop.layout.submitit),
        lambda: runner.submit(batch),
        lambda: runner.poll(["1"]),
        lambda: runner.find([batch]),
        lambda: runner.cancel(["1"]),
    ]
    for call in calls:
        with pytest.raises(ClusterUnavailableError, match=r"not on PATH.*LocalRunner\(\)") as caught:
            call()
        assert not caught.value.transient


@pytest.fixture
def dead_controller(acct_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's commands, told of a controller at a port on which nobody listens."""
    if acct_cluster.conf is None:
        missing("the site's configuration file is not ours to copy.")
    text = acct_cluster.conf.read_text()
    # Port 1 is below what anybody is given.
    changed = re.sub(r"(?m)^SlurmctldPort=.*$", "SlurmctldPort=1\nMessageTimeout=2", text)
    assert changed != text
    conf = tmp_path / "slurm.conf"
    conf.write_text(changed)
    monkeypatch.setenv("SLURM_CONF", str(conf))


@pytest.mark.slurm
def test_a_controller_that_does_not_answer(workshop: Workshop, dead_controller: None) -> None:
    runner, batch = SlurmRunner(), workshop.batch(Task())
    with pytest.raises(
        ClusterUnavailableError, match=r"does not answer .*connect failure.*Nothing was submitted"
    ) as caught:
        runner.prepare(workshop.layout.submitit)
    assert caught.value.transient
    with pytest.raises(ClusterUnavailableError, match=r"(?i)unable to contact slurm controller") as caught:
        runner.poll(["1_0"])
    assert caught.value.transient
    with pytest.raises(SubmissionError, match=r"(?i)unable to contact slurm controller") as refused:
        runner.submit(batch)
    assert refused.value.transient
