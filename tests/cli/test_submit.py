"""`axsched submit` and `axsched templates`, as far as no Slurm is needed."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from axsched_hpc.commands.driver import default_name
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.slurm import profile, templates
from tests.cli.driver_kit import axsched


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's directory of profiles; the tests run in a directory of their own."""
    for name in (profile.VARIABLE, "PYTHONPATH", "SBATCH_PARTITION", "SBATCH_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("train.py").write_text("")
    return tmp_path / "config" / "axsched"


def script_of(*arguments: object) -> str:
    done = axsched("submit", "--dry-run", *arguments)
    assert done.exit_code == 0, done.exception
    return done.output


def error_of(*arguments: object) -> str:
    done = axsched(*arguments)
    assert isinstance(done.exception, ConfigError), done.output
    return str(done.exception)


def test_what_stands_behind_the_script_is_the_scripts() -> None:
    script = script_of("--name", "a", "train.py", "--name", "b", "--dry-run", "--", "x y")
    path = Path("train.py").absolute()
    assert f"\ncommand=({sys.executable} {path} --name b --dry-run -- 'x y')\n" in script
    assert "\n#SBATCH --job-name=a\n" in script


def test_a_program_runs_itself() -> None:
    Path("go").write_text("#!/bin/sh\n")
    assert f"\ncommand=({sys.executable} {Path('go').absolute()})\n" in script_of("go")
    Path("go").chmod(0o700)
    assert f"\ncommand=({Path('go').absolute()})\n" in script_of("go")


def test_a_project_file_is_checked_and_run() -> None:
    Path("fit.yaml").write_text(
        "parameters: {x: {type: bool}}\nobjectives: {y: minimize}\nobjective: {script: train.py}\n"
        "budget: {trials: 2}\n"
    )
    script = script_of("fit.yaml")
    command = f"{sys.executable} -m axsched_hpc run {Path('fit.yaml').absolute()}"
    assert f"\ncommand=({command})\n" in script
    assert "\n#SBATCH --job-name=axsched-fit-" in script
    Path("fit.yaml").write_text("budget: {}\n")
    done = axsched("submit", "--dry-run", "fit.yaml")
    assert done.exit_code == 2
    assert f"{Path('fit.yaml').absolute()}:1: budget lacks 'trials'.\n" in done.output
    assert axsched("submit", "missing.yaml").exit_code == 2
    late = axsched("submit", "fit.yaml", "--dry-run")
    assert (late.exit_code, "axsched submit --dry-run fit.yaml" in late.output) == (2, True)


def test_options_count_more_than_the_profile_and_it_more_than_variables(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    home.mkdir(parents=True)
    (home / "site.yaml").write_text("driver: {partition: site, time_limit: 3:00:00, memory: 2G}\n")
    monkeypatch.setenv("SBATCH_PARTITION", "habit")
    monkeypatch.setenv("SBATCH_ACCOUNT", "own")
    monkeypatch.setenv("PYTHONPATH", "/my lib")
    script = script_of("--profile", "site", "--time", "1-00", "train.py")
    for line in ("--partition=site", "--account=own", "--time=1-00", "--mem=2G", "--cpus-per-task=1"):
        assert f"\n#SBATCH {line}\n" in script
    assert f"\nexport AXSCHED_PROFILE={home / 'site.yaml'}\n" in script
    assert "\nexport PYTHONPATH='/my lib'\n" in script


def test_the_log() -> None:
    here = Path.cwd()
    Path("logs").mkdir()
    for given, line in (
        ((), f"{here}/%x.log"),
        (("--log", "logs"), f"{here}/logs/%x.log"),
        (("--log", "other/"), f"{here}/other/%x.log"),
        (("--log", "other/%j.txt"), f"{here}/other/%j.txt"),
    ):
        assert f"\n#SBATCH --output={line}\n" in script_of(*given, "train.py")
    assert "backslashes" in error_of("submit", "--log", "a\\b", "train.py")


def test_a_directory_that_slurm_would_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "50% $(touch made) 'x'"
    odd.mkdir()
    monkeypatch.chdir(odd)
    Path("a b.py").write_text("")
    assert "Slurm replaces %" in error_of("submit", "--dry-run", "a b.py")
    script = script_of("--log", tmp_path, "a b.py")
    assert "touch made" in script
    assert not (odd / "made").exists()


def test_mistakes_are_named() -> None:
    assert "There is no script " in error_of("submit", "missing.py")
    assert "is no file" in error_of("submit", ".")
    assert "There is no profile 'nowhere'" in error_of("submit", "--profile", "nowhere", "train.py")
    assert "The job's name is 'a b'" in error_of("submit", "--name", "a b", "train.py")
    assert "driver.again is 'perhaps'" in error_of("submit", "--again", "perhaps", "train.py")
    Path("p.yaml").write_text("driver: {memroy: 1G}\n")
    assert "line 1: unknown key 'memroy' in driver. Did you mean 'memory'?" in error_of(
        "submit", "--profile", "p.yaml", "train.py"
    )
    # What is wrong for the trials is told at once, and not when the driver has waited in the queue.
    Path("p.yaml").write_text("runner: {memory: lots}\n")
    assert "(With the profile " in error_of("submit", "--profile", "p.yaml", "train.py")
    assert axsched("submit").exit_code == 2


def test_the_name_is_the_same_for_the_same_experiment_only() -> None:
    here = Path("/somewhere")
    names = {
        default_name([sys.executable, "/a/my train.py"], here),
        default_name([sys.executable, "/a/my train.py", "1"], here),
        default_name([sys.executable, "/a/my train.py"], Path("/elsewhere")),
    }
    assert len(names) == 3
    assert all(name.startswith("axsched-my-train-") for name in names)
    assert default_name([sys.executable, "/a/my train.py"], here) in names


# ---------------------------------------------------------------- templates


def test_the_templates_are_listed_and_shown(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "default.yaml").write_text("")
    listed = axsched("templates", "list").output
    for name in ("driver.sbatch", "trial.setup.sh", "cpu", "gpu", "whole-node", "preemptible", "debug"):
        assert f"\n  {name} " in listed
        assert axsched("templates", "show", name).output == templates.read(name)
    assert f"Your profiles, in {home}:\n  default (used where no profile is named)\n" in listed
    assert "There is no template 'gup'. Did you mean 'gpu'?" in error_of("templates", "show", "gup")
    assert "There is no template '../x'." in error_of("templates", "show", "../x")


def test_a_new_profile_goes_where_it_is_found(home: Path) -> None:
    done = axsched("templates", "new", "gpu")
    assert done.exit_code == 0
    assert done.output.startswith(f"Wrote {home / 'gpu.yaml'}.\nEdit it, then: axsched submit --profile gpu ")
    assert stat.S_IMODE((home / "gpu.yaml").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    found = profile.load("gpu")
    assert found is not None and found.where == str(home / "gpu.yaml")


def test_nothing_is_overwritten_unasked() -> None:
    for arguments, path in ((("gpu", "mine.yaml"), "mine.yaml"), (("driver.sbatch",), "driver.sbatch")):
        assert axsched("templates", "new", *arguments).exit_code == 0
        Path(path).write_text("edited")
        assert f"{path} is there already. --force replaces it." in error_of("templates", "new", *arguments)
        assert Path(path).read_text() == "edited"
        assert axsched("templates", "new", "--force", *arguments).exit_code == 0
        assert Path(path).read_text() == templates.read(arguments[0])
    Path("folder").mkdir()
    assert axsched("templates", "new", "cpu", "folder").exit_code == 0
    assert Path("folder/cpu.yaml").read_text() == templates.read("cpu")
