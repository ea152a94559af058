"""A runner as JSON values, and back: the arguments it was made with, under the name of its class.

Nothing is imported by a name that stands in a file: a class is found among the runners that are there
already.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from axsched_hpc.core.errors import ConfigError, did_you_mean
from axsched_hpc.runners.base import BaseRunner

Init = TypeVar("Init", bound=Callable[..., None])

_ARGUMENTS = "_arguments_of_init"


def remembered(init: Init) -> Init:
    """Decorate a runner's ``__init__``, so that the runner can be described.

    The arguments of the outermost class count: a subclass's, not those that it passes on.
    """
    signature = inspect.signature(init)

    @functools.wraps(init)
    def remembering(self: BaseRunner, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        bound = dict(signature.bind(self, *args, **kwargs).arguments)
        del bound[next(iter(signature.parameters))]
        for name, parameter in signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                bound.update(bound.pop(name, {}))
        vars(self)[_ARGUMENTS] = bound

    return cast("Init", remembering)


def describe(runner: BaseRunner) -> dict[str, Any]:
    """What makes the same runner again: ``{"class": name, "arguments": {...}}``, of JSON values.

    Raises
    ------
    ConfigError
        Its class does not remember its arguments, or one of them is no JSON value.
    """
    name = type(runner).__qualname__
    arguments = vars(runner).get(_ARGUMENTS)
    if arguments is None:
        raise ConfigError(
            f"A {name} cannot be saved, since it does not remember its arguments. Decorate its __init__ with "
            "axsched_hpc.runners.settings.remembered."
        )
    plain: dict[str, Any] = {}
    for key, value in arguments.items():
        try:
            plain[key] = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            raise ConfigError(
                f"{name} cannot be saved: its argument {key} is {value!r:.80} ({type(value).__name__}), "
                "which JSON lacks. Use numbers, strings, lists and dicts."
            ) from None
    return {"class": name, "arguments": plain}


def make(description: Mapping[str, Any]) -> BaseRunner:
    """The runner that :func:`describe` described.

    Raises
    ------
    ConfigError
        There is no such class here, or the arguments are wrong.
    """
    known = _known()
    name, arguments = description.get("class"), description.get("arguments")
    if not isinstance(arguments, Mapping) or not isinstance(name, str):
        raise ConfigError(f"{description!r:.200} describes no runner: it takes 'class' and 'arguments'.")
    if name not in known:
        raise ConfigError(
            f"There is no runner {name!r} here.{did_you_mean(name, list(known))} Import the module of a "
            "runner of your own before what was saved with it is loaded."
        )
    try:
        return known[name](**arguments)
    except TypeError as error:
        raise ConfigError(f"{name} cannot be made with the saved arguments: {error}.") from None


def _known() -> dict[str, Callable[..., BaseRunner]]:
    # Those of this package need not be loaded yet.
    from axsched_hpc.runners import local_runner, slurm_runner  # noqa: F401

    found: dict[str, Callable[..., BaseRunner]] = {}
    classes: list[type[BaseRunner]] = BaseRunner.__subclasses__()
    while classes:
        cls = classes.pop()
        classes += cls.__subclasses__()
        if not inspect.isabstract(cls):
            found[cls.__qualname__] = cls
    return found
