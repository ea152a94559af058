"""Documents: their checksum, their format, and what a shell can do with them."""

from __future__ import annotations

import json
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from axsched_hpc.core import strict_json
from axsched_hpc.io import claim, document, manifest, outcome
from axsched_hpc.io.layout import FORMAT, AttemptFiles

FIELDS = {"trial": 3, "text": 'ü "quoted", }\n', "list": [1, {"crc": "x"}], "nothing": None}


def test_round_trip() -> None:
    text = document.encode(FIELDS)
    assert document.decode(text, source="here") == FIELDS
    assert list(json.loads(text)) == ["format", *FIELDS, "crc"]
    assert json.loads(text)["format"] == FORMAT == 4


def test_an_empty_document() -> None:
    assert document.decode(document.encode({}), source="here") == {}


def test_the_checksum_is_that_of_the_text_without_it() -> None:
    text = document.encode(FIELDS)
    start = text.rindex(',\n "crc"')
    assert f"{zlib.crc32((text[:start] + chr(10) + '}').encode()):08x}" == json.loads(text)["crc"]


def test_every_changed_byte_is_seen() -> None:
    text = document.encode(FIELDS)
    for place in range(len(text)):
        for other in ("0", "x", " ", '"'):
            if text[place] != other:
                with pytest.raises(ValueError, match="here"):
                    document.decode(text[:place] + other + text[place + 1 :], source="here")
        with pytest.raises(ValueError, match="here"):
            document.decode(text[:place], source="here")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "here is not JSON"),
        ("[]", "here is not a file of axsched-hpc"),
        ('{"format": 0}', "it has no 'format' number"),
        ('{"format": 1.0}', "it has no 'format' number"),
        (f'{{"format": {FORMAT + 1}}}', "Update axsched-hpc here"),
        ('{"format": 2}', "its checksum 'crc' is not its last member"),
        ('{"format": 1, "format": 1}', "it has the member 'format' twice"),
        ('{"format": 1, "a": {"b": 1, "b": 1}}', "it has the member 'b' twice"),
        ('{"format": 1, "a": ' + "[" * 100 + "]" * 100 + "}", "it is nested too deeply"),
        ('{"format": 1, "a": ' + "[" * 100_000 + "]" * 100_000 + "}", "it is nested too deeply"),
        ('{"format": 1, "a": ' + "1" * 5000 + "}", "here cannot be used: Exceeds the limit"),
        (document.encode({"a": 1}).replace('"a": 1', '"a": 2'), "its checksum 'crc' is wrong"),
        (
            document.encode({"a": 1}).replace(f'"format": {FORMAT}', '"format": 1'),
            "its checksum 'crc' is wrong",
        ),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="here") as caught:
        document.decode(text, source="here")
    assert words in str(caught.value)


def test_a_shell_can_write_format_1(tmp_path: Path) -> None:
    path = tmp_path / "claim.json"
    script = (
        'printf \'{"format": 1, "by": "driver", "token": "", "host": "%s", "pid": %d, "start": null,'
        ' "boot": null, "job": null, "restart": 0, "time": 1.5, "reason": "by hand"}\' n1 41 > "$1"'
    )
    subprocess.run(["sh", "-c", script, "sh", str(path)], check=True)
    found = claim.read(AttemptFiles(tmp_path))
    assert found is not None and (found.host, found.pid, found.reason) == ("n1", 41, "by hand")


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_jq_reads_a_document() -> None:
    ran = subprocess.run(
        ["jq", "-r", ".text"], input=document.encode(FIELDS), capture_output=True, text=True, check=True
    )
    assert ran.stdout == FIELDS["text"] + "\n"  # type: ignore[operator]


# What format 1 looked like, as it was written: such files open for ever.
OLD_RESULT = """{
 "format": 1,
 "trial": 3,
 "attempt": 1,
 "token": "axs-1",
 "metrics": {
  "loss": [
   0.25,
   null
  ]
 },
 "failure": null,
 "host": "n1",
 "job": "41_0",
 "started": 1764.5,
 "ended": 1765,
 "max_rss_mb": 13.1
}
"""
OLD_CLAIM = """{
 "format": 1,
 "token": "axs-1",
 "by": "worker",
 "host": "n1",
 "pid": 4711,
 "start": 12345,
 "boot": "6a8c",
 "job": null,
 "restart": 0,
 "time": 1764.25,
 "reason": ""
}
"""
OLD_MANIFEST = """{
 "format": 1,
 "token": "axs-1",
 "root": "/scratch/out",
 "objective": "0123456789ab",
 "attempts": [
  [
   3,
   1
  ]
 ]
}
"""


def test_files_of_format_1_open(tmp_path: Path) -> None:
    (tmp_path / "00003-1.json").write_text(OLD_RESULT)
    assert outcome.read(tmp_path / "00003-1.json").metrics == {"loss": (0.25, None)}
    (tmp_path / "claim.json").write_text(OLD_CLAIM)
    found = claim.read(AttemptFiles(tmp_path))
    assert found is not None and found.pid == 4711
    (tmp_path / "axs-1.json").write_text(OLD_MANIFEST)
    assert manifest.read(tmp_path / "axs-1.json").attempts == ((3, 1),)


def test_strict_json_reads_what_json_does() -> None:
    for text in ("1", "[1, 2.5, null]", '{"a": {"a": [true]}}', "NaN", "[" * 50 + "]" * 50):
        assert repr(strict_json.loads(text)) == repr(json.loads(text))
