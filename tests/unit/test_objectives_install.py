"""Objectives on disk: by content, whole, and only this user's."""

from __future__ import annotations

import functools
import os
import stat
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.errors import ObjectiveError
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.objectives.install import changes, install, load, load_function, planned
from axsched_hpc.objectives.kinds import ContainerObjective, FunctionObjective, what
from axsched_hpc.objectives.spec import script_objective


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.at(tmp_path / "out")


def everything(directory: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(directory)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_script_with_what_belongs_beside_it(tmp_path: Path, layout: Layout) -> None:
    (tmp_path / "run.sh").write_text("true\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "inputs/deep").mkdir(parents=True)
    (tmp_path / "inputs/deep/deck.in").write_text("a\n")
    objective = script_objective(tmp_path / "run.sh", {"copy": [tmp_path / "inputs"]})
    name = install(layout, objective)
    assert len(name) == 12
    found = load(layout, name)
    assert found.objective == objective
    assert (found.files / "inputs/deep/deck.in").read_text() == "a\n"
    assert stat.S_IMODE((found.files / "run.sh").stat().st_mode) == 0o700
    assert stat.S_IMODE((found.files / "inputs/deep/deck.in").stat().st_mode) == 0o600
    assert stat.S_IMODE(found.files.parent.stat().st_mode) == 0o700
    assert os.listdir(layout.objective) == [name]  # noqa: PTH208 - nothing temporary is left


def test_the_same_content_is_installed_once(tmp_path: Path, layout: Layout) -> None:
    script = tmp_path / "run.sh"
    script.write_text("true\n")
    first = install(layout, script_objective(script))
    before = everything(layout.objective)
    assert install(layout, script_objective(script)) == first
    assert everything(layout.objective) == before
    script.write_text("false\n")
    second = install(layout, script_objective(script))
    assert second != first
    assert (load(layout, first).files / "run.sh").read_text() == "true\n"
    assert (load(layout, second).files / "run.sh").read_text() == "false\n"


def test_a_container(layout: Layout) -> None:
    objective = ContainerObjective("solver:1", ("solve",))
    assert load(layout, install(layout, objective)).objective == objective


def test_a_file_that_cannot_be_copied(tmp_path: Path, layout: Layout) -> None:
    (tmp_path / "run.sh").write_text("true\n")
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs/gone").symlink_to("nowhere")
    objective = script_objective(tmp_path / "run.sh", {"copy": [tmp_path / "inputs"]})
    with pytest.raises(
        ObjectiveError, match="inputs cannot be copied into the experiment directory: No such file"
    ):
        install(layout, objective)
    assert list(layout.objective.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: (d / "files/run.sh").write_text("x"), "run.sh is missing, new or changed"),
        (lambda d: (d / "files/run.sh").unlink(), "run.sh is missing, new or changed"),
        (lambda d: (d / "files/extra").write_text(""), "extra is missing, new or changed"),
        (lambda d: (d / "objective.json").unlink(), "objective.json"),
        (lambda d: (d / "objective.json").write_text("{"), "is not JSON"),
        (lambda d: (d / "objective.json").write_text(f'{{"format": {FORMAT + 1}}}'), "later version"),
    ],
)
def test_damage_is_seen(tmp_path: Path, layout: Layout, damage: Any, words: str) -> None:
    (tmp_path / "run.sh").write_text("true\n")
    name = install(layout, script_objective(tmp_path / "run.sh"))
    damage(layout.objective / name)
    with pytest.raises(ObjectiveError) as caught:
        load(layout, name)
    assert words in str(caught.value)
    assert str(layout.objective / name) in str(caught.value)
    with pytest.raises(ObjectiveError):
        install(layout, script_objective(tmp_path / "run.sh"))


# ---------------------------------------------------------------- functions


def in_another_process(layout: Layout, name: str, directory: Path) -> str:
    """What the function returns in a process that knows nothing of this one."""
    code = (
        "import sys; from axsched_hpc.io.layout import Layout;"
        "from axsched_hpc.objectives.install import load, load_function;"
        "print(load_function(load(Layout.at(sys.argv[1]), sys.argv[2]))({'x': 3}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", code, str(layout.root), name]
    result = subprocess.run(
        command, cwd=directory, env=environment, check=True, capture_output=True, text=True
    )
    return result.stdout.strip()


OFFSET = 10


def shifted(parameters: dict[str, Any], scale: int = 1) -> dict[str, Any]:
    return {"loss": scale * parameters["x"] + OFFSET}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (shifted, "{'loss': 13}"),
        (lambda p: {"loss": p["x"]}, "{'loss': 3}"),
        (functools.partial(shifted, scale=2), "{'loss': 16}"),
    ],
)
def test_functions_go_by_value(tmp_path: Path, layout: Layout, function: Any, expected: str) -> None:
    name = install(layout, function)
    assert in_another_process(layout, name, tmp_path) == expected
    objective = load(layout, name).objective
    assert isinstance(objective, FunctionObjective)
    if not isinstance(function, functools.partial):
        assert objective.what == f"{__name__}.{function.__qualname__}"


def test_a_script_of_the_user_with_a_sibling_module(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "helpers.py").write_text("FACTOR = 5\n")
    (project / "mine.py").write_text(
        "def f(p):\n    import helpers\n    return {'y': p['x'] * helpers.FACTOR}\n"
    )
    (project / "main.py").write_text(
        textwrap.dedent("""
        import sys, helpers, mine
        from axsched_hpc.io.layout import Layout
        from axsched_hpc.objectives.install import install

        def objective(p):
            return {"y": p["x"] * helpers.FACTOR if p["x"] not in {"a", "b", "c"} else 0}

        layout = Layout.at(sys.argv[1])
        print(install(layout, objective), install(layout, mine.f))
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, str(project / "main.py"), str(tmp_path / "out")]
    runs = [
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    # Each process pickles for itself; two pickles of one function need not be equal byte for byte.
    layout = Layout.at(tmp_path / "out")
    for one, other in zip(runs[0].split(), runs[1].split(), strict=True):
        assert changes(layout, one, load(layout, other)) == []
    # What main.py and mine.py say later does not matter: their functions are stored by value.
    (project / "main.py").unlink()
    (project / "mine.py").unlink()
    for name in {*runs[0].split(), *runs[1].split()}:
        assert in_another_process(layout, name, tmp_path) == "{'y': 15}"


def test_what_cannot_be_pickled_is_named(layout: Layout) -> None:
    guard = threading.Lock()

    def objective(parameters: dict[str, Any]) -> dict[str, Any]:
        with guard:
            return {"x": 1}

    with pytest.raises(ObjectiveError) as caught:
        install(layout, objective)
    message = str(caught.value)
    assert (
        "objective cannot be sent to a job: it uses 'guard', a _thread.lock, which cannot be pickled."
        in message
    )
    assert "Make such an object inside the function instead" in message


def test_what_cannot_be_called(layout: Layout) -> None:
    with pytest.raises(ObjectiveError, match=r"The objective is 5 \(int\), which cannot be called"):
        install(layout, 5)  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_pickle_of_another_user_is_refused(layout: Layout) -> None:
    name = install(layout, shifted)
    os.chown(layout.objective / name / "files/function.pkl", 65534, 65534)
    with pytest.raises(ObjectiveError, match="belongs to user 65534, not to the one who runs this job"):
        load(layout, name)


def test_the_module_search_path_is_the_drivers(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/driver/first", *sys.path])
    installed = load(layout, install(layout, shifted))
    monkeypatch.setattr(sys, "path", ["/worker/only", *sys.path[1:]])
    assert load_function(installed)({"x": 1}) == {"loss": 11}
    assert sys.path[0] == "/driver/first"
    assert sys.path[-1] == "/worker/only"


def test_what_changes_what_an_objective_computes_is_told(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path / "out")
    for name in ("run.sh", "deck.j2", "data.csv"):
        (tmp_path / name).write_text("#!/bin/sh\n")
    options = {
        "args": ["a"],
        "environment": {"TOKEN": "hush", "N": "1"},
        "templates": {str(tmp_path / "deck.j2"): "in/deck"},
        "copy": [str(tmp_path / "data.csv")],
    }
    name = install(layout, script_objective(tmp_path / "run.sh", options))

    def told(**others: Any) -> list[str]:
        return changes(layout, name, planned(script_objective(tmp_path / "run.sh", {**options, **others})))

    before = everything(layout.objective)
    assert told(timeout=5.0, output_limit=1, checkpointable=True) == []
    # Values of variables may be secrets.
    assert told(environment={"TOKEN": "other", "N": "1", "M": "2"}) == ["environment: M, TOKEN"]
    assert told(args=["a", "b"], copy=[]) == ["data.csv is gone", "args: [a] before, [a, b] now"]
    assert everything(layout.objective) == before
    (tmp_path / "deck.j2").write_text("x")
    assert told() == ["the template of in/deck has another content"]
    container = ContainerObjective("image", ("run",))
    assert changes(layout, name, planned(container)) == [
        f"script {tmp_path / 'run.sh'} before, container image now"
    ]
    name = install(layout, container)
    other = replace(container, image="new", engine="podman", gpus="nvidia")
    assert changes(layout, name, planned(other)) == [
        "container image before, container new now",
        "gpus: none before, nvidia now",
    ]
    name = install(layout, lambda p: {"y": p["x"]})
    same = planned(lambda p: {"y": p["x"]})
    assert changes(layout, name, same) == []
    twice = planned(lambda p: {"y": 2 * p["x"]})
    assert changes(layout, name, twice) == [f"the code of {what(twice.objective)}"]
