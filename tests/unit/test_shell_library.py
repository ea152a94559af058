"""The functions for objectives that are shell scripts, in the shells that nodes have."""

from __future__ import annotations

import shutil
import subprocess
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axsched_hpc.core.metrics import parse_text
from axsched_hpc.io import parameters, progress
from tests.unit.worker_kit import script_bench

LIBRARY = Path(__file__).resolve().parents[2] / "slurm_templates" / "axsched.sh"

#: Shells; with busybox, its tr.
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}


class Script:
    """Runs lines of shell with the library."""

    def __init__(self, root: Path, shell: list[str]) -> None:
        self.root, self.shell = root, shell
        self.metrics, self.progress = root / "metrics file", root / "progress file"
        self.path = "/usr/bin:/bin"
        if shell[0] == "busybox":
            (root / "bin").mkdir()
            (root / "bin" / "tr").symlink_to(str(shutil.which("busybox")))
            self.path = f"{root / 'bin'}:{self.path}"

    def run(
        self, text: str, *arguments: str, values: parameters.Parameters | None = None, progress: bool = True
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": self.path,
            "LC_ALL": "C.UTF-8",
            "AXSCHED_SHELL_LIBRARY": str(LIBRARY),
            "AXSCHED_METRICS_FILE": str(self.metrics),
            **parameters.variables(values or {}),
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
    shell = SHELLS[request.param]
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not here")
    return Script(tmp_path, shell)


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
    "option": "-n",
    "-e": "dash",
    "layers.0": 3,
    "a name, \"with\": 'all'\\\n": 'of, "it": \\',
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
    done = script.run(PRINT, *VALUES, values=VALUES)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\0") == [*map(parameters.as_text, VALUES.values()), ""]
    assert not (script.root / "pwned").exists()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
def test_parameters_of_any_names_and_values_arrive_or_are_missing(
    script: Script, values: dict[str, parameters.Value]
) -> None:
    """A name whose variable would be another's too is no parameter, rather than that one's value."""
    variables = [*chain(*(parameters.variables({name: 1}) for name in values))]
    there = [name for name, own in zip(values, variables, strict=True) if variables.count(own) == 1]
    done = script.run(PRINT, *there, values=values)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\0") == [*(parameters.as_text(values[name]) for name in there), ""]
    for name in values.keys() - set(there):
        assert script.run('value=$(axsched_parameter "$1")', name, values=values).returncode == 1


def test_a_parameter_that_is_not_there_ends_the_script(script: Script) -> None:
    done = script.run("y=$(axsched_parameter y)\necho never", values={"x": 1})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "axsched_parameter: there is no parameter 'y' in the environment\n"


def test_metrics_are_collected(script: Script) -> None:
    done = script.run(
        "axsched_metric loss 0.25\n"
        'axsched_metric "acc(%s)" 1e-3 .5; sed -n "\\$p" "$AXSCHED_METRICS_FILE"\n'
        "axsched_metric größe -1.5E+3"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "acc(%s) 1e-3 .5\n", "")
    assert parse_text(script.metrics.read_text(), source="f") == {
        "loss": (0.25, None),
        "acc(%s)": (1e-3, 0.5),
        "größe": (-1500.0, None),
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("axsched_metric loss ''", "axsched: '' in 'loss ' is empty or has blanks"),
        ("axsched_metric loss '' 0.1", "axsched: '' in 'loss  0.1' is empty or has blanks"),
        ("axsched_metric 'my 2' 1", "axsched: 'my 2' in 'my 2 1' is empty or has blanks"),
        ("axsched_report '' 3 1", "axsched: '' in ' 3 1' is empty or has blanks"),
    ],
)
def test_a_value_does_not_take_the_place_of_another(script: Script, call: str, message: str) -> None:
    done = script.run(f"{call}\necho never")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{message}\n")
    assert not script.metrics.exists() and not script.progress.exists()


def test_reports_are_read(script: Script) -> None:
    done = script.run(
        "for step in 1 2; do axsched_report $step 'loss(%s)' .5; axsched_report $step b 1e5 2; done"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    script.root.chmod(0o700)
    chunk = progress.read(script.progress, 0)
    assert chunk.bad is None
    assert [(each.step, each.metrics) for each in chunk.reports] == [
        (step, metrics) for step in (1, 2) for metrics in ({"loss(%s)": (0.5, None)}, {"b": (1e5, 2.0)})
    ]
    done = script.run("axsched_report 1 loss 1; echo on", progress=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "on\n", "")


def test_a_script_finds_it_in_a_job(tmp_path: Path) -> None:
    lines = (
        "x=$(axsched_parameter x)\ntext=$(axsched_parameter layers.0)\n"
        'axsched_report 1 loss 2\naxsched_metric loss "$x" 0.1\nprintf %s "$text"\n'
    )
    text = "$(id) 'q'\n--x ☃"
    b = script_bench(
        tmp_path,
        f'. "$AXSCHED_SHELL_LIBRARY"\n{lines}',
        {"interpreter": "dash"},
        parameters={"x": 0.125, "layers.0": text},
    )
    assert b.run() == (0, "")
    assert b.outcome().metrics == {"loss": (0.125, 0.1)}
    assert b.files.stdout.read_text() == text
    assert b.files.progress.read_text() == "1 loss 2\n"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not here")
def test_shellcheck_has_nothing_to_say() -> None:
    done = subprocess.run(["shellcheck", LIBRARY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
