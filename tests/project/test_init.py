"""``axsched init``: what it writes is right, explained and safe; what it refuses leaves nothing."""

from __future__ import annotations

import math
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from axsched_hpc.cli import cli
from axsched_hpc.core.errors import AxSchedError
from axsched_hpc.project import keys
from axsched_hpc.project.model import Project
from axsched_hpc.project.reading import load, parse
from axsched_hpc.slurm import partitions
from tests.slurm.harness import Cluster

ROOT = Path(__file__).resolve().parents[2]

#: One parameter of each type, and values that a shell, YAML or Python could take for something else.
PARAMETERS = (
    "rate=float:1e-05:0.1:log",
    "x.y=float:-2:2",
    "layers=int:1:8",
    "size=choice:1,2,4",
    "flag=bool",
    "fixed=fixed:on",
    """text={type: choice, values: ["it's $(touch gone) `touch gone`", "a\\\\b \\"c\\"", "ü:#{", "no"]}""",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["init", *arguments])


def refused(*arguments: str) -> str:
    """What is said where nothing is written."""
    before = sorted(os.listdir())  # noqa: PTH208
    result = init(*arguments)
    assert result.exit_code != 0
    assert sorted(os.listdir()) == before  # noqa: PTH208
    return str(result.exception) if isinstance(result.exception, AxSchedError) else result.output


def written(*arguments: str) -> Project:
    result = init(*arguments)
    assert result.exit_code == 0, result.exception
    return load(Path("axsched.yaml"))


def with_parameters(*arguments: str) -> list[str]:
    return [*arguments, *(word for each in PARAMETERS for word in ("-p", each))]


# ---------------------------------------------------------------- what is written


def test_without_a_terminal_it_asks_nothing_and_names_the_next_commands(folder: Path) -> None:
    result = init()
    assert result.exit_code == 0
    assert result.output == (
        "Wrote objective.py and axsched.yaml.\n\nNext:\n"
        "  axsched try   # one trial, and all that it did\n"
        "  axsched run   # all 8 trials\n"
        "  axsched best  # what was found\n"
    )
    project = load(folder / "axsched.yaml")
    assert [each.name for each in project.parameters] == ["x", "y"]
    assert (project.where.type, project.trials) == ("local", 8)


@pytest.mark.parametrize("kind", ["function", "python", "shell", "container"])
def test_every_value_survives_and_is_data_to_what_runs(folder: Path, kind: str) -> None:
    image = folder / "image"
    image.mkdir()
    more = ["--image", str(image)] if kind == "container" else []
    project = written(*with_parameters("--kind", kind, "--metric", "score", "--maximize", *more))
    values = {each.name: each.values for each in project.parameters if each.values}
    assert values == {
        "size": (1, 2, 4),
        "flag": (False, True),
        "fixed": ("on",),
        "text": ("it's $(touch gone) `touch gone`", 'a\\b "c"', "ü:#{", "no"),
    }
    assert {each.name for each in project.parameters if each.log} == {"rate"}
    assert (project.goals[0].metric, project.goals[0].minimize) == ("score", False)
    # A reader of YAML 1.1 takes it for the same.
    text = (folder / "axsched.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["parameters"]["text"]["values"] == list(values["text"])

    point = {"rate": 1e-4, "x.y": -1.5, "layers": 3, "size": 4, "flag": True, "fixed": "on"}
    for text in values["text"]:
        assert math.isfinite(score(folder, kind, {**point, "text": text}))
    assert not (folder / "gone").exists()


def score(folder: Path, kind: str, point: dict[str, object]) -> float:
    """What the example makes of a point, run as it stands."""
    from axsched_hpc.io import parameters

    if kind == "function":
        space: dict[str, object] = {}
        exec((folder / "objective.py").read_text(encoding="utf-8"), space)
        evaluate = space["evaluate"]
        assert callable(evaluate)
        return float(evaluate(point)["score"])
    (folder / "parameters").write_text(parameters.render(point))  # type: ignore[arg-type]
    (folder / "metrics").unlink(missing_ok=True)
    environment = {
        **os.environ,
        **parameters.variables(point),  # type: ignore[arg-type]
        "AXSCHED_PARAMETERS_FILE": str(folder / "parameters"),
        "AXSCHED_METRICS_FILE": str(folder / "metrics"),
    }
    command = [sys.executable, "-I", "evaluate.py"] if kind == "python" else ["./evaluate.sh"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    text = (folder / "metrics").read_text()
    return float(re.fullmatch(r'(?:score |\{"score": )([-.0-9e]+)\}?\n?', text)[1])  # type: ignore[index]


# ---------------------------------------------------------------- comments and options

_OPTION = re.compile(r"^( *)#(?! )", re.MULTILINE)


@pytest.mark.parametrize("arguments", [["--kind", "shell"], ["--runner", "slurm", "--kind", "python"]])
def test_each_option_in_the_file_is_right_when_its_sign_is_taken_away(
    folder: Path, arguments: list[str]
) -> None:
    written(*arguments, "--metric", "memory")
    text = (folder / "axsched.yaml").read_text()
    lines = text.splitlines()
    signs = [number for number, line in enumerate(lines) if _OPTION.match(line)]
    assert len(signs) > 20
    head = -1
    for number in signs:
        if lines[number].endswith(":"):
            head = number  # of a section that is an option itself
            continue
        inside = lines[number].startswith(" ") and not any(
            re.match(r"\w|#\w", line) for line in lines[head + 1 : number]
        )
        chosen = {number, head} if head >= 0 and inside else {number}
        changed = [_OPTION.sub(r"\1", line) if n in chosen else line for n, line in enumerate(lines)]
        assert parse("\n".join(changed), "axsched.yaml"), lines[number]
    # All of them together, but for the other parameters, which a baseline would need as well.
    others = [n for n in signs if "{type: " in lines[n]]
    changed = [_OPTION.sub(r"\1", line) if n not in others else line for n, line in enumerate(lines)]
    project = parse("\n".join(changed), "axsched.yaml")
    assert project.baseline is not None
    assert len(project.goals) == 2


def test_the_file_has_every_section_in_the_words_of_the_reference(folder: Path) -> None:
    init()
    text = (folder / "axsched.yaml").read_text()
    plain = re.sub(r"\n# ", " ", text)
    for key in keys.PROJECT.keys:
        assert re.search(rf"^#?{key.name}:", text, re.MULTILINE), key.name
        assert f"# {key.doc}\n" in text or f"# {key.doc}\n" in plain, key.name
    assert "yaml-language-server" not in text
    assert init("--schema", "--force").exit_code == 0
    first = (folder / "axsched.yaml").read_text().partition("\n")[0]
    assert first == "# yaml-language-server: $schema=axsched.schema.json"
    assert (folder / "axsched.schema.json").is_file()
    assert load(folder / "axsched.yaml").trials == 8


# ---------------------------------------------------------------- scripts that are there


def test_a_script_of_ones_own_is_looked_at(folder: Path) -> None:
    (folder / "my train.py").write_text("print('loss =', 0.25)\n")
    shown = init("--script", "my train.py").output
    assert f"my train.py is run by {sys.executable}" in shown
    assert 'x = float(os.environ["AXSCHED_PARAMETER_x"])' in shown
    assert 'print("loss", loss, file=file)' in shown
    told = init("--script", "my train.py", "--arguments", "--printed", "--force").output
    assert "It seems not to" not in told
    project = load(folder / "axsched.yaml")
    assert project.objective.source == str(folder / "my train.py")  # type: ignore[union-attr]
    assert project.objective.args == ("--x", "{x}", "--y", "{y}")  # type: ignore[union-attr]
    (extraction,) = project.objective.extract  # type: ignore[union-attr]
    assert re.search(str(extraction.address), "epoch\nloss = 0.25", re.MULTILINE)[1] == "0.25"  # type: ignore[index]


def test_what_runs_a_script_is_found_out_or_it_is_refused(folder: Path) -> None:
    odd = folder / "odd.xyz"
    odd.write_text("hello\n")
    assert "is not executable" in refused("--script", "odd.xyz")
    odd.chmod(0o755)
    assert "has no first line such as #!/bin/sh" in refused("--script", "odd.xyz")
    odd.write_text("#!/usr/bin/env perl\n$ENV{AXSCHED_PARAMETER_x}; $ENV{AXSCHED_METRICS_FILE}\n")
    shown = init("--script", "odd.xyz").output
    assert "odd.xyz is run by /usr/bin/env perl, as its first line says.\n" in shown
    assert "It seems not to" not in shown
    odd.chmod(0o644)
    assert init("--script", "odd.xyz", "--force").exit_code == 0
    assert load(folder / "axsched.yaml").objective.interpreter == ("/usr/bin/env", "perl")  # type: ignore[union-attr]
    assert "does not exist" in refused("--script", "none.py", "--force")


def test_a_project_elsewhere_finds_the_script(folder: Path) -> None:
    (folder / "a.sh").write_text('echo "loss $AXSCHED_PARAMETER_x" >"$AXSCHED_METRICS_FILE"\n')
    shown = init("new/one", "--script", "a.sh").output
    assert "\nNext:\n  cd new/one\n" in shown
    source = load(folder / "new/one/axsched.yaml").objective.source  # type: ignore[union-attr]
    assert Path(source).resolve() == folder / "a.sh"


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["-p", "my rate=float:0:1"],
            "'my rate' is no name for a parameter: letters, digits and _ . - make one.",
        ),
        (["-p", "it's=float:0:1"], "is no name for a parameter"),
        (["-p", "κ=float:0:1"], "'κ' is no name for a parameter"),
        (["-p", "x"], "'x' is not of the form NAME=TYPE:..., such as x=float:0:1."),
        (["-p", "x=flaot:0:1"], "x: 'flaot:0:1' is none of float:LOWER:UPPER"),
        (["-p", "x=float:0:b"], 'parameters.x.upper is "b"; a number is wanted.'),
        (["-p", "x=int:1:2.5"], "parameters.x.upper is 2.5; a whole number is wanted."),
        (["-p", "x=float:1:0"], "parameters.x.upper is 0; a number above lower"),
        (["-p", "x=float:0:1:log"], "a log scale begins above 0"),
        (["-p", "x=choice:a"], "a list of two values or more"),
        (["-p", "x={type: float, lower: 0, uper: 1}"], "Did you mean 'upper'?"),
        (["-p", "x=bool", "-p", "x=bool"], "The parameter 'x' is there already."),
        (["--kind", "shell", "-p", "a.b=bool", "-p", "a_b=bool"], "would be one variable of a shell"),
        (["--metric", "val loss"], "'val loss' is no name for a metric"),
        (["--metric", "lambda"], "means something else in Ax's formulas"),
        (["--trials", "0"], "'0' is no whole number from 1 to 999999."),
        (["--partition", "main"], "--partition belongs to --runner slurm."),
        (["--kind", "shell", "--script", "a.sh"], "--script belongs to a script of yours"),
        (["--kind", "script"], "--kind script needs --script PATH."),
        (["--runner", "slurm", "--time", "soon"], "--time is 'soon', but takes a time such as 01:00:00"),
        (["--kind", "container", "--image", "./none.sif"], "does not exist"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(folder: Path, arguments: list[str], said: str) -> None:
    assert said in refused(*arguments)


def test_nothing_is_replaced_unasked_and_all_is_written_or_nothing(folder: Path) -> None:
    (folder / "evaluate.py").write_text("mine\n")
    assert "evaluate.py is there already. Nothing was written. --force" in refused("--kind", "python")
    assert written("--kind", "function").trials == 8
    assert "axsched.yaml is there already" in refused()
    before = (folder / "axsched.yaml").read_text()
    (folder / "axsched.schema.json").mkdir()
    assert "cannot be written" in refused("--kind", "python", "--schema", "--trials", "3", "--force")
    assert (folder / "axsched.yaml").read_text() == before
    assert (folder / "evaluate.py").read_text() == "mine\n"
    assert written("--kind", "python", "--trials", "3", "--force").trials == 3


# ---------------------------------------------------------------- questions


def test_on_a_terminal_it_asks_and_says_what_is_wrong_with_an_answer(folder: Path) -> None:
    answers = ["7", "shell", "", "bad name=bool", "n=int:1:8", "", "lambda", "accuracy", "max", "none", "6"]
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
        os.execve(sys.executable, [sys.executable, "-m", "axsched_hpc", "init"], environment)
    said = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        said += piece
        # A question ends with a colon and a blank, and nothing after it.
        if answers and re.search(rb"(\]|\n  \d): $", said):
            os.write(terminal, f"{answers.pop(0)}\n".encode())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said.decode()
    os.close(terminal)
    assert answers == []
    text = said.decode().replace("\r", "")
    for line in (
        "'7' is none of them",
        "'bad name' is no name",
        "'lambda' means something else",
        "'none' is no",
    ):
        assert f"\n  {line}" in text
    project = load(folder / "axsched.yaml")
    assert project.parameters[0].name == "n"
    assert (project.goals[0].metric, project.goals[0].minimize, project.trials) == ("accuracy", False, 6)


# ---------------------------------------------------------------- Slurm


def test_partitions_are_read_from_one_answer_of_sinfo() -> None:
    answer = "short|up|1:00|4|8|64000\nmain*|up|1-00:00:00|4|8+|64000+\nold|drain|infinite|1|1|1\n"
    answer += "big|up|infinite|2|64|512000\nbig|up|infinite|3|128|1024000\nnonsense\n"
    found = partitions.parse(answer)
    assert [(each.name, each.limit, each.nodes) for each in found] == [
        ("main", 86_400, 4),
        ("short", 60, 4),
        ("big", None, 5),
    ]


def test_without_slurm_the_file_is_written_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    project = written("--runner", "slurm", "--partition", "gpu,big", "--memory", "500M", "--cpus", "2")
    assert project.where.arguments == {
        "partition": "gpu,big",
        "time_limit": "00:10:00",
        "memory": "500M",
        "cpus_per_task": 2,
        "max_parallel": 4,
    }


@pytest.mark.slurm
def test_a_partition_that_slurm_does_not_have_is_refused(folder: Path, acct_cluster: Cluster) -> None:
    assert "There is no partition 'mian'. sinfo lists main, " in refused(
        "--runner", "slurm", "--partition", "mian"
    )
    # A trial's walltime fits into the partition.
    project = written("--runner", "slurm", "--partition", "short")
    assert project.where.arguments["time_limit"] == "00:01:00"
