"""The tables, help texts and diagrams of the documentation equal the code's."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import axsched_hpc
from axsched_hpc.cli import cli
from axsched_hpc.core import machine
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.core.events import AttemptFailed, Failure, TrialEvent
from axsched_hpc.core.states import FailureKind, RetryClass, TrialState, Verdict
from axsched_hpc.io.layout import Layout
from axsched_hpc.objectives import spec
from axsched_hpc.runners.driver_job import DriverJob
from axsched_hpc.runners.slurm_runner import SlurmRunner
from axsched_hpc.slurm.profile import load

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def _rows(page: str) -> list[list[str]]:
    """The rows of all tables of a page, cell by cell."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


# ---------------------------------------------------------------- the command line


def _command(name: str) -> click.Command:
    _, command, _ = cli.resolve_command(click.Context(cli), [name])
    assert command is not None
    return command


_INNER = [
    f"{group} {name}"
    for group in cli.commands
    if isinstance(command := _command(group), click.Group)
    for name in command.commands
]


@pytest.mark.parametrize("name", cli.commands)
def test_a_command_is_what_the_table_of_commands_says(name: str) -> None:
    command = _command(name)
    assert command.name == name
    assert command.short_help is None, "the table in cli.py is where `axsched --help` finds it"


@pytest.mark.parametrize("name", ["", *cli.commands, *_INNER])
def test_help_is_as_documented(name: str) -> None:
    page = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    shown = CliRunner().invoke(cli, [*name.split(), "--help"], prog_name="axsched", terminal_width=88).output
    command = " ".join(["axsched", *name.split(), "--help"])
    assert f"```text\n$ {command}\n{shown}```\n" in page


def test_every_command_has_its_section() -> None:
    page = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\w+)$", page, flags=re.MULTILINE) == sorted(cli.commands, reverse=True)
    assert isinstance(cli, click.Group)


# ---------------------------------------------------------------- options


def test_every_option_is_documented_with_its_default() -> None:
    rows = {row[0].strip("`"): row for row in _rows("reference/config.md") if row[0].startswith("`")}
    assert set(rows) == {field.name for field in fields(SchedulerConfig)}
    for name, row in rows.items():
        if name != "retries":
            assert getattr(SchedulerConfig(), name) == ast.literal_eval(row[2])
    retries = SchedulerConfig().retries
    text = f'{{"infrastructure": {retries.infrastructure}, "resource": {retries.resource}, '
    assert f'{text}"objective": {retries.objective}}}' in (DOCS / "reference/config.md").read_text()


def test_every_option_of_scripts_and_containers_is_documented() -> None:
    page = (DOCS / "reference/objectives.md").read_text(encoding="utf-8")
    for heading, checks in (("A script", spec.SCRIPT_OPTIONS), ("A container", spec.CONTAINER_OPTIONS)):
        section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        table = section.split("| option |")[1].split("\n\n")[0]
        assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == set(checks)


def test_every_option_of_the_driver_s_job_is_documented_with_its_default() -> None:
    rows = {row[0].strip("`"): row for row in _rows("driver-job.md") if row[0].startswith("`")}
    described = {name: row for name, row in rows.items() if len(row) == 4}
    assert {name: ast.literal_eval(row[2]) for name, row in described.items()} == vars(DriverJob())


def test_the_profile_in_the_documentation_is_taken(tmp_path: Path) -> None:
    page = (DOCS / "driver-job.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "site.yaml"
    path.write_text(block)
    assert SlurmRunner.from_profile(path, max_parallel=4).max_parallel == 4
    found = load(path)
    assert found is not None
    assert DriverJob.from_dict(found.driver).partition == "long"


def test_the_errors_and_names_of_the_interface_are_documented() -> None:
    api = (DOCS / "reference/api.md").read_text(encoding="utf-8")
    errors = (DOCS / "reference/errors.md").read_text(encoding="utf-8")
    for name in axsched_hpc.__all__:
        if name.endswith("Error"):
            assert f".. autoexception:: {name}\n" in errors
        elif name != "__version__":
            assert f"axsched_hpc.{name}\n" in api


def test_the_options_of_the_slurm_runner_in_the_quickstart_are_taken() -> None:
    page = (DOCS / "quickstart.md").read_text(encoding="utf-8")
    (block,) = re.findall(
        r"```python\n(from axsched_hpc import SlurmRunner\n\nrunner = .*?)```", page, re.DOTALL
    )
    space: dict[str, object] = {}
    exec(block, space)
    assert isinstance(space["runner"], SlurmRunner)
    assert space["runner"].max_parallel == 16


# ---------------------------------------------------------------- architecture


def _ends(state: TrialState, event: type[TrialEvent]) -> set[str]:
    """Where the code takes a trial from a state by an event, whatever the verdict."""
    attempts = () if state is TrialState.WAITING else (machine.Attempt(1, "token", 0, 1.0),)
    trial = machine.Trial(0, "0_0", {}, "ax", 0.0, state=state, attempts=attempts)
    number = 1
    common = {"time": 2.0, "trial": 0}
    own: dict[str, object] = {
        "attempt": number,
        "token": "token",
        "index": 0,
        "job": "1",
        "reason": "",
        "metrics": {"loss": (1.0, None)},
        "points": ((1, {"loss": (1.0, None)}),),
        "read": 20,
        "failure": Failure(FailureKind.EXIT_CODE, "it failed"),
    }
    names = {field.name for field in fields(event)} - {
        "time",
        "trial",
        "node",
        "started",
        "ended",
        "request",
        "cancelled",
    }
    ends = set()
    for verdict in Verdict if event is AttemptFailed else [Verdict.FAIL]:
        values = {**own, "verdict": verdict}
        after = machine.step(trial, event(**common, **{n: values[n] for n in names}))  # type: ignore[arg-type]
        ends.add(str(after.state))
    return ends


def test_the_table_of_transitions_is_the_code_s() -> None:
    rows = [row for row in _rows("architecture.md") if len(row) == 3 and row[0] in set(TrialState)]
    documented = {(row[0], row[1]): set(re.split(", | or ", row[2])) for row in rows}
    assert len(documented) == len(rows)
    real = {(str(state), event.__name__): _ends(state, event) for state, event in machine.TRANSITIONS}
    assert documented == real


def test_the_diagram_names_every_state_and_event() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    diagram = page.split("## The life of a trial\n")[1].split("\nThe states in brackets")[0]
    for state in TrialState:
        assert (f"({state})" if state.final else f"| {state} |") in diagram
    for _, event in machine.TRANSITIONS:
        assert event.__name__ in diagram


def test_the_failures_are_in_their_classes() -> None:
    rows = {row[0]: row[1].split(", ") for row in _rows("architecture.md") if row[0] in set(RetryClass)}
    real: dict[str, list[str]] = {str(c): [] for c in RetryClass}
    for kind in FailureKind:
        real[str(kind.retry_class)].append(str(kind))
    assert rows == real


def test_the_layers_are_those_that_import_linter_holds() -> None:
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    block = text.split("\nlayers =\n")[1].split("\n\n")[0]
    layers = [name for line in block.splitlines() for name in re.findall(r"\w+", line)]
    documented = [row[0].strip("`") for row in _rows("architecture.md") if row[0].strip("`") in layers]
    there = [name for name in layers if list((ROOT / "axsched_hpc").glob(f"{name}*"))]
    assert documented == there


# ---------------------------------------------------------------- files


def test_every_file_of_a_run_is_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ax import Client, RangeParameterConfig

    from axsched_hpc import AxScheduler, LocalRunner

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    client = Client(random_seed=1)
    client.configure_experiment(
        name="files", parameters=[RangeParameterConfig(name="x", parameter_type="float", bounds=(0, 1))]
    )
    client.configure_optimization(objective="y")
    script = tmp_path / "f.sh"
    script.write_text('. "$AXSCHED_PARAMETERS_FILE"; echo here; echo "y $x" >"$AXSCHED_METRICS_FILE"\n')
    config = {"job_output_dir": tmp_path / "run", "cleanup_after_completion": False}
    with AxScheduler(client, LocalRunner(1), config) as scheduler:
        scheduler.set_script_objective(script, {"parameters_format": "env"})
        scheduler.run_optimization(max_trials=1)
    patterns = [_pattern(path) for row in _rows("reference/files.md") for path in _paths(row[0])]
    root = Layout.at(tmp_path / "run").root
    found = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    assert len(found) > 10
    for name in found:
        if not Path(name).name.startswith("."):
            assert any(pattern.fullmatch(name) for pattern in patterns), name


def _paths(cell: str) -> list[str]:
    first, *others = re.findall(r"`(.+?)`", cell) or [""]
    return [first, *(str(Path(first).with_name(other)) for other in others)]


def _pattern(path: str) -> re.Pattern[str]:
    text = re.escape(path).replace(r"\*", "[a-z]+")
    for word, digits in (("NNNNN", r"\d{5}"), ("TTTTT", r"\d{5}"), ("DIGEST", "[0-9a-f]{12}")):
        text = text.replace(word, digits)
    text = re.sub(r"\bTOKEN\b", r"[A-Za-z0-9-]+", text)
    text = re.sub(r"\\-[AR]\b", r"\\-\\d+", text)
    return re.compile(text + (".*" if path.endswith("/") else ""))
