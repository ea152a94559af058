"""The manifest of a batch."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from axsched_hpc.io import manifest
from axsched_hpc.io.layout import FORMAT, Layout
from axsched_hpc.io.manifest import Manifest
from tests.unit.worker_kit import unsealed


def written(tmp_path: Path) -> tuple[Path, Manifest]:
    layout = Layout.at(tmp_path / "out")
    given = Manifest("axs-1", layout.root, "0123456789ab", ((0, 1), (7, 2)))
    return manifest.write(layout, given), given


def test_round_trip(tmp_path: Path) -> None:
    path, given = written(tmp_path)
    assert path == tmp_path / "out/submitit/axs-1.json"
    assert manifest.read(path) == given
    assert json.loads(path.read_text())["format"] == FORMAT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": FORMAT + 1}, f"has format {FORMAT + 1}, written by a later version of axsched-hpc"),
        ({"format": None}, "it has no 'format' number"),
        ({"format": True}, "it has no 'format' number"),
        ({"token": 5}, "field 'token' is 5, not str"),
        ({"attempts": [[1]]}, "[1] is not a pair of trial and attempt"),
        ({"attempts": [[1, True]]}, "[1, True] is not a pair of trial and attempt"),
        ({"attempts": "all"}, "field 'attempts' is 'all', not list"),
        ({"attempts": [[-1, 1]]}, "[-1, 1] is not a pair of trial and attempt"),
        ({"attempts": [[1, 0]]}, "[1, 0] is not a pair of trial and attempt"),
        ({"token": "axs-2"}, "is the manifest of another batch, 'axs-2'"),
        ({"root": "out"}, "field 'root' is 'out', not a full path"),
        ({"objective": "../../x"}, "field 'objective' is '../../x', no name below objective/"),
    ],
)
def test_a_malformed_manifest_is_named(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path, _ = written(tmp_path)
    path.write_text(json.dumps(unsealed(path.read_text()) | change))
    with pytest.raises(ValueError, match=r"axs-1\.json") as caught:
        manifest.read(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_no_manifest_at_all(tmp_path: Path, text: str) -> None:
    path, _ = written(tmp_path)
    path.write_text(text)
    with pytest.raises(ValueError, match=r"axs-1\.json"):
        manifest.read(path)
