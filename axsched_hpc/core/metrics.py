"""What an objective may report, and the one place where that is checked.

A metric's value is a number or a pair ``(mean, sem)``; ``sem`` is the standard error of the mean, in the
metric's unit, ``None`` where it is not known. Everything else is refused, since Ax accepts NaN and missing
metrics in silence and spoils its model with them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from axsched_hpc.core import strict_json
from axsched_hpc.core.errors import MetricsError, plural

#: Metric name -> (mean, standard error of the mean or None where unknown).
Metrics = dict[str, tuple[float, float | None]]


def normalise(raw: object, *, source: str) -> Metrics:
    """Check what an objective reported, and bring it into one form.

    Parameters
    ----------
    raw
        A mapping from metric name to a number or to a pair ``(mean, sem)``.
    source
        Where it came from (a file's path, or "the function's return value"), for messages.

    Raises
    ------
    MetricsError
        It is no such mapping, is empty, or a value is not a finite number.
    """
    if not isinstance(raw, Mapping):
        raise MetricsError(
            f"{source} holds {_kind(raw)} where a mapping from metric names to numbers belongs, "
            'such as {"loss": 0.25} or {"loss": [0.25, 0.01]} for a mean and its standard error.'
        )
    if not raw:
        raise MetricsError(f"{source} holds no metric at all. Report at least the objective's metric.")
    metrics: Metrics = {}
    for name, value in raw.items():
        if not isinstance(name, str) or not name:
            raise MetricsError(f"{source}: the metric name {name!r} is not a non-empty string.")
        if "\0" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise MetricsError(f"{source}: the metric name {name!r:.80} holds a character that is no text.")
        metrics[name] = _pair(value, name, source)
    return metrics


def parse_text(text: str, *, source: str) -> Metrics:
    """Read a metric file: a JSON object, or lines ``metric value [sem]``.

    Raises
    ------
    MetricsError
        The text is empty, half-written, or not one of the two forms.
    """
    stripped = text.strip()
    if not stripped:
        raise MetricsError(
            f"{source} is empty. The objective has to write its metrics there before it ends, "
            'as JSON: {"metric": value}.'
        )
    if stripped[0] in '{["':
        try:
            raw = strict_json.loads(stripped)
        except json.JSONDecodeError as error:
            raise MetricsError(
                f"{source} is not complete JSON ({error.msg}, line {error.lineno}, column {error.colno}). "
                "Was the program stopped while it was writing? Write the whole object at once, at the end."
            ) from None
        except ValueError as error:
            raise MetricsError(
                f'{source} cannot be used: {error}. Write one JSON object, {{"metric": value}}.'
            ) from None
        return normalise(raw, source=source)
    return normalise(_parse_lines(stripped.splitlines(), source), source=source)


def require(metrics: Mapping[str, object], required: Iterable[str], *, source: str) -> None:
    """Check that the metrics which the experiment optimises or constrains are there.

    Raises
    ------
    MetricsError
        One is missing; the message names what is there instead.
    """
    missing = [name for name in required if name not in metrics]
    if missing:
        raise MetricsError(
            f"{source} lacks {_names(missing)}, which the experiment needs; "
            f"it has {_names(sorted(metrics))}. "
            "Report it under exactly that name, or name it so in the experiment."
        )


def _parse_lines(lines: Sequence[str], source: str) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) not in (2, 3):
            raise MetricsError(
                f"{source}, line {number}: {line.strip()[:80]!r} is neither JSON nor 'metric value [sem]'."
            )
        if words[0] in raw:
            raise MetricsError(f"{source}, line {number}: metric {words[0]!r:.80} is there twice.")
        try:
            raw[words[0]] = plain_numbers(words[1:])
        except ValueError as error:
            raise MetricsError(f"{source}, line {number}: {error}.") from None
    return raw


def plain_numbers(words: Sequence[str]) -> float | list[float]:
    """What stands after a metric's name in a line of words: its value, and its standard error if it is known.

    Raises
    ------
    ValueError
        A word is no number.
    """
    try:
        numbers = [_plain_number(word) for word in words]
    except ValueError:
        raise ValueError(f"{' '.join(words)[:80]!r} is not a number") from None
    return numbers[0] if len(numbers) == 1 else numbers


def _plain_number(word: str) -> float:
    # Python's own literals allow more, such as 1_0 for ten and digits of any script.
    if "_" in word or not word.isascii():
        raise ValueError(word)
    return float(word)


def _pair(value: object, name: str, source: str) -> tuple[float, float | None]:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise MetricsError(
                f"{source}: metric {name!r} has {plural(len(value), 'value')} in a list; "
                "write a number, or a pair [mean, sem]."
            )
        mean, sem = _number(value[0], name, source), value[1]
        if sem is None:
            return mean, None
        sem = _number(sem, f"{name} (standard error)", source)
        if sem < 0:
            raise MetricsError(f"{source}: the standard error of metric {name!r} is negative ({sem}).")
        return mean, sem
    return _number(value, name, source), None


def _number(value: object, name: str, source: str) -> float:
    # NumPy and torch scalars are accepted through __float__, without importing either; strings and booleans
    # are not.
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__"):
        raise MetricsError(
            f"{source}: metric {name!r} is {_kind(value)} ({value!r:.80}), not a number. "
            'Write a number, {"metric": 0.25}, or a pair [mean, sem].'
        )
    try:
        number = float(value)
    except OverflowError:
        raise MetricsError(f"{source}: metric {name!r} is too large for a number.") from None
    except (TypeError, ValueError):
        raise MetricsError(
            f"{source}: metric {name!r} is {_kind(value)}, which is no single number."
        ) from None
    if not math.isfinite(number):
        raise MetricsError(
            f"{source}: metric {name!r} is {number}, not a finite number. "
            "Let the objective fail, or report a large finite penalty, where no value can be computed."
        )
    return number


def _kind(value: object) -> str:
    names = {
        "NoneType": "null",
        "str": "a string",
        "bool": "a boolean",
        "list": "a list",
        "dict": "a mapping",
    }
    kind = type(value).__name__
    return names.get(kind, f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}")


def _names(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) if names else "nothing"
