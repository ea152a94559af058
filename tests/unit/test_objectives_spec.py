"""What a user may ask for, and the words in which the rest is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.errors import ConfigError, ObjectiveError
from axsched_hpc.objectives import kinds, placeholders
from axsched_hpc.objectives.kinds import ContainerObjective, FunctionObjective, ScriptObjective
from axsched_hpc.objectives.spec import check_placeholders, container_objective, script_objective


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text("pass\n")
    return path


def test_script_defaults(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(script.parent)
    assert script_objective("train.py") == ScriptObjective("train.py", str(script))
    assert script_objective("train.py", {"timeout": None}) == script_objective(script)


def test_script_options(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(script.parent)
    (script.parent / "deck.in").write_text("")
    found = script_objective(
        script,
        {
            "interpreter": "python3 -u",
            "args": ["--n", 3, "{x}"],
            "environment": {"OMP_NUM_THREADS": 4},
            "timeout": 60,
            "working_directory": "work",
            "copy": ["deck.in"],
            "parameters_format": "toml",
        },
    )
    assert found == ScriptObjective(
        script="train.py",
        source=str(script),
        interpreter=("python3", "-u"),
        args=("--n", "3", "{x}"),
        environment=(("OMP_NUM_THREADS", "4"),),
        timeout=60.0,
        working_directory=str(script.parent / "work"),
        copy=(str(script.parent / "deck.in"),),
        parameters_format="toml",
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeot": 5}, "Unknown key 'timeot' in script_options. Did you mean 'timeout'?"),
        ({5: 5}, "Unknown key 5 in script_options."),
        ({"checkpointable": 1}, "script_options['checkpointable'] is 1 (int), but takes True or False."),
        (
            {"checkpointable": True, "warning": 0},
            "script_options['warning'] is 0 (int), but takes a whole number of seconds from 1 to 65535.",
        ),
        ({"checkpointable": True, "warning": 1.5}, "script_options['warning'] is 1.5 (float)"),
        ({"checkpointable": True, "warning": True}, "script_options['warning'] is True (bool)"),
        (
            {"warning": 60},
            "script_options['warning'] is set, but the objective saves no checkpoints. Set "
            "script_options['checkpointable'] to True as well, or leave it out.",
        ),
        ({"checkpointable": False, "warning_signal": "TERM"}, "script_options['warning_signal'] is set, but"),
        (
            {"checkpointable": True, "warning_signal": "KILL"},
            "script_options['warning_signal'] is 'KILL', but takes USR1, USR2, TERM, INT, HUP.",
        ),
        ({"timeout": 0}, "script_options['timeout'] is 0 (int), but takes a number of seconds above 0."),
        ({"timeout": True}, "script_options['timeout'] is True (bool)"),
        ({"timeout": float("nan")}, "script_options['timeout'] is nan (float)"),
        (
            {"args": "--lr {lr}"},
            "script_options['args'] is '--lr {lr}' (str), but takes a list with one element per",
        ),
        (
            {"args": ["a", None]},
            "script_options['args'][1] is None (NoneType), but takes a text or a number.",
        ),
        ({"args": ["a\0"]}, "but takes a text without null characters."),
        ({"interpreter": ""}, "script_options['interpreter'] is '' (str)"),
        ({"interpreter": "'"}, "cannot be split into words"),
        (
            {"environment": ["A=1"]},
            "script_options['environment'] is ['A=1'] (list), but takes a dict of variables.",
        ),
        ({"environment": {"A B": 1}}, "has the key 'A B', which is no name of an environment variable."),
        ({"environment": {"AXSCHED_TRIAL": 1}}, "the names AXSCHED_… are set by axsched-hpc"),
        ({"parameters_format": "jsn"}, "but takes json, yaml, env, toml. Did you mean 'json'?"),
        ({"copy": "deck.in"}, "script_options['copy'] is 'deck.in' (str), but takes a list of files"),
        ({"copy": ["/etc/passwd", "/usr/bin/../../etc/passwd"]}, "has two files of the name 'passwd'"),
        ([], "script_options takes a dict of options, not list."),
    ],
)
def test_wrong_script_options(script: Path, options: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        script_objective(script, options)
    assert words in str(caught.value)


def test_scripts_that_cannot_run(tmp_path: Path, script: Path) -> None:
    solver = tmp_path / "solver"
    solver.write_text("#!/bin/sh\n")
    for path, options, words in (
        (tmp_path / "gone.py", {}, f"The script {tmp_path}/gone.py does not exist."),
        (tmp_path, {}, f"The script {tmp_path} is not a file."),
        (solver, {}, f"The script {solver} is neither executable nor a file of a known kind"),
        (
            script,
            {"copy": ["/no/deck.in"]},
            "script_options['copy'] names /no/deck.in, which does not exist.",
        ),
    ):
        with pytest.raises(ObjectiveError) as caught:
            script_objective(path, options)
        assert words in str(caught.value)
    assert script_objective(solver, {"interpreter": ["sh"]}).interpreter == ("sh",)
    solver.chmod(0o755)
    assert script_objective(solver).interpreter is None


def test_container_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = container_objective(
        "solver:1",
        "solve --in '{params_file}' --out={output_file}",
        {
            "engine": "podman",
            "volumes": {"data": "/data:ro", tmp_path: "/scratch"},
            "env_vars": {"A": 1},
            "gpus": True,
            "workdir": "/data",
            "extra_args": ["--shm-size=1g"],
            "timeout": 9,
        },
    )
    assert found == ContainerObjective(
        image="solver:1",
        command=("solve", "--in", "{params_file}", "--out={output_file}"),
        engine="podman",
        volumes=((str(tmp_path / "data"), "/data", "ro"), (str(tmp_path), "/scratch", "rw")),
        env_vars=(("A", "1"),),
        gpus="nvidia",
        workdir="/data",
        extra_args=("--shm-size=1g",),
        timeout=9.0,
    )
    assert container_objective("solver:1", ["a b", "c"], {"gpus": False}).command == ("a b", "c")


def test_when_a_checkpointable_objective_is_told(script: Path) -> None:
    assert script_objective(script, {"checkpointable": False}) == script_objective(script)
    assert script_objective(script).warning is None
    told = script_objective(script, {"checkpointable": True})
    assert (told.warning, told.warning_signal) == (120, "USR1")
    options = {"checkpointable": True, "warning": 600, "warning_signal": "SIGTERM"}
    for found in (script_objective(script, options), container_objective("solver:1", "true", options)):
        assert (found.warning, found.warning_signal) == (600, "TERM")


def test_an_objective_without_checkpoints_is_what_earlier_versions_wrote(script: Path) -> None:
    plain = kinds.encode(script_objective(script))["spec"]
    assert not any(name.startswith("warning") for name in plain)
    assert kinds.encode(script_objective(script, {"checkpointable": True}))["spec"]["warning"] == 120


def test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rootfs").mkdir()
    assert container_objective("./rootfs", "true").image == str(tmp_path / "rootfs")
    assert container_objective("rootfs", "true", {"engine": "charliecloud"}).image == str(tmp_path / "rootfs")
    for name in ("rootfs", "ubuntu:22.04", "docker://group/name:tag", "ghcr.io/group/name"):
        assert container_objective(name, "true").image == name
    for name in ("/no/such/image", "./image", "solver.sif"):
        with pytest.raises(ObjectiveError, match=r"does not exist\. Build it, or correct its path"):
            container_objective(name, "true")


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("true", {"engin": "podman"}, "Unknown key 'engin' in container_options. Did you mean 'engine'?"),
        ("true", {"engine": "dokcer"}, "Did you mean 'docker'?"),
        ("true", {"checkpointable": "yes"}, "container_options['checkpointable'] is 'yes' (str)"),
        ("true", {"warning": 5}, "Set container_options['checkpointable'] to True as well"),
        ("true", {"volumes": ["/a:/b"]}, "but takes a dict from host paths to container paths"),
        ("true", {"volumes": {"/a": "b"}}, "is 'b' (str), but takes an absolute path in the container"),
        ("true", {"volumes": {"/a": "/b:rx"}}, "with ':ro' or ':rw' after it"),
        (
            "true",
            {"volumes": {"/a:b": "/b"}, "engine": "charliecloud"},
            "'/a:b', but charliecloud takes a ':' in a path for a separator. Use a link without it, or name",
        ),
        (
            "true",
            {"network": "none", "engine": "charliecloud"},
            "charliecloud has the host's network and no other. Leave the option out, or name another engine.",
        ),
        ("true", {"user": "root", "engine": "docker"}, "root in a container of docker is the machine's root"),
        ("true", {"user": "image", "engine": "apptainer"}, "apptainer runs all images as the user who"),
        (
            "true",
            {"user": "image", "env_vars": {"A.B": "1"}, "engine": "singularity"},
            "container_options['user'] is 'image', but singularity runs all images",
        ),
        (
            "true",
            {"env_vars": {"A.B": "1"}, "engine": "singularity"},
            "has the name 'A.B', but singularity reads variables as a shell does",
        ),
        ("true", {"env_vars": {"HOME": "/x"}, "engine": "apptainer"}, "Give ['--home', '/path']"),
        (
            "true",
            {"volumes": {"/a": "/b:ro"}, "engine": "charliecloud"},
            "charliecloud mounts all volumes read-write",
        ),
        ("true", {"gpus": 2}, "container_options['gpus'] is 2 (int), but takes True or 'nvidia'"),
        ("true", {"workdir": "data"}, "but takes an absolute path in the container"),
        ("true", {"extra_args": "--net"}, "but takes a list with one element per argument"),
        ("", {}, "container_command is '' (str)"),
        ([], {}, "container_command is [] (list)"),
        ("a 'b", {}, 'container_command "a \'b" cannot be split into words (No closing quotation)'),
    ],
)
def test_wrong_container_options(command: Any, options: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        container_objective("solver:1", command, options)
    assert words in str(caught.value)


def test_an_image_that_looks_like_an_option() -> None:
    with pytest.raises(ConfigError, match="does not start with '-'"):
        container_objective("--privileged", "true")


@pytest.mark.parametrize(
    "objective",
    [
        FunctionObjective("function.pkl", "m.f", ("/a",)),
        ScriptObjective("a.py", "/a.py", interpreter=("sh",), environment=(("A", "1"),), timeout=3.0),
        ContainerObjective("i", ("c",), volumes=(("/a", "/b", "ro"),)),
    ],
)
def test_objectives_survive_json(objective: kinds.Objective) -> None:
    import json

    fields = json.loads(json.dumps(kinds.encode(objective)))
    assert kinds.decode(fields, source="x") == objective


@pytest.mark.parametrize(
    "change", [{"kind": "dance"}, {"spec": {"image": "i"}}, {"spec": {"colour": 1}}, {"spec": 1}]
)
def test_a_malformed_objective_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^objective\.json"):
        kinds.decode(kinds.encode(ContainerObjective("i", ("c",))) | change, source="objective.json")


# ---------------------------------------------------------------- placeholders


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("{x}", "1 {y}"),  # what a value holds is not expanded again
        ("--x={x},{y}", "--x=1 {y},2"),
        ("{{x}}", "{x}"),
        ('{"a": {x}}', '{"a": 1 {y}}'),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ("{layer.0-size}", "3"),
        ("{odd name}", "4"),
        ("{ x }", "{ x }"),
        ("{}", "{}"),
        ("${x}", "$1 {y}"),
        ("{{}}", "{{}}"),
    ],
)
def test_expansion(argument: str, expected: str) -> None:
    values = {"x": "1 {y}", "y": "2", "layer.0-size": "3", "odd name": "4"}
    assert placeholders.expand([argument], values) == [expected]
    objective = ScriptObjective("a", "/a", args=(argument,))
    check_placeholders(objective, list(values))


def test_unknown_placeholders_are_refused() -> None:
    objective = ScriptObjective("a", "/a", args=("--lr", "{learning_rat}"))
    with pytest.raises(ObjectiveError) as caught:
        check_placeholders(objective, ["learning_rate"])
    message = str(caught.value)
    assert "script_options['args'] has the unknown placeholder {learning_rat} in '{learning_rat}'" in message
    assert "Did you mean 'learning_rate'?" in message
    assert "Write {{learning_rat}} for the text {learning_rat} itself." in message
    with pytest.raises(
        ObjectiveError, match=r"container's command has the unknown placeholder \{parameters\}"
    ):
        check_placeholders(ContainerObjective("i", ("{parameters}",)), ["x"])


def test_a_parameter_of_the_same_name_is_refused_where_it_matters() -> None:
    check_placeholders(ScriptObjective("a", "/a", args=("{x}",)), ["trial", "x"])
    with pytest.raises(ObjectiveError, match=r"\{trial\}, which is the name of a parameter too"):
        check_placeholders(ScriptObjective("a", "/a", args=("{trial}",)), ["trial"])


def test_functions_have_no_placeholders() -> None:
    check_placeholders(FunctionObjective("p", "m.f"), [])
    check_placeholders(lambda p: p, [])
