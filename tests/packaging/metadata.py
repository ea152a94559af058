"""What setup.cfg, the pins and the project's other files say, read without installing anything."""

import configparser
import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
DISTRIBUTION = "axsched-hpc"


def read_setup_cfg() -> configparser.RawConfigParser:
    """Return setup.cfg as setuptools reads it: without interpolation, with full-line comments dropped."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements_by_group() -> dict[str, list[Requirement]]:
    """Return the requirements of the package (group ``install_requires``) and of each extra."""
    parser = read_setup_cfg()
    groups = {"install_requires": parser.get("options", "install_requires")}
    groups |= dict(parser.items("options.extras_require"))
    return {
        group: [Requirement(line) for line in text.splitlines() if line.strip()]
        for group, text in groups.items()
    }


def pins() -> dict[NormalizedName, Version]:
    """Return the exact versions of ``requirements/constraints.txt``; any other kind of line is an error."""
    versions: dict[NormalizedName, Version] = {}
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line)
        if match is None:
            raise ValueError(f"{CONSTRAINTS}: {line!r} is not an exact pin, name==version")
        versions[canonicalize_name(match[1])] = Version(match[2])
    return versions
