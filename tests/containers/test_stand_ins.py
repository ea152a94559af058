"""The stand-ins are as strict as what they stand for: a command line that is wrong fails."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.containers.rootfs import make_rootfs
from tests.containers.stand_ins import DOCKER_OPTIONS, StandInImage, make_stand_ins

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("stand-ins")
    rootfs = make_rootfs(directory / "rootfs")
    make_stand_ins(directory / "bin", {"img:1": StandInImage(rootfs)}, singularity_is_old=True)
    (directory / "a.sif").write_text("img:1\n")
    (directory / "data").mkdir()
    return directory


def run(place: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [place / "bin" / words[0], *words[1:]],
        cwd=place,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("docker run --volume-x img:1 true", 125, "unknown flag: --volume-x"),
        ("docker run -y img:1 true", 125, "unknown shorthand flag: 'y' in -y"),
        ("docker run -w", 125, "flag needs an argument: 'w' in -w"),
        ("docker run --workdir", 125, "flag needs an argument: --workdir"),
        ("docker run --rm", 1, "requires at least 1 argument"),
        ("docker run img:1 -w /tmp", 127, 'exec: "-w": executable file not found in $PATH'),
        ("docker run --mount type=bind,source=/nope,target=/x img:1 true", 125, "path does not exist: /nope"),
        ('docker run --mount type=bind,source=/a"b,target=/x img:1 true', 125, 'bare " in non-quoted-field'),
        ("docker run --mount type=bind,source=/tmp,target=/x,rx img:1 true", 125, "unexpected key 'rx'"),
        ("docker run -v /tmp:/x:rx img:1 true", 125, "invalid volume specification"),
        ("docker run other:1 true", 125, "pull access denied for other, repository does not exist"),
        ("docker run --pull=never other:1 true", 125, "No such image: other:1"),
        ("docker run img:1 /etc/passwd", 126, "permission denied"),
        ("docker run --gpus all img:1 true", 125, "could not select device driver"),
        ("docker start img:1", 1, "unknown command: docker start"),
        ("docker kill nobody", 1, "No such container: nobody"),
        ("apptainer exec --volume /tmp:/x a.sif true", 1, 'Error for command "exec": unknown flag: --volume'),
        ("apptainer exec a.sif", 1, "requires at least 2 arg(s), only received 1"),
        ("apptainer exec a.sif --pwd /tmp true", 255, 'FATAL:   "--pwd": executable file not found'),
        ("apptainer exec --bind /nope:/x a.sif true", 255, "mount source /nope doesn't exist"),
        ("apptainer exec --bind /a,b:/x a.sif true", 255, "while parsing bind path"),
        ("apptainer exec --bind /tmp:/x:rx a.sif true", 255, "not a valid bind option"),
        ("apptainer exec --mount type=volume,source=/tmp,target=/x a.sif true", 255, "while parsing mount"),
        ("apptainer exec --network=none a.sif true", 255, "--network requires --net"),
        ("apptainer exec /nope.sif true", 255, "FATAL:   could not open image /nope.sif"),
        ("apptainer exec docker://other:1 true", 255, "FATAL:   Unable to handle docker://other:1 uri"),
        ("apptainer pull a.sif docker://other:1", 255, "requested access to the resource is denied"),
        ("apptainer exec a.sif /nope", 255, "FATAL:   stat /nope: no such file or directory"),
        ("singularity exec --no-eval a.sif true", 1, "unknown flag: --no-eval"),
        ("singularity exec --mount type=bind,source=/tmp,target=/x a.sif true", 1, "unknown flag: --mount"),
        ("singularity run a.sif", 1, 'unknown command "run"'),
    ],
)
def test_a_wrong_command_line_is_refused(place: Path, words: str, code: int, said: str) -> None:
    done = run(place, *words.split(" "))
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


@pytest.mark.parametrize("engine", ["docker", "apptainer"])
def test_what_is_asked_for_is_done(place: Path, engine: str) -> None:
    script = 'pwd; touch here; touch /data/no || echo "$A"; id -u; tail -n +3 /proc/net/dev | wc -l; exit 5'
    words = {
        "docker": [
            *("run", "--rm", "-w", "/made/here", "--user", "7:8", "-e", "A=$HOME `id`", "--network=none"),
            *("--mount", "type=bind,source=data,target=/data,readonly", "img:1"),
        ],
        "apptainer": ["exec", "--bind", "data:/data:ro", "--pwd", "/tmp", "--net", "--network=none", "a.sif"],
    }[engine]
    words = [word.replace("=data", f"={place}/data").replace("data:/", f"{place}/data:/") for word in words]
    done = run(place, engine, *words, "sh", "-c", script, APPTAINERENV_A="\\$HOME 'id'")
    expected = {
        "docker": (["/made/here", "$HOME `id`", "7", "1"], "touch: here: Permission denied"),
        "apptainer": (["/tmp", "$HOME 'id'", str(os.getuid()), "1"], ""),
    }[engine]
    assert done.stdout.splitlines() == expected[0]
    assert done.returncode == 5
    assert expected[1] in done.stderr and "touch: /data/no: Read-only file system" in done.stderr
    Path("/tmp/here").unlink(missing_ok=True)


def test_apptainer_evaluates_variables_unless_told_not_to(place: Path) -> None:
    show = ("a.sif", "sh", "-c", 'printf %s "$A"')
    assert run(place, "apptainer", "exec", *show, APPTAINERENV_A="$(echo evaluated)").stdout == "evaluated"
    kept = run(place, "apptainer", "exec", "--no-eval", *show, APPTAINERENV_A="$(echo evaluated)")
    assert kept.stdout == "$(echo evaluated)"


def test_a_variable_with_another_name_than_a_shell_s_takes_those_after_it_along(place: Path) -> None:
    variables = {"APPTAINERENV_A.B": "1", "APPTAINERENV_C": "2"}
    done = run(place, "apptainer", "exec", "a.sif", "sh", "-c", 'echo "<$C>"', **variables)
    assert (done.stdout, "invalid var name" in done.stderr) == ("<>\n", True)


def test_docker_s_options_are_those_of_a_real_client() -> None:
    # What `docker run --help` of docker 28.2.2 printed.
    text = (Path(__file__).parents[1] / "data/containers/docker-28.2.2-run-help.txt").read_text()
    shown = re.findall(r"^  (?:-(\w), |    )--([\w-]+)(?: (\S+))?", text, re.MULTILINE)
    assert len(shown) > 80
    for kind, names in DOCKER_OPTIONS.items():
        written = set(names.split())
        found = {
            f"{long}|{short}" if short else long
            for short, long, value in shown
            if bool(value) == (kind == "strings")
        }
        assert written == found
