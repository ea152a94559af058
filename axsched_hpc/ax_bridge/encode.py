"""Ax's objects as JSON values, exactly as Ax's own encoder has them, but faster.

Ax walks an object with a function that asks at every number whether it is one of twenty other things. Here
the plain containers and numbers, which are nearly all of it, come first. Everything else, and every class's
choice of fields, remains Ax's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ax.core.arm import Arm
from ax.core.batch_trial import BatchTrial
from ax.core.generator_run import GeneratorRun
from ax.core.outcome_constraint import OutcomeConstraint, ScalarizedOutcomeConstraint
from ax.core.trial import Trial
from ax.exceptions.storage import JSONEncodeError
from ax.storage.json_store.decoder import object_from_json
from ax.storage.json_store.encoder import object_to_json
from ax.storage.json_store.registry import CORE_ENCODER_REGISTRY

from axsched_hpc.core.errors import ConfigError

_NUMBER = "__number"
_PLAIN = frozenset({str, int, float, bool, type(None)})
_MOMENT = "%Y-%m-%d %H:%M:%S.%f"

#: A class -> Ax's choice of its fields. Users register classes of their own there.
_FIELDS: Mapping[type[Any], Callable[[Any], dict[str, Any]]] = CORE_ENCODER_REGISTRY


def _outcome_constraint(constraint: OutcomeConstraint) -> dict[str, Any]:
    """Of a sum of metrics Ax's own JSON has the first only; its decoder reads a formula as well."""
    if len(constraint.metric_names) == 1:
        return _FIELDS[type(constraint)](constraint)
    return {
        "__type": OutcomeConstraint.__name__,
        "expression": constraint.expression,
        "metric_name_to_signature": constraint.metric_name_to_signature,
    }


#: Where Ax's choice loses something.
_OURS: Mapping[type[Any], Callable[[Any], dict[str, Any]]] = {
    OutcomeConstraint: _outcome_constraint,
    ScalarizedOutcomeConstraint: _outcome_constraint,
}


#: Of these none stands in two places, and there may be very many.
_SINGLE = frozenset({Arm, BatchTrial, GeneratorRun, Trial})


class Encoder:
    """What ``json.loads(json.dumps(object_to_json(value)))`` gives, for as long as nothing is changed.

    An object is encoded once: the same enum, class or search space stands in thousands of trials. NaN and
    infinities stay as they are.
    """

    def __init__(self) -> None:
        # By identity, with the object, which therefore stays alive and keeps its identity.
        self._done: dict[int, tuple[Any, Any]] = {}

    def encode(self, value: Any) -> Any:
        """The JSON values of any object that Ax can save.

        Raises
        ------
        ConfigError
            Ax has no encoder for a part of it, such as a metric or runner class of the user's own.
        """
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is dict:
            return self._mapping(value)
        if kind is list or kind is tuple:
            return [item if type(item) in _PLAIN else self.encode(item) for item in value]
        if kind is datetime:
            return {"__type": "datetime", "value": value.strftime(_MOMENT)}
        there = self._done.get(id(value))
        if there is None:
            fields = _OURS.get(kind) or _FIELDS.get(kind)
            encoded = _by_ax(value) if fields is None else self._mapping(fields(value))
            if kind in _SINGLE:
                return encoded
            there = self._done[id(value)] = (value, encoded)
        return there[1]

    def _mapping(self, fields: Mapping[Any, Any]) -> dict[str, Any]:
        return {
            key if type(key) is str else _key(key): item if type(item) in _PLAIN else self.encode(item)
            for key, item in fields.items()
        }


def to_json(value: Any) -> Any:
    """Any object that Ax can save, as values that strict JSON can hold: NaN and infinities are wrapped.

    Raises
    ------
    ConfigError
        Ax has no encoder for a part of it, such as a metric or runner class of the user's own.
    """
    return wrap(Encoder().encode(value))


def from_json(value: Any) -> Any:
    """The object behind :func:`to_json`. The argument is left whole; Ax's decoder takes its input apart."""
    return object_from_json(unwrap(value))


class Decoder:
    """What :func:`from_json` gives, of plain values and of objects that are never changed.

    Such an object, a tensor for example, is decoded once, and then shared by all that hold an equal one.
    """

    def __init__(self) -> None:
        self._done: dict[str, Any] = {}

    def decode(self, value: Any) -> Any:
        """The values behind those of JSON; the argument is left whole."""
        if type(value) in _PLAIN:
            return value
        if type(value) is list:
            return [item if type(item) in _PLAIN else self.decode(item) for item in value]
        if "__type" not in value and _NUMBER not in value:
            # Ax takes this key for None, which JSON has no other way to write.
            return {None if key == "null" else key: self.decode(item) for key, item in value.items()}
        text = json.dumps(value)
        if text not in self._done:
            self._done[text] = from_json(value)
        return self._done[text]


def wrap(value: Any) -> Any:
    """The same values with a mapping in place of each number that JSON lacks."""
    if isinstance(value, dict):
        return {key: wrap(item) for key, item in value.items()}
    if isinstance(value, list):
        return [wrap(item) for item in value]
    return {_NUMBER: repr(value)} if isinstance(value, float) and not math.isfinite(value) else value


def unwrap(value: Any) -> Any:
    """The inverse of :func:`wrap`; a copy."""
    if isinstance(value, dict):
        if len(value) == 1 and _NUMBER in value:
            return float(value[_NUMBER])
        return {key: item if type(item) in _PLAIN else unwrap(item) for key, item in value.items()}
    return [unwrap(item) for item in value] if isinstance(value, list) else value


def _by_ax(value: Any) -> Any:
    try:
        return json.loads(json.dumps(object_to_json(value)))
    except (JSONEncodeError, ValueError, TypeError) as error:
        raise _cannot_save(error) from None


def _key(key: Any) -> str:
    """What a key that is no text becomes in JSON."""
    try:
        (name,) = json.loads(json.dumps({key: None}))
    except TypeError as error:
        raise _cannot_save(error) from None
    return str(name)


def _cannot_save(error: Exception) -> ConfigError:
    return ConfigError(
        f"Ax cannot save a part of this experiment, so no run could be resumed: {error} Metrics are read "
        "from the objective and jobs are run by the runner, so metric and runner classes of your own are "
        "not needed on it; another class of yours has to be in CORE_ENCODER_REGISTRY and "
        "CORE_DECODER_REGISTRY of ax.storage.json_store.registry."
    )
