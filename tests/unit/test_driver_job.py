"""The driver's batch script: what is put into it stays what it was."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from axsched_hpc.core.errors import ConfigError
from axsched_hpc.runners.driver_job import DriverJob, job_name, options, render
from axsched_hpc.slurm import templates

TEMPLATE = templates.read("driver.sbatch")

NASTY = [
    "a b",
    "it's",
    'a "quoted" word',
    "$(touch made)",
    "`touch made`",
    "$HOME",
    "two\nlines",
    "*",
    "",
    "\\",
    "#",
]

#: Stands in part 3's place, and tells what the script has at that point.
TELL = f"""
setup
exec env "${{environment[@]}}" {sys.executable} -c '
import json, os, sys
json.dump([sys.argv[1:], dict(os.environ)], sys.stdout)' "${{command[@]}}"
"""


def rendered(job: DriverJob, command: list[str], **exported: str) -> str:
    return render(TEMPLATE, job, command, name="x", log="/tmp/%x.log", exported=exported)


def told(script: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """What the first two parts say to bash."""
    head = script.partition("# --- 3. ")[0]
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-c", head + TELL],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
    )
    words, environment = json.loads(done.stdout)
    return words, environment


def test_words_and_variables_reach_the_script_as_they_are(tmp_path: Path) -> None:
    job = DriverJob.from_dict({"environment": {f"V{n}": word for n, word in enumerate(NASTY)}})
    words, environment = told(rendered(job, NASTY, PYTHONPATH="/a b:$(touch made)'"), tmp_path)
    assert words == NASTY
    assert [environment[f"V{n}"] for n in range(len(NASTY))] == NASTY
    assert environment["PYTHONPATH"] == "/a b:$(touch made)'"
    assert not list(tmp_path.iterdir())


def test_setup_runs_modules_first_and_ends_where_one_fails(tmp_path: Path) -> None:
    job = DriverJob.from_dict({"modules": ["gcc/12;touch made"], "setup": ["export A=1", "export B=$A"]})
    script = rendered(job, ["true"])
    known = script.replace("again=requeue\n", 'module() { [[ $* == "load gcc/12;touch made" ]]; }\n')
    _, environment = told(known, tmp_path)
    assert (environment["A"], environment["B"]) == ("1", "1")
    with pytest.raises(subprocess.CalledProcessError):
        told(script, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_rendered_script_is_the_template_in_its_third_part() -> None:
    script = rendered(DriverJob(), ["true"])
    assert script.partition("# --- 3. ")[2] == TEMPLATE.partition("# --- 3. ")[2]


def test_the_header_of_the_template_says_what_the_defaults_say() -> None:
    mine = [line.removeprefix("#SBATCH ") for line in TEMPLATE.splitlines() if line.startswith("#SBATCH ")]
    default = options(DriverJob(), name="axsched-my-experiment", log="%x.log")
    assert sorted(mine) == sorted(default)
    assert "\nagain=requeue\n" in TEMPLATE


def test_options_of_each_kind() -> None:
    job = DriverJob.from_dict(
        {
            "partition": "low",
            "account": "mine",
            "time_limit": 600,
            "again": "successor",
            "sbatch_options": {"qos": "x", "mem-per-cpu": "1G", "exclusive": True, "reservation": None},
        }
    )
    found = options(job, name="n", log="/l")
    assert {
        "--no-requeue",
        "--partition=low",
        "--account=mine",
        "--time=600",
        "--qos=x",
        "--exclusive",
    } <= set(found)
    assert not [each for each in found if each.startswith(("--mem=", "--requeue", "--reservation"))]


def test_a_path_with_spaces_and_quotes_is_quoted_in_the_header() -> None:
    script = render(TEMPLATE, DriverJob(), ["true"], name="x", log='/a b/"c"/%x.log')
    assert '\n#SBATCH --output="/a b/\\"c\\"/%x.log"\n' in script
    with pytest.raises(ConfigError, match=r"--output of the driver's job is .* takes one line"):
        render(TEMPLATE, DriverJob(), ["true"], name="x", log="/a\n#SBATCH --wrap=x")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cpus_per_tasks": 1}, "Unknown option 'cpus_per_tasks' of driver. Did you mean 'cpus_per_task'?"),
        ({"time_limit": "soon"}, "driver.time_limit is 'soon', but takes a time"),
        ({"time_limit": "infinite"}, "driver.time_limit is 'infinite', but takes a time"),
        ({"time_limit": True}, "driver.time_limit is True"),
        ({"time_limit": 2}, "has to be 180 s at the least"),
        ({"memory": "lots"}, "driver.memory is 'lots'"),
        ({"cpus_per_task": 0}, "driver.cpus_per_task is 0"),
        ({"warning": 1}, "driver.warning is 1"),
        ({"warning": 70_000}, "driver.warning is 70000"),
        ({"again": "never"}, "driver.again is 'never', but takes 'requeue' or 'successor'."),
        ({"partition": ""}, "partition"),
        ({"setup": "module load x"}, "driver.setup is 'module load x', but takes a list"),
        ({"environment": {"A B": 1}}, "'A B' is no name"),
        ({"sbatch_options": {"signal": "x"}}, "relies on its own"),
        ({"sbatch_options": {"time": "1"}}, "use driver.time_limit instead"),
        ({"sbatch_options": {"output": "x"}}, "leave it out"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DriverJob.from_dict(given)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a,b", "-x", "a/b", "%j", "x" * 101, "a\n"])
def test_names_that_slurm_or_a_path_would_change_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="The job's name is "):
        job_name(name)


def test_bash_takes_the_template() -> None:
    subprocess.run(["bash", "-n"], input=TEMPLATE, text=True, check=True)
