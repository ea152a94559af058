"""Every verb prints JSON where a program asks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from axsched_hpc.cli import COMMANDS, _Later, cli
from axsched_hpc.io import atomic
from axsched_hpc.io.layout import Layout
from tests.cli.conftest import Story


def told(*arguments: object, code: int = 0) -> Any:
    """The object that a command prints, which prints nothing else."""
    result = CliRunner().invoke(cli, [str(each) for each in (*arguments, "--json")])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def ended(root: Path) -> Path:
    """A run of one trial that has ended."""
    story = Story().opened().added(0).submitted(0).started(0).succeeded(0, 4.0).closed()
    story.write(root)
    files = Layout.at(root).attempt(0, 1)
    atomic.make_directory(files.root)
    files.stdout.write_text("step 1\nstep 2\n")
    return root


def commands() -> list[tuple[str, click.Command]]:
    found = []
    for name in COMMANDS:
        command = cli.commands[name]
        assert isinstance(command, _Later)
        loaded = command.load()
        inner = loaded.commands if isinstance(loaded, click.Group) else {"": loaded}
        found += [(f"{name} {inside}".strip(), each) for inside, each in inner.items()]
    return [(name, command) for name, command in found if name != "help"]


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_every_command_takes_json(name: str, command: click.Command) -> None:
    assert any("--json" in parameter.opts for parameter in command.params), name


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "help"])
def test_every_help_has_examples(name: str) -> None:
    text = CliRunner().invoke(cli, [name, "--help"]).output
    assert f"Examples:\n  axsched {name}" in text.replace("\n    ", "\n  ").replace("  Examples", "Examples")


def test_init(tmp_path: Path) -> None:
    found = told("init", tmp_path / "new")
    assert found["files"] == [str(tmp_path / "new" / name) for name in ("objective.py", "axsched.yaml")]
    assert all(Path(each).is_file() for each in found["files"]) and found["advice"] is None
    assert found["next"] == [f"cd {tmp_path}/new", "axsched try", "axsched run", "axsched best"]


def test_export(tmp_path: Path) -> None:
    root = ended(tmp_path / "run")
    rows = told("export", root)
    assert [row["trial"] for row in rows] == [0]
    written = told("export", root, "-o", tmp_path / "trials.csv")
    assert (written["written_as"], written["rows"]) == ("csv", 1)
    assert Path(written["file"]).read_text().startswith("trial,")
    refused = CliRunner().invoke(cli, ["export", str(root), "--json", "--format", "csv"])
    assert refused.exit_code == 2 and "give one of them" in refused.output


def test_logs(tmp_path: Path) -> None:
    found = told("logs", 0, ended(tmp_path / "run"))
    assert found == {"attempt": 1, "stream": "stdout", "text": "step 1\nstep 2\n"}


def test_watch(tmp_path: Path) -> None:
    found = told("watch", "--until-done", ended(tmp_path / "run"))
    assert "1 trial (1 completed)" in found["text"] and found["time"].endswith("Z")


def test_templates(tmp_path: Path) -> None:
    names = [each["name"] for each in told("templates", "list")["templates"]]
    assert {"driver.sbatch", "gpu"} <= {*names}
    assert told("templates", "show", "driver.sbatch")["text"].startswith("#!")
    made = told("templates", "new", "gpu", tmp_path / "mine.yaml")
    assert Path(made["file"]).is_file() and "axsched submit --profile" in made["next"]


def test_repair(tmp_path: Path) -> None:
    root = ended(tmp_path / "run")
    assert told("repair", "--yes", root)["error"] is None
    (segment,) = Layout.at(root).journal.iterdir()
    lines = segment.read_text().splitlines(keepends=True)
    segment.write_text("".join([*lines[:3], "rubbish\n", *lines[4:]]))
    refused = CliRunner().invoke(cli, ["repair", str(root), "--json"])
    assert refused.exit_code == 2 and "With --json nothing is asked" in refused.output
    seen = told("repair", "--dry-run", root)
    assert seen["dropped"][0]["line"] == 4 and seen["old_journal"] is None
    mended = told("repair", "--yes", root)
    assert mended["dropped"] == seen["dropped"] and Path(mended["old_journal"]).is_dir()
    assert told("repair", "--yes", root)["error"] is None


def test_unlock(tmp_path: Path) -> None:
    assert told("unlock", "--yes", ended(tmp_path / "run"))["taken_from"] is None


def test_submit(tmp_path: Path) -> None:
    script = tmp_path / "tune.py"
    script.write_text("print('hello')\n")
    result = CliRunner().invoke(cli, ["submit", "--dry-run", "--json", str(script), "--trials", "9"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["job"] is None and found["command"][-3:] == [str(script), "--trials", "9"]
    assert found["script"].startswith("#!") and found["again"] == "requeue"
