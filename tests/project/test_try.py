"""``axsched try``: one trial as a run would have it, what is said of it, and what is left of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from axsched_hpc.cli import cli
from axsched_hpc.core.errors import AxSchedError, ParameterError
from axsched_hpc.project import point
from axsched_hpc.project.goals import problem
from axsched_hpc.project.reading import parse
from axsched_hpc.reporting.reading import read_experiment
from tests.slurm.harness import Cluster

ROOT = Path(__file__).resolve().parents[2]

FILE = """\
directory: out/small
parameters:
  x: {type: float, lower: 0, upper: 1}
  s: {type: choice, values: [a, "b c"]}
objectives: {loss: minimize}
objective: {script: run.sh}
budget: {trials: 3}
config: {poll_interval: 0.1}
"""

GOOD = """\
#!/bin/sh
echo "about $AXSCHED_PARAMETER_s"
echo "careful" >&2
echo "loss $AXSCHED_PARAMETER_x" >"$AXSCHED_METRICS_FILE"
"""

#: The command, which ends with whether Ax was loaded.
COMMAND = """\
import sys
from axsched_hpc.cli import main
try:
    main()
finally:
    print("Ax is loaded" if "ax" in sys.modules or "torch" in sys.modules else "without Ax")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose script is good."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    script(tmp_path, GOOD)
    (tmp_path / "axsched.yaml").write_text(FILE)
    return tmp_path


def script(folder: Path, text: str) -> None:
    (folder / "run.sh").write_text(text)
    (folder / "run.sh").chmod(0o755)


def add(folder: Path, text: str) -> None:
    (folder / "axsched.yaml").write_text(FILE + text)


def try_(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["try", *arguments])


def refused(*arguments: str) -> str:
    result = try_(*arguments)
    assert isinstance(result.exception, AxSchedError)
    return str(result.exception)


def test_a_trial_is_run_shown_and_removed_without_loading_ax(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "try", "-p", "s=b c"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said, root = done.stdout, f"{folder}/out/small-try-1"
    files = f"{root}/trials/00000/attempt-1"
    for line in (
        f"One trial of axsched.yaml, on this machine, in {root}",
        "  x  0.5",
        "  s  'b c'",
        f"  in {files}/work",
        f"  AXSCHED_METRICS_FILE     {files}/metrics.json",
        "  AXSCHED_PARAMETER_s      b c",
        "about b c",
        "careful",
        f"It wrote {files}/metrics.json, which is read as lines: NAME VALUE [ERROR]",
        "trial 0: completed",
        "It works; its files are removed (--keep keeps them). Next: axsched run",
        "without Ax",
    ):
        assert f"\n{line}\n" in f"\n{said}", line
    assert re.search(rf"\n  {root}/objective/\w+/files/run.sh\n", said)
    assert re.search(r"\n  memory +used \d+ MB\n", said)
    assert sorted(path.name for path in folder.iterdir()) == ["axsched.yaml", "run.sh"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\necho broken >&2\nexit 3\n", ["==> stderr.log <==\nbroken\n", "  exit code  3\n"]),
        (
            '#!/bin/sh\necho "cost 1" >"$AXSCHED_METRICS_FILE"\n',
            ["\n  cost 1\n", "lacks 'loss', which the experiment needs; it has 'cost'"],
        ),
    ],
)
def test_what_fails_says_why_and_is_kept(folder: Path, text: str, said: list[str]) -> None:
    script(folder, text)
    add(folder, "retries: {objective: 2}\n")
    result = try_()
    assert result.exit_code == 1
    for line in [*said, f"Its files are kept in {folder}/out/small-try-1;"]:
        assert line in result.output
    (trial,) = read_experiment(folder / "out/small-try-1").ledger.trials.values()
    assert len(trial.attempts) == 1
    assert not (folder / "out/small").exists()


def test_curves_that_early_stopping_needs_are_looked_for(folder: Path) -> None:
    add(folder, "early_stopping: true\ntracked_metrics: [seconds]\n")
    result = try_("--json")
    assert result.exit_code == 1
    record = json.loads(result.output)
    assert record["metrics"]["loss"]["mean"] == 0.5
    assert "compares the curves of 'loss', and the trial reported nothing" in record["problems"][0]
    assert record["kept"] is True
    script(folder, GOOD + 'echo "1 loss 2" >>"$AXSCHED_PROGRESS_FILE"\n')
    result = try_("--keep")
    assert result.exit_code == 0, result.output
    assert "seconds of tracked_metrics was not reported." in result.output
    # The first is still there, and this one is asked to be.
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["small-try-1", "small-try-2"]


def test_a_function_says_what_it_prints_and_raises(folder: Path) -> None:
    text = FILE.replace("{script: run.sh}", "{function: 'mine:f'}")
    (folder / "axsched.yaml").write_text(text)
    (folder / "mine.py").write_text("def f(p):\n    print('at', p['x'])\n    return {'loss': 1 / p['x']}\n")
    result = try_("-p", "x=0")
    assert result.exit_code == 1
    assert "\n  mine.f({'x': 0.0, 's': 'a'})\n" in result.output
    assert "at 0.0\n" in result.output
    assert "ZeroDivisionError" in result.output


def test_a_signal_cancels_it_and_leaves_nothing(folder: Path) -> None:
    script(folder, "#!/bin/sh\necho begun\nexec sleep 60\n")
    command = [sys.executable, "-c", COMMAND, "try"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "begun\n":
                process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read() == "\nCancelled, with its job. Nothing is left of it.\n"
    assert process.returncode == 130
    assert not (folder / "out").exists()


def test_what_is_wrong_is_said_before_anything_is_made(folder: Path) -> None:
    assert refused("-p", "X=1") == "There is no parameter 'X'. Known: s, x."
    assert refused("-p", "x=2") == "x is '2', but takes a number from 0 to 1."
    assert refused("-p", "s=b") == 's is \'b\', but takes "a" or "b c".'
    assert try_("-p", "x").exit_code == 2
    assert try_("none.yaml").exit_code == 2
    (folder / "out").write_text("")
    assert "/out cannot be written" in refused()


@pytest.mark.slurm
def test_on_slurm_the_batch_script_and_the_job_are_shown(folder: Path, acct_cluster: Cluster) -> None:
    add(folder, "runner: {type: slurm, partition: main, time_limit: '00:01:00', memory: 100M}\n")
    result = try_()
    assert result.exit_code == 0, result.output
    for pattern in (
        r"as a job of Slurm \(partition main\), in ",
        r"\n  #SBATCH --mem=100M\n",
        r"\n  #SBATCH --partition=main\n",
        r"\naxsched: trial 0 submitted: job \d+\n",
        r"\nabout a\n",
        r"\n  job +\d+_0 on \w+\n",
        r"\nIt works; ",
    ):
        assert re.search(pattern, result.output), pattern
    assert not (folder / "out").exists()


# ---------------------------------------------------------------- the point


def project(text: str, more: str = "") -> object:
    head = "objectives: {loss: minimize}\nobjective: {command: 'true'}\nbudget: {trials: 1}\n"
    return parse(f"{head}parameters:\n{text}{more}", "axsched.yaml")


def test_the_point_is_the_centre_as_a_person_would_type_it() -> None:
    found = project(
        "  a: {type: float, lower: 0.1, upper: 10, log: true}\n"
        "  b: {type: float, lower: 0, upper: 0.9, step: 0.3}\n"
        "  c: {type: int, lower: 1, upper: 8}\n"
        "  d: {type: choice, values: [x, y, z], ordered: false}\n"
        "  e: {type: choice, values: [1, 2, 3]}\n"
        "  f: {type: fixed, value: 7}\n"
        "  g: {type: float, lower: 0, upper: 1, when: {d: x}}\n"
        "  h: {type: bool}\n"
    )
    centre = {"a": 1.0, "b": 0.6, "c": 4, "d": "y", "e": 2, "f": 7, "h": False}
    assert point.choose(found, {}) == centre  # type: ignore[arg-type]
    own = {"a": "1e-1", "c": "8", "d": "x", "e": "3.0", "h": "true"}
    chosen = {**centre, "a": 0.1, "c": 8, "d": "x", "e": 3, "g": 0.5, "h": True}
    assert point.choose(found, own) == chosen  # type: ignore[arg-type]
    for wrong, said in (
        ({"g": "0.5"}, "counts only with d = x; give that, too."),
        ({"c": "2.5"}, "c is '2.5', but takes a whole number from 1 to 8."),
        ({"b": "0.5"}, "in steps of 0.3"),
        ({"a": "nan"}, "a is 'nan', but takes a number"),
        ({"h": "1"}, "h is '1', but takes false or true."),
        ({"f": "8"}, "f is '8', but takes 7."),
    ):
        with pytest.raises(ParameterError, match=re.escape(said)):
            point.choose(found, wrong)  # type: ignore[arg-type]


def test_the_point_is_the_baseline_or_meets_the_constraints() -> None:
    text = "  a: {type: float, lower: 0, upper: 1}\n  b: {type: float, lower: 0, upper: 1}\n"
    limit = "parameter_constraints: [a + b <= 0.5]\n"
    drawn = point.choose(project(text, limit), {})  # type: ignore[arg-type]
    assert drawn["a"] + drawn["b"] <= 0.5
    assert point.choose(project(text, limit), {}) == drawn  # type: ignore[arg-type]
    baseline = project(text, limit + "baseline: {a: 0.1, b: 0.2}\n")
    assert point.choose(baseline, {}) == {"a": 0.1, "b": 0.2}  # type: ignore[arg-type]
    assert point.choose(baseline, {"a": "0.3"}) == {"a": 0.3, "b": 0.2}  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="with the given values"):
        point.choose(baseline, {"a": "0.4", "b": "0.4"})  # type: ignore[arg-type]


def test_the_problem_is_the_one_that_ax_would_have() -> None:
    head = "parameters: {x: {type: bool}}\nobjective: {command: 'true'}\nbudget: {trials: 1}\n"
    head += "baseline: {x: true}\n"
    front = "objectives: {a: minimize, b: {goal: maximize, threshold: 3}}\n"
    front += "constraints: [2*c <= 1, d >= 0.9 * baseline]\n"
    found = problem(parse(head + front, "axsched.yaml"), baseline="0_0")
    assert [(each.name, each.minimize) for each in found.objectives] == [("a", True), ("b", False)]
    assert found.required == ("a", "b", "c", "d")
    assert [str(each) for each in found.bounds] == [
        "c <= 0.5",
        "d >= baseline - 10%",
        "b >= 3",
    ]
    weighted = "objectives: {a: {goal: minimize, weight: 2}, b: {goal: maximize, weight: 1}}\n"
    (objective,) = problem(parse(head + weighted, "axsched.yaml")).objectives
    assert (objective.weights, objective.minimize) == ({"a": -2, "b": 1}, False)
