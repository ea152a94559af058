"""The working directory of a program, through the worker: decks, inputs, links, scratch disks."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
from pathlib import Path

import pytest

from axsched_hpc.core.errors import ConfigError, ObjectiveError
from axsched_hpc.core.states import FailureKind
from axsched_hpc.objectives.placeholders import check_placeholders
from axsched_hpc.objectives.spec import container_objective, script_objective
from tests.containers.rootfs import make_rootfs
from tests.unit.worker_kit import bench, script_bench, wait_for

DONE = 'echo "loss 1" > "$AXSCHED_METRICS_FILE"\n'


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A template, an input directory with a program in it, and something large."""
    made = tmp_path / "my files"
    (made / "mesh").mkdir(parents=True)
    (made / "run.in.j2").write_text("x = {{ x }}\nn = {{ n }} # {{ workdir }}\n")
    (made / "mesh" / "points").write_text("0 0\n")
    (made / "mesh" / "tool").write_text("#!/bin/sh\necho tool\n")
    (made / "mesh" / "tool").chmod(0o755)
    (made / "big.h5").write_text("large\n")
    return made


def test_decks_inputs_and_links(tmp_path: Path, files: Path) -> None:
    options = {
        "templates": {files / "run.in.j2": "case/run.in"},
        "inputs": [files / "mesh"],
        "link": [files / "big.h5"],
    }
    text = "set -e; cat case/run.in mesh/points big.h5; mesh/tool; echo more >> mesh/points\n" + DONE
    b = script_bench(tmp_path, text, options)
    # What is installed counts, not what becomes of the files afterwards; but for links.
    (files / "run.in.j2").unlink()
    (files / "mesh" / "points").write_text("changed")
    assert b.run() == (0, "")
    deck = f"x = 0.5\nn = 3 # {b.files.work}\n"
    assert b.files.stdout.read_text() == f"{deck}0 0\nlarge\ntool\n"
    assert (b.files.work / "case" / "run.in").read_text() == deck
    # A program changes its own copy.
    assert (b.files.work / "mesh" / "points").read_text() == "0 0\nmore\n"
    assert (b.files.work / "big.h5").readlink() == files / "big.h5"
    assert not (b.files.work / "case" / "run.in").stat().st_mode & 0o077


def test_a_name_without_a_value_is_told_before_anything_is_submitted(tmp_path: Path, files: Path) -> None:
    script = tmp_path / "run.sh"
    script.touch()
    objective = script_objective(script, {"templates": [files / "run.in.j2"]})
    assert objective.templates == ((str(files / "run.in.j2"), "run.in"),)
    check_placeholders(objective, ["x", "n"])
    with pytest.raises(ObjectiveError, match=r"line 2, has the name 'n', which nothing gives"):
        check_placeholders(objective, ["x"])


def test_a_deck_that_the_values_break(tmp_path: Path) -> None:
    (tmp_path / "deck").write_text("{{ 1 // (n - 3) }}")
    failure = script_bench(tmp_path, DONE, {"templates": [tmp_path / "deck"]}).failure()
    assert failure.kind is FailureKind.CANNOT_RUN
    assert f"The template {tmp_path / 'deck'} cannot be rendered: ZeroDivisionError" in failure.message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"templates": ["gone.j2"]},
            "script_options['templates'] names {here}/gone.j2, which does not exist.",
        ),
        ({"templates": ["."]}, "names {here}, which is not a file."),
        ({"templates": "a.j2"}, "script_options['templates'] is 'a.j2' (str), but takes a list of files, or"),
        ({"templates": {"a.j2": "../a"}}, "takes a path below the working directory"),
        ({"templates": {"a.j2": "/a"}}, "takes a path below the working directory"),
        ({"templates": ["a.j2", "d/a.j2"]}, "script_options['templates'] makes 'a' twice, of"),
        ({"templates": ["a.j2"], "inputs": ["d/a"]}, "both make 'a' in the working directory."),
        ({"inputs": ["d/a"], "link": ["d/a"]}, "both make 'a' in the working directory."),
        ({"link": ["gone"]}, "script_options['link'] names {here}/gone, which does not exist."),
        ({"stage_out": ["*"]}, "Set script_options['scratch'] to True as well"),
        ({"scratch": 1}, "script_options['scratch'] is 1 (int), but takes True or False."),
        ({"scratch": True, "stage_out": "*.log"}, "takes a list of files or patterns"),
        ({"scratch": True, "stage_out": ["../*"]}, "takes a path below the working directory"),
        ({"scratch": True, "working_directory": "."}, "names one for all. Leave one of them out."),
        ({"inputs": ["d/a"], "working_directory": "."}, "script_options['inputs'] belongs to the working"),
        ({"output_limit": -1}, "takes a whole number of megabytes, or 0 for no limit"),
        ({"output_limit": True}, "takes a whole number of megabytes, or 0 for no limit"),
    ],
)
def test_wrong_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    for name in ("a.j2", "d/a.j2", "d/a", "run.sh"):
        (tmp_path / name).touch()
    with pytest.raises((ConfigError, ObjectiveError)) as caught:
        script_objective("run.sh", options)
    assert words.format(here=tmp_path) in str(caught.value)


class TestInPlace:
    def test_a_program_on_the_nodes_path(self, tmp_path: Path) -> None:
        where = tmp_path / "bin"
        where.mkdir()
        (where / "solve-it").write_text(f'#!/bin/sh\necho "$0 $@"\n{DONE}')
        (where / "solve-it").chmod(0o755)
        b = bench(tmp_path, script_objective("solve-it", {"args": ["-x", "{x}"], "in_place": True}))
        assert b.run(PATH=f"{where}:{os.environ['PATH']}") == (0, "")
        assert b.files.stdout.read_text() == f"{where / 'solve-it'} -x 0.5\n"

    def test_a_name_that_is_on_path_here_needs_no_option(self) -> None:
        found = script_objective("env")
        assert (found.script, found.source, found.in_place) == ("env", "env", True)

    def test_a_misspelt_script_is_not_taken_for_a_program(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for name, hinted in (("train.py", False), ("no-such-program", True)):
            with pytest.raises(ObjectiveError, match="does not exist") as caught:
                script_objective(name)
            assert ("a program that only the nodes have on PATH" in str(caught.value)) == hinted

    def test_a_program_that_the_node_has_not(self, tmp_path: Path) -> None:
        b = bench(tmp_path, script_objective("no-such-program", {"in_place": True}))
        failure = b.failure()
        assert failure.kind is FailureKind.CANNOT_RUN
        assert failure.message.startswith("There is no program 'no-such-program' on PATH on ")

    def test_the_original_runs(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, "#!/bin/sh\necho $0\n" + DONE, {"in_place": True}, mode=0o755)
        assert b.run() == (0, "")
        assert b.files.stdout.read_text() == f"{tmp_path / 'train.sh'}\n"


@pytest.mark.parametrize(("suffix", "program"), [(".R", "Rscript"), (".jl", "julia"), (".pl", "perl")])
def test_scripts_by_the_endings_of_their_names(tmp_path: Path, suffix: str, program: str) -> None:
    # The programs themselves may not be installed: what would run is a word of theirs.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / program).write_text(f'#!/bin/sh\necho {program} "$@"\n{DONE}')
    (tmp_path / "bin" / program).chmod(0o755)
    b = script_bench(tmp_path, "text", {"args": ["{x}"]}, name=f"train{suffix}")
    assert b.run(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}") == (0, "")
    words = b.files.stdout.read_text().split(" ")
    assert (words[0], words[-1]) == (program, "0.5\n")


class TestScratch:
    @pytest.fixture(autouse=True)
    def tmpdir(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        made = tmp_path / "node"
        made.mkdir()
        monkeypatch.setenv("TMPDIR", str(made))
        return made

    def base(self, tmpdir: Path) -> Path:
        return tmpdir / f"axsched-{os.geteuid()}"

    def test_results_are_copied_back(self, tmp_path: Path, files: Path, tmpdir: Path) -> None:
        text = """
            set -e
            pwd; [ "$PWD" = "$AXSCHED_WORKDIR" ]; ls -a "$PWD/.." | grep -c "^[0-9]"
            stat -c %a . ..
            mkdir -p out/empty locked; echo 1 > out/a; ln -s out/a relative; ln -s "$PWD/out/a" absolute
            printf '#!/bin/sh\\n' > run; chmod +x run; mkfifo pipe
            echo more >> mesh/points; echo 2 > locked/b; chmod 500 locked
        """
        b = script_bench(
            tmp_path,
            text + DONE,
            {"scratch": True, "templates": [files / "run.in.j2"], "inputs": [files / "mesh"]},
        )
        assert b.run() == (0, "")
        where, count, inner, outer = b.files.stdout.read_text().split()
        assert Path(where).parent == self.base(tmpdir)
        assert (count, inner, outer) == ("1", "700", "700")
        work = b.files.work
        assert (work / "out" / "a").read_text() == "1\n" and (work / "out" / "empty").is_dir()
        assert (work / "locked" / "b").read_text() == "2\n"
        assert (work / "relative").readlink() == Path("out/a")
        assert (work / "absolute").read_text() == "1\n" and not (work / "absolute").is_symlink()
        assert os.access(work / "run", os.X_OK) and not (work / "run").stat().st_mode & 0o077
        # An input that the program has changed is a result; one that it has not is left out.
        assert (work / "mesh" / "points").read_text() == "0 0\nmore\n"
        assert not (work / "mesh" / "tool").exists()
        assert (work / "run.in").read_text().startswith("x = 0.5\n")
        assert not (work / "pipe").exists()
        assert "pipe is neither a file nor a directory" in b.files.stderr.read_text()
        assert list(self.base(tmpdir).iterdir()) == []
        assert sorted(path.name for path in b.files.root.iterdir() if path.name.startswith(".")) == []

    def test_only_what_is_asked_for(self, tmp_path: Path, tmpdir: Path) -> None:
        text = "mkdir -p a/b; touch x.log y.log a/b/c.log big; " + DONE
        options = {"scratch": True, "stage_out": ["*.log", "a", "no*"]}
        b = script_bench(tmp_path, text, options)
        assert b.run() == (0, "")
        found = sorted(str(path.relative_to(b.files.work)) for path in b.files.work.rglob("*"))
        assert found == ["a", "a/b", "a/b/c.log", "x.log", "y.log"]
        assert "nothing matches 'no*' of 'stage_out'" in b.files.stderr.read_text()

    def test_what_a_failed_program_wrote_comes_back_too(self, tmp_path: Path, tmpdir: Path) -> None:
        b = script_bench(tmp_path, "echo diverged > state; exit 3", {"scratch": True})
        assert b.failure().exit_code == 3
        assert (b.files.work / "state").read_text() == "diverged\n"
        assert list(self.base(tmpdir).iterdir()) == []

    def test_told_to_end_it_leaves_nothing_on_the_node(self, tmp_path: Path, tmpdir: Path) -> None:
        b = script_bench(tmp_path, "touch started; exec sleep 60", {"scratch": True})
        worker = b.start()
        wait_for(lambda: list(self.base(tmpdir).glob("*/started")), "the script runs")
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=30)
        assert worker.returncode == 143
        assert list(self.base(tmpdir).iterdir()) == []

    def test_what_a_killed_worker_left_goes_with_the_next(self, tmp_path: Path, tmpdir: Path) -> None:
        b = script_bench(tmp_path, "echo $$ > pid.tmp; mv pid.tmp started; exec sleep 60", {"scratch": True})
        worker = b.start()
        wait_for(lambda: list(self.base(tmpdir).glob("*/started")), "the script runs")
        worker.kill()
        worker.communicate(timeout=30)
        (started,) = self.base(tmpdir).glob("*/started")
        os.kill(int(started.read_text()), signal.SIGKILL)
        (left,) = self.base(tmpdir).iterdir()
        held = self.base(tmpdir) / "held-by-another"
        held.mkdir()
        lock = os.open(held, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        (tmp_path / "next").mkdir()
        assert script_bench(tmp_path / "next", DONE, {"scratch": True}).run() == (0, "")
        assert not left.exists() and held.exists()
        os.close(lock)

    def test_no_disk_to_write_on(self, tmp_path: Path, tmpdir: Path) -> None:
        failure = script_bench(tmp_path, DONE, {"scratch": True}).failure(TMPDIR=f"{tmpdir}/gone")
        assert failure.kind is FailureKind.CANNOT_RUN
        assert f"{tmpdir}/gone" in failure.message and "Set TMPDIR on the node" in failure.message

    def test_somebody_elses_directory_in_the_place(self, tmp_path: Path, tmpdir: Path) -> None:
        self.base(tmpdir).symlink_to(tmp_path)
        failure = script_bench(tmp_path, DONE, {"scratch": True}).failure()
        assert "is not a directory of this user's alone" in failure.message

    def test_results_that_cannot_be_copied_cost_no_metrics(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        b = script_bench(
            tmp_path, "ulimit -S -f unlimited; head -c 3000000 /dev/zero > big; " + DONE, {"scratch": True}
        )
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        try:
            assert b.run() == (0, "")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert b.outcome().metrics == {"loss": (1.0, None)}
        said = b.files.stderr.read_text()
        assert f"cannot be copied back to {b.files.work}: File too large" in said
        assert "Its files are lost; the metrics are not." in said
        assert list(b.files.work.iterdir()) == []


@pytest.mark.container
def test_a_container_finds_decks_and_inputs_on_a_disk_of_the_node(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "node").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "node"))
    (files / "run.in.j2").write_text("x = {{ x }}\nout = {{ output_file }}\n")
    command = "set -e; cat run.in mesh/points; echo 7 > made-here; echo loss 1 > $AXSCHED_METRICS_FILE"
    options = {"engine": "charliecloud", "scratch": True}
    placed = {"templates": [files / "run.in.j2"], "inputs": [files / "mesh"], "stage_out": ["made*"]}
    image = make_rootfs(tmp_path / "image")
    b = bench(tmp_path, container_objective(image, ["sh", "-c", command], options | placed))
    assert b.run() == (0, "")
    assert b.files.stdout.read_text() == "x = 0.5\nout = /mnt/metrics.json\n0 0\n"
    assert [path.name for path in b.files.work.iterdir()] == ["made-here"]
    assert list((tmp_path / "node").glob("axsched-*/*")) == []
