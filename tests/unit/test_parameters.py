"""Parameter files: what goes in comes out, in every format."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axsched_hpc.core.errors import ConfigError, ParameterError
from axsched_hpc.io import parameters

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
TRICKY = st.sampled_from(
    ["", "-n", "--x=1", "it's", '"', "$HOME", "`id`", "$(id)", "a\nb\n", "\\", "\\n", "#c", "~", "null"]
)
VALUE = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), TEXT, TRICKY
)
NAME = TEXT.filter(bool)
SHELL_NAME = st.from_regex(r"v_[A-Za-z0-9_]{0,8}", fullmatch=True)


def same(found: Any, expected: Any) -> bool:
    return {name: (type(value), value) for name, value in found.items()} == {
        name: (type(value), value) for name, value in expected.items()
    }


@given(st.dictionaries(NAME, VALUE | st.none()))
def test_json(values: dict[str, Any]) -> None:
    assert same(json.loads(parameters.render(values)), values)


@settings(max_examples=500)
@given(st.dictionaries(NAME, VALUE | st.none()))
def test_yaml(values: dict[str, Any]) -> None:
    assert same(yaml.safe_load(parameters.render(values, "yaml")), values)


@given(st.dictionaries(NAME, VALUE))
def test_toml(values: dict[str, Any]) -> None:
    assert same(tomllib.loads(parameters.render(values, "toml")), values)


@pytest.mark.parametrize("shell", [name for name in ("dash", "bash", "busybox") if shutil.which(name)])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(SHELL_NAME, VALUE | st.none(), max_size=5))
def test_env_is_read_by_a_real_shell(shell: str, tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "parameters.env"
    parameters.write(path, values, "env")
    names = list(values)
    show = "".join(f' "${name}"' for name in names)
    # A value that were executed, or split, would change what is printed.
    argv = [
        shell,
        *(["sh"] if shell == "busybox" else []),
        "-c",
        f". '{path}'; printf '%s\\0'{show or ' none'}",
    ]
    result = subprocess.run(argv, capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    expected = [parameters.as_text(values[name]) for name in names] or ["none"]
    assert result.stdout.decode().split("\0")[:-1] == expected
    assert result.stderr == b""


def test_variables() -> None:
    values = {"x": 1.5, "yes": True, "no": None, "layers.0": 3, "größe": "ü $x\n", "-e": ""}
    assert parameters.variables(values) == {
        "AXSCHED_PARAMETER_x": "1.5",
        "AXSCHED_PARAMETER_yes": "true",
        "AXSCHED_PARAMETER_no": "",
        "AXSCHED_PARAMETER_layers_0": "3",
        "AXSCHED_PARAMETER_gr____e": "ü $x\n",
        "AXSCHED_PARAMETER__e": "",
    }


def test_two_parameters_of_the_same_variable_have_none() -> None:
    assert parameters.variables({"a.b": 1, "a_b": 2, "c": 3}) == {"AXSCHED_PARAMETER_c": "3"}


def test_what_is_too_large_for_the_environment_is_left_to_the_file() -> None:
    room = parameters.VARIABLES_SIZE - len("AXSCHED_PARAMETER_x=\0")
    variables = parameters.variables({"x": "ü" * (room // 2)})
    assert subprocess.run(["/bin/true"], env=variables, check=True).returncode == 0
    assert len(variables) == 1
    assert parameters.variables({"x": "ü" * (room // 2 + 1)}) == {}


def test_env_text() -> None:
    values = {"a": 1, "b": True, "c": None, "d": "x y", "e": 'it\'s \\ "q"', "f": "$x", "g": "it's $x"}
    assert parameters.render(values, "env").splitlines() == [
        "a=1",
        "b=true",
        "c=",
        'd="x y"',
        'e="it\'s \\\\ \\"q\\""',
        "f='$x'",
        "g='it'\"'\"'s $x'",
    ]


@pytest.mark.parametrize("name", ["a-b", "1a", "a b", "ü", "a;id"])
def test_env_refuses_what_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot stand in a file of parameters_format 'env'"):
        parameters.render({name: 1}, "env")


def test_toml_refuses_none() -> None:
    with pytest.raises(ConfigError, match="Parameter 'a' is None, which TOML cannot hold"):
        parameters.render({"a": None}, "toml")


@pytest.mark.parametrize("form", parameters.FORMATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1], {"a": 1}, b"x", "nul\0", "\ud800"])
def test_what_no_format_can_hold(form: str, value: Any) -> None:
    with pytest.raises(ParameterError, match="Parameter 'a'"):
        parameters.render({"a": value}, form)


def test_unknown_format() -> None:
    with pytest.raises(ConfigError, match="parameters_format is 'ini', but takes json, yaml, env, toml"):
        parameters.render({}, "ini")


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "parameters.json"
    parameters.write(path, {"a": 1, "b": None})
    assert parameters.read(path) == {"a": 1, "b": None}
    for text, words in (
        ("[]", "holds no JSON object"),
        ("{", "is not JSON"),
        ('{"a": [1]}', "Parameter 'a'"),
    ):
        path.write_text(text)
        with pytest.raises(ParameterError, match=words):
            parameters.read(path)
