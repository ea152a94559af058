"""Damaged files: no reader fails without naming the file, and none takes a wrong value.

``AXSCHED_FUZZ_EXAMPLES`` says how many mutations of each kind of file are tried.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axsched_hpc.core.errors import MetricsError, ParameterError
from axsched_hpc.core.events import Failure
from axsched_hpc.core.metrics import parse_text
from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import atomic, claim, document, manifest, outcome, parameters
from axsched_hpc.io.claim import Claim, Claimer
from axsched_hpc.io.layout import AttemptFiles
from axsched_hpc.io.manifest import Manifest
from axsched_hpc.io.outcome import Outcome
from axsched_hpc.objectives import kinds
from axsched_hpc.objectives.kinds import ScriptObjective
from tests.unit.fuzz import changed_bytes, changed_values, documents

EXAMPLES = int(os.environ.get("AXSCHED_FUZZ_EXAMPLES", "120"))

many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
pytestmark = pytest.mark.timeout(1800)

GOOD = Outcome(
    12, 2, "axs-1", {"loss": (0.5, None), "time": (3.0, 0.1)}, None, "n1", "41_0", 10.0, 20.5, 99.5
)
BAD = replace(
    GOOD, metrics=None, failure=Failure(FailureKind.CRASHED, "killed", 1, 9, "n1", stderr_tail=("a", "b"))
)
CLAIM = Claim("axs-1", Claimer.WORKER, "n1", 4711, 12345, "6a8c", "41_0", 1, 1764.25)
MANIFEST = {
    "token": "axs-1",
    "root": "/scratch/out",
    "objective": "0123456789ab",
    "attempts": [[3, 1], [4, 2]],
}
SCRIPT = ScriptObjective("run.sh", "/home/u/run.sh", ("sh",), ("{x}",), (("A", "b"),), 5.0, None, ("/data",))
OBJECTIVE = {**kinds.encode(SCRIPT), "files": {"run.sh": "00ff"}}
METRICS = {"loss": 0.25, "time": [3, 0.5], "more": [1.5, None]}
PARAMETERS = {"x": 0.5, "n": 3, "b": True, "name": "ü", "none": None}


def attempted(
    path: Path, data: bytes, read: Callable[[Path], Any], *allowed: type[Exception]
) -> tuple[bool, Any]:
    """Whether a file was read, and what it held; an error has to be an allowed one that names the file."""
    path.write_bytes(data)
    try:
        return True, read(path)
    except allowed as error:
        assert str(path) in str(error), error
        return False, None


def real(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def whole(value: Any, least: int = 0) -> bool:
    return type(value) is int and least <= value < 2**63


def right_metrics(found: Any) -> bool:
    return bool(found) and all(
        type(name) is str
        and name.encode()
        and type(mean) is float
        and real(mean)
        and (sem is None or (type(sem) is float and real(sem) and sem >= 0))
        for name, (mean, sem) in found.items()
    )


def right_failure(found: Failure) -> bool:
    return (
        type(found.kind) is FailureKind
        and type(found.message) is str
        and type(found.exit_code) in (int, type(None))
        and (found.signal is None or whole(found.signal))
        and type(found.node) in (str, type(None))
        and all(type(line) is str for line in found.stderr_tail)
    )


@pytest.mark.parametrize("name", ["00012-2.json", "result.json"])
@pytest.mark.parametrize("original", [GOOD, BAD], ids=["metrics", "failure"])
@many
@given(data=st.data())
def test_notices_and_results(tmp_path: Path, name: str, original: Outcome, data: st.DataObject) -> None:
    directory = tmp_path / "trials/00012/attempt-2"
    directory.mkdir(parents=True, exist_ok=True)
    changed = data.draw(documents(asdict(original), outcome.encode(original)))
    good, found = attempted(directory / name, changed, outcome.read, ValueError)
    if not good:
        return
    assert (type(found.trial), found.trial, type(found.attempt), found.attempt) == (int, 12, int, 2)
    assert (found.metrics is None) != (found.failure is None)
    assert right_failure(found.failure) if found.metrics is None else right_metrics(found.metrics)
    assert real(found.started) and real(found.ended) and (found.max_rss_mb is None or real(found.max_rss_mb))
    assert {type(found.token), type(found.host)} == {str} and type(found.job) in (str, type(None))


@many
@given(changed=documents(asdict(CLAIM), document.encode(asdict(CLAIM))))
def test_claims(tmp_path: Path, changed: bytes) -> None:
    path = tmp_path / "claim.json"
    good, found = attempted(path, changed, lambda _: claim.read(AttemptFiles(tmp_path)), ValueError)
    if good:
        assert type(found.by) is Claimer
        assert whole(found.pid, 1) and whole(found.restart) and real(found.time)
        assert found.start is None or whole(found.start)
        assert {type(found.token), type(found.host), type(found.reason)} == {str}
        assert {type(found.boot), type(found.job)} <= {str, type(None)}


@many
@given(changed=documents(MANIFEST, document.encode(MANIFEST)))
def test_manifests(tmp_path: Path, changed: bytes) -> None:
    good, found = attempted(tmp_path / "axs-1.json", changed, manifest.read, ValueError)
    if good:
        assert isinstance(found, Manifest)
        assert found.token == "axs-1"
        assert found.root.is_absolute() and "\0" not in str(found.root)
        assert found.objective.isascii() and not set(found.objective) & set("/.\0") and found.objective
        assert all(whole(trial) and whole(attempt, 1) for trial, attempt in found.attempts)


@many
@given(changed=documents(OBJECTIVE, document.encode(OBJECTIVE)))
def test_objectives(tmp_path: Path, changed: bytes) -> None:
    def read(path: Path) -> Any:
        return kinds.decode(document.read(path), source=str(path))

    attempted(tmp_path / "objective.json", changed, read, ValueError)


@pytest.mark.parametrize("original", [document.encode(asdict(CLAIM)), outcome.encode(GOOD)])
@many
@given(data=st.data())
def test_no_changed_byte_of_a_document_goes_unseen(
    tmp_path: Path, original: str, data: st.DataObject
) -> None:
    changed = data.draw(changed_bytes(original.encode()))
    good, found = attempted(tmp_path / "document.json", changed, document.read, ValueError)
    if good:
        assert found == document.decode(original, source="the original")


def read_metrics(path: Path) -> Any:
    return parse_text(atomic.read_text(path), source=str(path))


def expected_metrics(text: str) -> dict[str, tuple[float, float | None]] | None:
    """What a metric file of JSON says, by other means; None where it has to be refused."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise ValueError
        return dict(pairs)

    def number(value: Any) -> float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError
        return float(value)

    try:
        raw = json.loads(text, object_pairs_hook=once)
        if type(raw) is not dict or not raw:
            return None
        found: dict[str, tuple[float, float | None]] = {}
        for name, value in raw.items():
            if not name or "\0" in name or not name.encode():
                return None
            mean, sem = value if type(value) is list and len(value) == 2 else (value, None)
            found[name] = number(mean), None if sem is None else number(sem)
            if sem is not None and number(sem) < 0:
                return None
    except (ValueError, OverflowError, RecursionError):
        return None
    return found


@many
@given(text=changed_values(METRICS))
def test_values_of_metric_files(tmp_path: Path, text: str) -> None:
    good, found = attempted(tmp_path / "metrics.json", text.encode(), read_metrics, MetricsError)
    assert (found if good else None) == expected_metrics(text)


@pytest.mark.parametrize(
    "original", [json.dumps(METRICS, indent=1), "# done\nloss 0.25 0.1\nacc 1e-3\n"], ids=["json", "lines"]
)
@many
@given(data=st.data())
def test_bytes_of_metric_files(tmp_path: Path, original: str, data: st.DataObject) -> None:
    changed = data.draw(changed_bytes(original.encode()))
    path = tmp_path / "metrics.json"
    good, found = attempted(path, changed, read_metrics, MetricsError, UnicodeDecodeError)
    if good:
        assert right_metrics(found)


@many
@given(
    changed=st.one_of(
        changed_bytes(json.dumps(PARAMETERS).encode()), changed_values(PARAMETERS).map(str.encode)
    )
)
def test_parameter_files(tmp_path: Path, changed: bytes) -> None:
    good, found = attempted(tmp_path / "parameters.json", changed, parameters.read, ParameterError)
    if good:
        for name, value in found.items():
            assert type(name) is str and name.encode() and "\0" not in name
            assert type(value) in (int, float, bool, str, type(None))
            assert type(value) is not float or math.isfinite(value)
            assert type(value) is not str or (value.encode() or True)
            parameters.render({name: value})
