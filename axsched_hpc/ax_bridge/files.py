"""The JSON forms of an optimisation in a file: ours, those of both of Ax's clients, a bare experiment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ax.core.experiment import Experiment
from ax.storage.json_store.decoder import generation_strategy_from_json, object_from_json

from axsched_hpc.ax_bridge.collector import paused
from axsched_hpc.ax_bridge.inputs import Handles, handles_of, one_seed
from axsched_hpc.ax_bridge.snapshot import FORMAT, KEY, client_to_json, seal
from axsched_hpc.core.errors import ConfigError

CLIENT, AX_CLIENT, EXPERIMENT = "ax.Client snapshot", "AxClient snapshot", "Experiment"


@dataclass(frozen=True)
class Loaded:
    """What a file held. ``kind`` is one of ``CLIENT``, ``AX_CLIENT`` and ``EXPERIMENT``."""

    kind: str
    handles: Handles


def snapshot_text(handles: Handles) -> str:
    """JSON that ``ax.Client.load_from_json_file`` opens, with the seed, which Ax's own lacks, beside it."""
    with paused():
        content = client_to_json(handles.experiment, handles.generation_strategy)
        return seal(content, {"format": FORMAT, "seed": handles.seed})


def read_any(text: str, source: str, *, seed: int | None = None) -> Loaded:
    """Read any of the forms.

    Parameters
    ----------
    text
        The file's content.
    source
        Its path, for messages.
    seed
        Seed of generation, where the file has none.

    Raises
    ------
    ConfigError
        It is none of them, has another seed than the one given, comes from a newer version of this package,
        or the installed Ax cannot decode it.
    """
    if not text.strip():
        raise ConfigError(f"{source} is empty. Use another copy.")
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{source} is not complete JSON ({error.msg}, line {error.lineno}, column {error.colno}). "
            "Was it cut off while being copied? Use another copy."
        ) from None
    kind = _kind(content)
    if kind is None:
        raise ConfigError(
            f"{source} holds {_found(content)}, which is no ax.Client snapshot, AxClient snapshot or "
            "Experiment. "
            "Give a file that client.save_to_json_file, save_experiment or Ax's save_experiment has written."
        )
    ours = content.get(KEY) or {}
    if ours.get("format", FORMAT) > FORMAT:
        raise ConfigError(
            f"{source} was written by a newer version of axsched-hpc (format {ours['format']}, this one "
            f"knows {FORMAT}). "
            "Install that version or a later one."
        )
    experiment, strategy = _decode(content, kind, source)
    if not isinstance(experiment, Experiment):
        raise ConfigError(
            f"{source} holds {type(experiment).__name__} where an Experiment belongs. It cannot be run."
        )
    return Loaded(
        kind, handles_of(experiment, strategy, one_seed(ours.get("seed"), seed, f"The seed in {source}"))
    )


def _kind(content: Any) -> str | None:
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("experiment"), dict) and "generation_strategy" in content:
        return AX_CLIENT if "_enforce_sequential_optimization" in content else CLIENT
    return EXPERIMENT if content.get("__type") == "Experiment" else None


def _decode(content: dict[str, Any], kind: str, source: str) -> tuple[Any, Any]:
    try:
        if kind == EXPERIMENT:
            return object_from_json(content), None
        experiment = object_from_json(content["experiment"])
        encoded = content["generation_strategy"]
        strategy = None if encoded is None else generation_strategy_from_json(encoded, experiment=experiment)
    except Exception as error:  # Ax's decoder raises whatever the damage leads to
        raise ConfigError(
            f"{source} looks like an {kind}, but the installed Ax cannot decode it: "
            f"{type(error).__name__}: {error}. "
            "It may be damaged, or come from another version of Ax, or need classes of its author's."
        ) from error
    return experiment, strategy


def _found(content: Any) -> str:
    if not isinstance(content, dict):
        words = {"NoneType": "null", "list": "a list", "str": "a string", "bool": "a boolean"}
        return words.get(type(content).__name__, "a number")
    kind = content.get("__type") or content.get("_type")
    if kind:
        return f"a {kind}"
    return f"a JSON object with the keys {', '.join(sorted(map(repr, content))[:8]) or '(none)'}"
