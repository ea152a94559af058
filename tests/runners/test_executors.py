"""What runners/executors.py relies on in submitit: an upgrade that changes it fails here, and says what."""

from __future__ import annotations

import inspect
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from submitit import AutoExecutor
from submitit.slurm.slurm import SlurmExecutor

from axsched_hpc.core.errors import ClusterUnavailableError, ConfigError, SubmissionError
from axsched_hpc.runners import executors
from axsched_hpc.slurm.run import Completed

COMMAND = ["/opt/py thon/bin/python", "-m", "axsched_hpc.worker", "/data/it's/b.json"]


class Sbatch:
    """Stands where sbatch would run; keeps the script that it was given."""

    def __init__(self, code: int = 0, out: str = "Submitted batch job 4711\n", err: str = "") -> None:
        self.answer = Completed(code, out, err)
        self.calls: list[list[str]] = []

    def __call__(self, argv: object) -> Completed:
        assert isinstance(argv, list)
        self.calls.append(argv)
        return self.answer

    @property
    def script(self) -> str:
        ((program, path),) = self.calls
        assert program == "sbatch"
        return Path(path).read_text()


def _submit(folder: Path, parameters: dict[str, object], sbatch: Sbatch, *, offset: int = 0) -> str:
    made = executors.worker_executor(folder, parameters)
    return made.submit_tasks("a-name", COMMAND, 3, offset, sbatch)


def test_the_installed_submitit_is_in_the_supported_range() -> None:
    setup = ConfigParser()
    setup.read(Path(__file__).resolve().parents[2] / "setup.cfg")
    lines = setup["options"]["install_requires"].splitlines()
    (wanted,) = [Requirement(line) for line in lines if line.startswith("submitit")]
    assert wanted.specifier.contains(version("submitit"))


@pytest.mark.parametrize(("owner", "name", "parameters"), executors.USED, ids=lambda value: str(value))
def test_what_is_used_of_submitit_is_still_there(owner: type, name: str, parameters: tuple[str, ...]) -> None:
    member = getattr(owner, name, None)
    assert callable(member), f"submitit {version('submitit')} has no {owner.__name__}.{name} any more"
    found = tuple(inspect.signature(member).parameters)
    assert found == parameters, f"{owner.__name__}.{name} takes {found}: adapt runners/executors.py"


def test_every_private_member_in_use_is_listed() -> None:
    source = inspect.getsource(executors)
    private = {name for name in dir(SlurmExecutor) if name.startswith("_") and not name.startswith("__")}
    used = {name for name in private if f".{name}(" in source or f"def {name}(" in source}
    assert used <= {name for _, name, _ in executors.USED}
    assert "_make_submission_file_text" in used


@pytest.mark.parametrize("attribute", ["parameters", "folder"])
def test_the_chosen_executor_has_what_is_read_of_it(attribute: str, tmp_path: Path) -> None:
    assert hasattr(AutoExecutor(tmp_path, cluster="slurm")._executor, attribute)


def test_submitit_itself_asks_for_a_signal_that_would_end_our_worker(tmp_path: Path) -> None:
    plain = SlurmExecutor(tmp_path)._make_submission_file_text("true", "uid").splitlines()
    found = [line for line in plain if "--signal" in line]
    assert found == ["#SBATCH --signal=USR2@90"], "see WorkerExecutor._make_submission_file_text"


def test_the_whole_script(tmp_path: Path) -> None:
    sbatch = Sbatch()
    assert _submit(tmp_path, {"slurm_time": 7, "slurm_setup": ["module load a"]}, sbatch, offset=40) == "4711"
    assert sbatch.script.splitlines() == [
        "#!/bin/bash",
        "",
        "# Parameters",
        "#SBATCH --array=0-2%3",
        f"#SBATCH --error={tmp_path}/%A_%a_0_log.err",
        "#SBATCH --job-name=a-name",
        "#SBATCH --nodes=1",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={tmp_path}/%A_%a_0_log.out",
        "#SBATCH --time=7",
        "",
        "# setup",
        "module load a",
        "",
        "# command",
        "export SUBMITIT_EXECUTOR=slurm",
        "exec '/opt/py thon/bin/python' -m axsched_hpc.worker '/data/it'\"'\"'s/b.json' "
        '"$((SLURM_ARRAY_TASK_ID + 40))"',
    ]


def test_a_signal_that_the_user_asks_for_stays(tmp_path: Path) -> None:
    sbatch = Sbatch()
    _submit(tmp_path, {"slurm_additional_parameters": {"signal": "B:TERM@60"}}, sbatch)
    found = [line for line in sbatch.script.splitlines() if "--signal" in line]
    assert found == ["#SBATCH --signal=B:TERM@60"]


def test_a_wckey_that_the_user_asks_for_stays(tmp_path: Path) -> None:
    sbatch = Sbatch()
    _submit(tmp_path, {"slurm_wckey": "mine"}, sbatch)
    assert "#SBATCH --wckey=mine" in sbatch.script.splitlines()


def test_under_srun_the_command_is_a_program(tmp_path: Path) -> None:
    sbatch = Sbatch()
    _submit(tmp_path, {"slurm_use_srun": True}, sbatch)
    (line,) = [line for line in sbatch.script.splitlines() if line.startswith("srun ")]
    assert " '/opt/py thon/bin/python' -m " in line and " exec " not in line


def test_nothing_of_submitits_own_worker_is_left_behind(tmp_path: Path) -> None:
    sbatch = Sbatch()
    _submit(tmp_path, {}, sbatch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-name.sh"]
    assert "submitit.core" not in sbatch.script


def test_a_refusal_has_slurms_words(tmp_path: Path) -> None:
    refused = Sbatch(1, "", "sbatch: error: invalid partition specified: nosuch\n")
    with pytest.raises(SubmissionError, match=r"invalid partition specified: nosuch.*`sinfo`") as caught:
        _submit(tmp_path, {}, refused)
    assert not caught.value.transient


def test_an_answer_without_a_job_id_may_have_made_jobs(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="a-name") as caught:
        _submit(tmp_path, {}, Sbatch(out="\n"))
    assert caught.value.transient


@pytest.mark.parametrize(("transient", "kind"), [(True, SubmissionError), (False, ClusterUnavailableError)])
def test_no_answer_at_all(transient: bool, kind: type[Exception], tmp_path: Path) -> None:
    class Silent(Sbatch):
        def __call__(self, argv: object) -> Completed:
            raise ClusterUnavailableError("sbatch did not answer", transient=transient)

    with pytest.raises(kind, match="sbatch did not answer") as caught:
        _submit(tmp_path, {}, Silent())
    assert getattr(caught.value, "transient", None) is transient


def test_a_parameter_that_submitit_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SubmititRunner\('slurm'\).*partitoin"):
        executors.worker_executor(tmp_path, {"slurm_partitoin": "main"})


def test_a_cluster_that_submitit_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SubmititRunner\('slrum'\).*slrum"):
        executors.auto_executor(tmp_path, "slrum", {})
