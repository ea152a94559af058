"""The functions for objectives that are shell scripts, in the shells and awks that nodes have."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axsched_hpc.core.metrics import parse_text
from axsched_hpc.io import parameters
from tests.unit.worker_kit import script_bench

LIBRARY = Path(__file__).resolve().parents[2] / "slurm_templates" / "axsched.sh"

#: Shells, each with another awk: what nodes have.
SHELLS = {
    "dash": (["dash"], ["mawk"]),
    "bash": (["bash", "--posix"], ["gawk"]),
    "busybox": (["busybox", "sh"], ["busybox", "awk"]),
}


class Script:
    """Runs lines of shell with the library, in one shell and with one awk."""

    def __init__(self, root: Path, shell: list[str], awk: list[str]) -> None:
        self.root, self.shell = root, shell
        self.parameters, self.metrics = root / "parameters.json", root / "metrics file"
        self.progress = root / "progress.jsonl"
        binaries = root / "bin"
        binaries.mkdir()
        program = shutil.which(awk[0])
        assert program is not None
        (binaries / "awk").write_text(f'#!/bin/sh\nexec {" ".join([program, *awk[1:]])} "$@"\n')
        (binaries / "awk").chmod(0o755)
        self.path = f"{binaries}:/usr/bin:/bin"

    def run(self, text: str, *arguments: str, progress: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": self.path,
            "LC_ALL": "C.UTF-8",
            "AXSCHED_SHELL_LIBRARY": str(LIBRARY),
            "AXSCHED_PARAMETERS_FILE": str(self.parameters),
            "AXSCHED_METRICS_FILE": str(self.metrics),
        } | ({"AXSCHED_PROGRESS_FILE": str(self.progress)} if progress else {})
        done = subprocess.run(
            [*self.shell, "-euc", f'. "$AXSCHED_SHELL_LIBRARY"\n{text}', "objective.sh", *arguments],
            env=environment,
            cwd=self.root,
            capture_output=True,
            check=False,
        )
        # Decoded here, since the text mode of subprocess takes carriage returns for newlines.
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )


@pytest.fixture(params=SHELLS)
def script(tmp_path: Path, request: pytest.FixtureRequest) -> Script:
    shell, awk = SHELLS[request.param]
    for program in (shell[0], awk[0]):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not here")
    return Script(tmp_path, shell, awk)


VALUES: dict[str, parameters.Value] = {
    "x": 1.5e-9,
    "n": -3,
    "yes": True,
    "no": None,
    "null": "null",
    "empty": "",
    "text": "a b  c",
    "quotes": "\"'`",
    "shell": "$(touch pwned) ${HOME} $x * ~ ; & | > <",
    "backslash": "\\n \\\\ \\",
    "blank": "\t two\nlines\r\x0b\x7f",
    "unicode": "é ☺ 😀 \u2028",
    "percent": "%s %d %",
    "-e": "dash",
    "a name, \"with\": 'all'\\": 'of, "it": \\',
    "größe 😀": "big",
}

#: Prints parameters with a null character after each; $(…) loses newlines at the end.
PRINT = """\
for name in "$@"; do
    value=$(axsched_parameter "$name"; echo .)
    printf '%s\\0' "${value%??}"
done
"""


def test_every_parameter_arrives_as_it_is(script: Script) -> None:
    parameters.write(script.parameters, VALUES)
    done = script.run(PRINT, *VALUES)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\0") == [*map(parameters.as_text, VALUES.values()), ""]
    assert not (script.root / "pwned").exists()


def test_a_parameter_that_is_not_there_ends_the_script(script: Script) -> None:
    parameters.write(script.parameters, {"x": 1})
    done = script.run("y=$(axsched_parameter y)\necho never")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"axsched_parameter: there is no parameter 'y' in {script.parameters}\n"
    script.parameters.write_text("x=1\n")
    done = script.run("x=$(axsched_parameter x)\necho never")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"axsched_parameter: {script.parameters} is not JSON; leave out the option parameters_format\n"
    )
    script.parameters.write_text("{}\n")
    assert script.run("axsched_parameter x").returncode == 1


def test_metrics_are_collected(script: Script) -> None:
    done = script.run(
        "axsched_metric loss 0.25\n"
        'axsched_metric "acc(%s)" 1e-3 .5; ls -A; sed -n "\\$p" "$AXSCHED_METRICS_FILE"\n'
        "axsched_metric größe -1.5E+3"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == ["bin", "metrics file", "acc(%s) 1e-3 .5", ""]
    assert parse_text(script.metrics.read_text(), source="f") == {
        "loss": (0.25, None),
        "acc(%s)": (1e-3, 0.5),
        "größe": (-1500.0, None),
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("axsched_metric loss", "takes NAME VALUE [SEM], not 1 arguments"),
        ("axsched_metric loss 1 2 3", "takes NAME VALUE [SEM], not 4 arguments"),
        ("axsched_metric loss ''", "'' is empty or has blanks"),
        ("axsched_metric 'my loss' 1", "'my loss' is empty or has blanks"),
        ("axsched_metric '{loss' 1", "no name begins as '{loss' does"),
        ("axsched_metric '#loss' 1", "no name begins as '#loss' does"),
    ],
)
def test_metrics_that_no_file_can_hold_are_refused(tmp_path: Path, line: str, message: str) -> None:
    done = Script(tmp_path, ["sh"], ["awk"]).run(f"{line}\necho never")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"axsched_metric: {message}\n")
    assert not (tmp_path / "metrics file").exists()


def test_reports_are_json_lines(script: Script) -> None:
    plain = {"1": 1.0, "-0.5": -0.5, "0": 0.0, "1E+10": 1e10}
    printed = {".5": 0.5, "-.25": -0.25, "+2": 2.0, "1.": 1.0, "007": 7.0, "1.5D-03": 1.5e-3, "1.e5": 1e5}
    numbers = plain | printed | {"00.0": 0.0}
    lines = 'step=08; for number in "$@"; do axsched_report $step \'my loss %s\' "$number"; step=1$step; done'
    done = script.run(lines, *numbers)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    written = [json.loads(line) for line in script.progress.read_text().splitlines()]
    assert [each["my loss %s"] for each in written] == list(numbers.values())
    assert [each["step"] for each in written[:3]] == [8, 108, 1108]


def test_reports_that_are_no_numbers_are_refused_and_others_may_go_nowhere(script: Script) -> None:
    script.parameters.touch()
    no_number = ["1 loss nan", "1 loss ''", "1 loss 1e", "1 loss '1 2'", "1 loss"]
    for arguments in (*no_number, "x loss 1", "-1 loss 1", "1 'a\"b' 1", "1 '' 1"):
        done = script.run(f"axsched_report {arguments}\necho never")
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert done.stderr.startswith("axsched_report: takes STEP NAME VALUE, a whole number, ")
    assert not script.progress.exists()
    done = script.run("axsched_report 1 loss 1; echo on", progress=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "on\n", "")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.integers(),
        min_size=1,
        max_size=5,
    )
)
def test_parameters_of_any_names_and_values_arrive(
    script: Script, values: dict[str, parameters.Value]
) -> None:
    parameters.write(script.parameters, values)
    done = script.run(PRINT, *values)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\0") == [*map(parameters.as_text, values.values()), ""]


def test_a_script_finds_it_in_a_job(tmp_path: Path) -> None:
    lines = 'x=$(axsched_parameter x)\naxsched_report 1 loss 2\naxsched_metric loss "$x" 0.1\n'
    b = script_bench(
        tmp_path, f'. "$AXSCHED_SHELL_LIBRARY"\n{lines}', {"interpreter": "dash"}, parameters={"x": 0.125}
    )
    assert b.run() == (0, "")
    assert b.outcome().metrics == {"loss": (0.125, 0.1)}


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not here")
def test_shellcheck_has_nothing_to_say() -> None:
    done = subprocess.run(["shellcheck", LIBRARY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
