"""The version stands in one place; the files that repeat it agree with it."""

import re

import yaml
from packaging.version import Version

from axsched_hpc._version import __version__
from tests.packaging.metadata import ROOT, read_setup_cfg


def test_setup_cfg_reads_the_version_from_the_package() -> None:
    assert read_setup_cfg().get("metadata", "version") == "attr: axsched_hpc._version.__version__"


def test_the_version_is_in_normal_form() -> None:
    assert str(Version(__version__)) == __version__


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\S+)", changelog, flags=re.MULTILINE)
    assert headings[0] == __version__
    assert headings == sorted(headings, key=Version, reverse=True)


def test_the_citation_names_this_version_and_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == read_setup_cfg().get("metadata", "license_expression")
