"""The sdist, the wheel and an editable install hold the typing marker and the Slurm templates."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from email.parser import Parser
from importlib.resources import files
from pathlib import Path

import click
import pytest

from axsched_hpc._version import __version__
from tests.packaging.metadata import ROOT

# One group, so that the distributions are built once and not by each worker of pytest-xdist.
pytestmark = pytest.mark.timeout(300)

FOLDER = ROOT / "slurm_templates"
TEMPLATES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file())
NOT_SOURCE = (".git", ".venv", "build", "dist", "_build", "*.egg-info", "__pycache__", ".*_cache", "outputs")
NOT_IN_SDIST = {".gitignore", ".gitattributes"}
# What an installed package is asked: its template names, whether it is marked as typed and has
# the schema, where it lies.
QUESTION = """
from importlib.resources import files
package = files("axsched_hpc")
folder = package / "slurm_templates"
print(*sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))
print((package / "py.typed").is_file() and (package / "project/axsched.schema.json").is_file())
print(package)
"""


@dataclass(frozen=True)
class Built:
    source: Path
    sdist: Path
    wheel: Path


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command away from the checkout, so that only what is installed can be imported."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build an sdist from a copy of the sources, and the wheel from that sdist."""
    source = tmp_path_factory.mktemp("build") / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    # No isolation: it needs no network, and the pinned setuptools does the work.
    run(sys.executable, "-m", "build", "--no-isolation", source, cwd=source.parent)
    (sdist,) = (source / "dist").glob("*.tar.gz")
    (wheel,) = (source / "dist").glob("*.whl")
    return Built(source, sdist, wheel)


def test_templates_are_found_in_the_environment_of_the_tests() -> None:
    assert {"driver.sbatch", "trial.setup.sh", "profiles/cpu.yaml"} <= set(TEMPLATES)
    folder = files("axsched_hpc") / "slurm_templates"
    for name in TEMPLATES:
        assert (folder / name).read_bytes() == (ROOT / "slurm_templates" / name).read_bytes()


def test_the_sdist_holds_templates_tests_and_pins(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"axsched_hpc/slurm_templates/{name}" for name in TEMPLATES} <= names
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    tracked = {name for name in listed.stdout.splitlines() if name not in NOT_IN_SDIST}
    assert tracked <= names
    assert {"axsched_hpc/py.typed", "requirements/constraints.txt", "tests/packaging/metadata.py"} <= names


def test_the_wheel_holds_the_package_and_nothing_beside_it(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    assert {f"axsched_hpc/slurm_templates/{name}" for name in TEMPLATES} <= names
    assert "axsched_hpc/py.typed" in names
    top_level = {name.partition("/")[0] for name in names}
    assert top_level == {"axsched_hpc", f"axsched_hpc-{__version__}.dist-info"}
    source = ROOT / "axsched_hpc"
    files = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    modules = {str(path.relative_to(ROOT)) for path in files if path.suffix == ".py"}
    assert modules == {name for name in names if name.endswith(".py")}, "a folder lacks its __init__.py"
    assert {str(path.relative_to(ROOT)) for path in files} <= names, "setup.cfg lacks package_data"
    assert f"axsched_hpc-{__version__}.dist-info/licenses/LICENSE" in names


def test_the_metadata_says_what_setup_cfg_says(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        folder = f"axsched_hpc-{__version__}.dist-info"
        metadata = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        entry_points = archive.read(f"{folder}/entry_points.txt").decode()
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    assert "axsched = axsched_hpc.cli:main" in entry_points


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_templates_are_found_after_installation(built: Built, tmp_path: Path, kind: str) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    what: list[str | Path] = [built.wheel] if kind == "wheel" else ["-e", built.source]
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    site_packages = sysconfig.get_path("purelib")
    # The new environment has no pip: it borrows this one's, for the installation alone.
    run(python, "-m", "pip", "install", *options, *what, cwd=tmp_path, PYTHONPATH=site_packages)
    names, typed, place = run(python, "-c", QUESTION, cwd=tmp_path).splitlines()
    assert names.split() == TEMPLATES
    assert typed == "True"
    assert Path(place).is_relative_to(built.source if kind == "editable" else tmp_path / "venv")


def test_the_command_looks_at_experiments_where_nothing_but_click_is_installed(
    built: Built, tmp_path: Path
) -> None:
    """As pipx has it: an environment of its own, and a link to its command on the search path; without Ax,
    and without all else that only drivers need.
    """
    place, bin_directory = tmp_path / "venv", tmp_path / "bin"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    options = ["--quiet", "--no-deps", "--no-index"]
    run(
        python, "-m", "pip", "install", *options, built.wheel,
        cwd=tmp_path, PYTHONPATH=sysconfig.get_path("purelib"),
    )  # fmt: skip
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "click").symlink_to(Path(click.__file__).parent)
    bin_directory.mkdir()
    (bin_directory / "axsched").symlink_to(place / "bin" / "axsched")
    path = {"PATH": f"{bin_directory}:{os.environ['PATH']}"}
    recorded = ROOT / "tests" / "data" / "format-4"
    assert "Commands:" in run("axsched", "help", cwd=tmp_path, **path)
    assert "trials (" in run("axsched", "status", recorded, cwd=tmp_path, **path)
    (tmp_path / "axsched.yaml").write_text("parameters: {}\n")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | path
    done = subprocess.run(
        ["axsched", "run"], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"axsched: This command needs yaml, which is not installed in {place}. "
        "Install axsched-hpc with all that it needs: pip install axsched-hpc\n"
    )
