"""The snapshot: an optimisation in Ax's own JSON, complete in one text, with a checksum of our own."""

from __future__ import annotations

import copy
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd
from ax.core.base_trial import BaseTrial
from ax.core.data import Data
from ax.core.experiment import Experiment
from ax.core.generator_run import GeneratorRun
from ax.core.optimization_config import OptimizationConfig
from ax.generation_strategy.generation_strategy import GenerationStrategy
from ax.storage.json_store.encoders import experiment_to_dict, generation_strategy_to_dict

from axsched_hpc.ax_bridge.data import moment
from axsched_hpc.ax_bridge.encode import Encoder

#: The key of what is ours in a snapshot, beside Ax's own keys, and the version of its form.
KEY, FORMAT = "axsched", 2

_CRC = "crc"


class _Trials:
    """The trials of a snapshot, not encoded yet: all of them as JSON values would take as much memory as the
    whole experiment.
    """

    def __init__(self, encoder: Encoder, trials: Mapping[int, BaseTrial]) -> None:
        self._encoder, self._trials = encoder, trials

    def pieces(self) -> Iterator[str]:
        """Their JSON, a trial at a time."""
        for number, (index, trial) in enumerate(self._trials.items()):
            yield f'{", " if number else ""}"{index}": {json.dumps(self._encoder.encode(trial))}'


def client_to_json(experiment: Experiment, strategy: GenerationStrategy) -> dict[str, Any]:
    """The snapshot that ``ax.Client.load_from_json_file`` opens.

    It is smaller than Ax's own: the strategy does not hold the experiment a second time, and of its generator
    runs only those from which Ax continues. Data stand in one table with all their digits, where Ax rounds to
    ten decimals (a loss of 1e-12 becomes zero).

    The trials are encoded one by one when :func:`seal` writes them.

    Raises
    ------
    ConfigError
        Ax has no encoder for a part of it, such as a metric or runner class of the user's own.
    """
    # NaN stays as it is here: Ax's loader reads it, and does not know our wrapped numbers.
    encoder = Encoder()
    # Ax would make a table of each trial's data, which takes longer than all the rest.
    shell = copy.copy(experiment)
    shell.data = Data()
    of_experiment = experiment_to_dict(shell)
    _mend_constraints(experiment.optimization_config, of_experiment["optimization_config"])
    trials, of_experiment["trials"] = of_experiment["trials"], None
    encoded_experiment = encoder.encode(of_experiment)
    encoded_experiment["trials"] = _Trials(encoder, trials)
    if not experiment.data.empty:
        encoded_experiment["data_by_trial"] = {"0": _table(experiment.data)}
    fields = generation_strategy_to_dict(strategy)
    fields["experiment"] = None
    fields["generator_runs"] = _last_runs(strategy._generator_runs)
    return {
        "_type": "Client",
        "experiment": encoded_experiment,
        "generation_strategy": encoder.encode(fields),
    }


def _mend_constraints(config: OptimizationConfig | None, fields: dict[str, Any] | None) -> None:
    """Put constraints on sums of metrics, of which Ax keeps the first metric, back for our encoder."""
    for part in ("outcome_constraints", "objective_thresholds"):
        if fields is not None and part in fields:
            pairs = zip(getattr(config, part), fields[part], strict=True)
            fields[part] = [there if len(there.metric_names) > 1 else ax for there, ax in pairs]


def seal(content: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """The text of a snapshot: what Ax reads, then what is ours, and last in it the checksum.

    ``crc`` is the CRC-32 (zlib) of the content as ``json.dumps`` writes it without that member, as eight
    hexadecimal digits. So a file may be laid out anew, but its values cannot change unseen.
    """
    *pieces, end = _pieces(content)
    pieces.append(f', "{KEY}": {json.dumps(dict(ours))[:-1]}')
    crc = 0
    for piece in (*pieces, end * 2):
        crc = zlib.crc32(piece.encode(), crc)
    pieces.append(f', "{_CRC}": "{crc:08x}"{end * 2}')
    return "".join(pieces)


def _pieces(value: Any, depth: int = 2) -> Iterator[str]:
    """What ``json.dumps`` gives, in pieces; the trials stand at most so deep."""
    if isinstance(value, _Trials):
        yield "{"
        yield from value.pieces()
        yield "}"
    elif type(value) is dict and depth:
        yield "{"
        for number, (name, each) in enumerate(value.items()):
            yield f"{', ' if number else ''}{json.dumps(name)}: "
            yield from _pieces(each, depth - 1)
        yield "}"
    else:
        yield json.dumps(value)


def sealed(content: Mapping[str, Any]) -> bool:
    """Whether the checksum in a content of ours is right; format 1 had none."""
    ours = dict(content[KEY])
    crc = ours.pop(_CRC, None)
    if crc is None and ours.get("format") == 1:
        return True
    return bool(crc == _checksum(json.dumps({**content, KEY: ours})))


def table_of(experiment: Mapping[str, Any]) -> Data | None:
    """The data in an encoded experiment of ours, digit by digit, where Ax's loader is satisfied with 15.

    None where there are none.
    """
    by_trial = experiment["data_by_trial"]
    if not by_trial:
        return None
    ((_, table),) = by_trial["0"]["value"]
    columns = json.loads(table["df"]["value"])
    frame = pd.DataFrame({name: list(cells.values()) for name, cells in columns.items()})
    for name in frame.columns:
        if name in ("mean", "sem", "step"):
            frame[name] = frame[name].astype(float)
        elif name in ("start_time", "end_time"):
            frame[name] = pd.to_datetime(frame[name])
    return Data(df=frame)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def _table(data: Data) -> dict[str, Any]:
    frame = data.full_df
    # Column by column, since their cells take far more memory than their text.
    columns = ", ".join(f"{json.dumps(str(name))}: {_column(frame[name].tolist())}" for name in frame.columns)
    table = {"__type": "Data", "df": {"__type": "DataFrame", "value": f"{{{columns}}}"}}
    return {"__type": "OrderedDict", "value": [[0, table]]}


def _column(values: Iterable[Any]) -> str:
    return json.dumps({str(i): _cell(value) for i, value in enumerate(values)})


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return value if value is None or isinstance(value, (str, int)) else moment(value)


def _last_runs(runs: Iterable[GeneratorRun]) -> list[GeneratorRun]:
    last: dict[tuple[str | None, str | None], GeneratorRun] = {}
    for run in runs:
        key = (run._generation_node_name, run._generator_key)
        last.pop(key, None)
        last[key] = run
    return list(last.values())
