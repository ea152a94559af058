"""Parameters as objectives get them: a file with one flat mapping from names to values, and variables."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from axsched_hpc.core import strict_json
from axsched_hpc.core.errors import ConfigError, ParameterError
from axsched_hpc.io import atomic

Value = int | float | bool | str | None
Parameters = Mapping[str, Value]

#: What the names of variables with parameters begin with.
VARIABLE = "AXSCHED_PARAMETER_"

#: Bytes of all variables with parameters together, names included; what is larger is left to the file. Linux
#: grants a process 128 KiB of variables and arguments in any case, and takes no single one longer than that.
VARIABLES_SIZE = 1 << 16

_NO_VARIABLE = re.compile(rb"[^A-Za-z0-9_]")
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHELL_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_TOML_BARE = re.compile(r"[A-Za-z0-9_-]+")


def read(path: Path) -> dict[str, Value]:
    """Read a trial's parameters from JSON.

    Raises
    ------
    OSError
        The file cannot be read.
    ParameterError
        It holds something else than a flat object.
    """
    try:
        raw = strict_json.loads(atomic.read_text(path))
    except ValueError as error:
        raise ParameterError(f"{path} is not JSON ({error}).") from None
    if not isinstance(raw, dict):
        raise ParameterError(f"{path} holds no JSON object of parameters.")
    try:
        return {name: _checked(name, value) for name, value in raw.items()}
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from None


def write(path: Path, parameters: Parameters, form: str = "json") -> None:
    """Write a parameter file.

    Raises
    ------
    ParameterError
        A value is neither a finite number, a boolean, a text nor None.
    ConfigError
        The format cannot hold a name or value, or is not known.
    """
    atomic.write(path, render(parameters, form))


def render(parameters: Parameters, form: str = "json") -> str:
    """The text of a parameter file; raises as :func:`write` does."""
    renderer = _RENDERERS.get(form)
    if renderer is None:
        raise ConfigError(f"parameters_format is {form!r}, but takes {', '.join(FORMATS)}.")
    return renderer({name: _checked(name, value) for name, value in parameters.items()})


def as_text(value: Value) -> str:
    """A value as an argument or in an environment file: booleans as in JSON, None as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def variables(parameters: Parameters) -> dict[str, str]:
    """Parameters as environment variables: a name's bytes that are no letters, digits or ``_`` become ``_``.

    Parameters of which two would have the same variable get none, and where all together are larger than
    :data:`VARIABLES_SIZE` there is none at all.
    """
    texts: dict[str, list[str]] = {}
    for name, value in parameters.items():
        variable = VARIABLE + _NO_VARIABLE.sub(b"_", name.encode()).decode()
        # UTF-8 as in the file, in whatever encoding this process has for its environment.
        texts.setdefault(variable, []).append(os.fsdecode(as_text(value).encode()))
    found = {variable: same[0] for variable, same in texts.items() if len(same) == 1}
    size = sum(len(os.fsencode(f"{variable}={text}")) + 1 for variable, text in found.items())
    return found if size <= VARIABLES_SIZE else {}


def _checked(name: str, value: object) -> Value:
    if not isinstance(name, str) or not name:
        raise ParameterError(f"The parameter name {name!r} is not a non-empty string.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ParameterError(f"Parameter {name!r} is {value}, not a finite number.")
    if value is not None and not isinstance(value, int | float | str):
        raise ParameterError(
            f"Parameter {name!r} is {value!r:.80} ({type(value).__name__}), which a parameter file cannot "
            "hold; it takes numbers, booleans, texts and None."
        )
    for text in (name, value):
        if isinstance(text, str) and ("\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text)):
            raise ParameterError(f"Parameter {name!r} holds a character that no file or argument can hold.")
    return value


def _json(parameters: Parameters) -> str:
    return json.dumps(parameters, indent=1) + "\n"


def _yaml(parameters: Parameters) -> str:
    import yaml  # a job with another format does not pay for it

    # PyYAML loses some line separators when it writes characters beyond ASCII, or folds a line, as they are.
    return str(yaml.safe_dump(dict(parameters), sort_keys=False, allow_unicode=False, width=float("inf")))


def _env(parameters: Parameters) -> str:
    for name in parameters:
        if not _SHELL_NAME.fullmatch(name):
            raise ConfigError(
                f"Parameter {name!r} cannot stand in a file of parameters_format 'env': the name has to be "
                "made of letters, digits and underscores. Rename it, or use parameters_format 'json'."
            )
    return "".join(f"{name}={_shell_word(as_text(value))}\n" for name, value in parameters.items())


def _shell_word(text: str) -> str:
    # Every form is one word to sh. Where there is a choice, it is the one that readers of .env files, which
    # know neither joined quotes nor a backslash before '$', take in the same way.
    if not text or _SHELL_PLAIN.fullmatch(text):
        return text
    if "$" not in text and "`" not in text:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _toml(parameters: Parameters) -> str:
    return "".join(f"{_toml_key(name)} = {_toml_value(name, value)}\n" for name, value in parameters.items())


def _toml_key(name: str) -> str:
    return name if _TOML_BARE.fullmatch(name) else _toml_string(name)


def _toml_value(name: str, value: Value) -> str:
    if value is None:
        raise ConfigError(
            f"Parameter {name!r} is None, which TOML cannot hold. Use another parameters_format, such as "
            "'json'."
        )
    return _toml_string(value) if isinstance(value, str) else as_text(value)


def _toml_string(text: str) -> str:
    # A JSON string is a basic string of TOML, but for the delete character and surrogate pairs.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_RENDERERS: dict[str, Callable[[Parameters], str]] = {
    "json": _json,
    "yaml": _yaml,
    "env": _env,
    "toml": _toml,
}

#: The formats that a script may ask for.
FORMATS = tuple(_RENDERERS)
