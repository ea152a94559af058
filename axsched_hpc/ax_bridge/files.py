"""The JSON forms of an optimisation in a file: ours, those of both of Ax's clients, a bare experiment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ax.core.batch_trial import BatchTrial
from ax.storage.json_store.decoder import generation_strategy_from_json, object_from_json

from axsched_hpc.ax_bridge.checks import check_values
from axsched_hpc.ax_bridge.definition import define
from axsched_hpc.ax_bridge.inputs import Handles, handles_of, one_seed
from axsched_hpc.ax_bridge.refusals import refuse_unsupported
from axsched_hpc.ax_bridge.snapshot import FORMAT, KEY, client_to_json, seal, sealed, table_of
from axsched_hpc.ax_bridge.trials import settle_status_quo
from axsched_hpc.core.collector import paused
from axsched_hpc.core.errors import ConfigError

_CLIENT_KEYS = {"_type", "experiment", "generation_strategy"}

CLIENT, AX_CLIENT, EXPERIMENT = "ax.Client snapshot", "AxClient snapshot", "Experiment"

#: What the definition of a directory is where Ax itself drives: without the experiment, which Ax keeps.
DRIVEN_BY_AX = "DrivenByAx"


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
        It is none of them, is damaged, has another seed than the one given, comes from a newer version of
        this package, or the installed Ax cannot decode it.
    """
    content = _parsed(text, source)
    kind = _kind(content)
    if kind is None and isinstance(content, dict) and content.get("_type") == DRIVEN_BY_AX:
        raise ConfigError(
            f"{source} does not hold the experiment, since Ax itself has driven it, by a SubmititAxRunner. "
            "Load what Ax has saved with Client.load_from_json_file, and pass that client to AxScheduler."
        )
    if kind is None:
        raise ConfigError(
            f"{source} holds {_found(content)}, which is no ax.Client snapshot, AxClient snapshot or "
            "Experiment. "
            "Give a file that client.save_to_json_file, save_experiment or Ax's save_experiment has written."
        )
    try:
        of_file = _seed_of(content, kind, source)
        experiment, strategy = _decode(content, kind)
        check_values(experiment)
        handles = handles_of(experiment, strategy, one_seed(of_file, seed, f"The seed in {source}"))
        refuse_unsupported(handles)
        # That looks into every part: what is wrong there shows now, not when a run begins.
        define(handles)
    except ConfigError:
        raise
    except Exception as error:  # Ax's decoder raises whatever the damage leads to
        raise ConfigError(
            f"{source} looks like an {kind}, but the installed Ax cannot decode it: "
            f"{type(error).__name__}: {error}. "
            "It may be damaged, or come from another version of Ax, or need classes of its author's."
        ) from error
    return Loaded(kind, handles)


def _parsed(text: str, source: str) -> Any:
    if not text.strip():
        raise ConfigError(f"{source} is empty. Use another copy.")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{source} is not complete JSON ({error.msg}, line {error.lineno}, column {error.colno}). "
            "Was it cut off while being copied? Use another copy."
        ) from None
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or thousands of brackets within each other.
        raise ConfigError(f"{source} is no JSON that can be read ({error}). Use another copy.") from None


def _kind(content: Any) -> str | None:
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("experiment"), dict) and "generation_strategy" in content:
        return AX_CLIENT if "_enforce_sequential_optimization" in content else CLIENT
    return EXPERIMENT if content.get("__type") == "Experiment" else None


def _seed_of(content: dict[str, Any], kind: str, source: str) -> int | None:
    """The seed in what is ours, which is checked; None where Ax wrote the file."""
    damaged = ConfigError(
        f"{source} was changed after axsched-hpc wrote it: its checksum does not fit. Use another copy. To "
        f"take what it holds as it is, remove the member {KEY!r} at its end; the seed is in it."
    )
    if KEY not in content:
        if kind == CLIENT and content.keys() - _CLIENT_KEYS:
            raise damaged
        return None
    ours = content[KEY]
    version = ours.get("format") if isinstance(ours, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ConfigError(
            f"{source} was written by a newer version of axsched-hpc (format {version}, this one "
            f"knows {FORMAT}). "
            "Install that version or a later one."
        )
    if not isinstance(ours, dict) or not sealed(content):
        raise damaged
    seed: int | None = ours.get("seed")
    return seed


def _decode(content: dict[str, Any], kind: str) -> tuple[Any, Any]:
    if kind == EXPERIMENT:
        return _experiment(content), None
    encoded = content["experiment"]
    data = table_of(encoded) if KEY in content else None
    experiment = _experiment(encoded if data is None else {**encoded, "data_by_trial": {}})
    if data is not None:
        experiment.data = data
    of_strategy = content["generation_strategy"]
    if of_strategy is None:
        return experiment, None
    return experiment, generation_strategy_from_json(of_strategy, experiment=experiment)


def _experiment(encoded: dict[str, Any]) -> Any:
    """The experiment, with its batch trials as they were.

    Ax's decoder adds the status quo to each of them, and fails where it is there with another weight than 1.
    So it is told of none.
    """
    batches = any(trial.get("__type") == "BatchTrial" for trial in encoded["trials"].values())
    if not batches or encoded.get("status_quo") is None:
        return object_from_json(encoded)
    status_quo = object_from_json(encoded["status_quo"])
    experiment = object_from_json({**encoded, "status_quo": None})
    experiment.status_quo = status_quo
    for trial in experiment.trials.values():
        if isinstance(trial, BatchTrial):
            settle_status_quo(trial)
    return experiment


def _found(content: Any) -> str:
    if not isinstance(content, dict):
        words = {"NoneType": "null", "list": "a list", "str": "a string", "bool": "a boolean"}
        return words.get(type(content).__name__, "a number")
    kind = content.get("__type") or content.get("_type")
    if kind:
        return f"a {kind}"
    return f"a JSON object with the keys {', '.join(sorted(map(repr, content))[:8]) or '(none)'}"
