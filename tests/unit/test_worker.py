"""The worker from its command line to its files, as a real process."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from axsched_hpc.core.states import FailureKind
from axsched_hpc.io import claim
from axsched_hpc.io.claim import Claimer
from axsched_hpc.objectives.spec import script_objective
from tests.unit.worker_kit import TOKEN, alive, bench, script_bench, wait_for

WRITE_METRICS = 'echo \'{"loss": 0.25}\' > "$AXSCHED_METRICS_FILE"\n'


class TestFunction:
    def test_metrics_are_published(self, tmp_path: Path) -> None:
        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            print("computing", parameters)  # noqa: T201 - its place is checked below
            return {"loss": (parameters["x"] ** 2, 0.01), "n": parameters["n"]}

        b = bench(tmp_path, objective)
        assert b.run() == (0, "")
        found = b.outcome()
        assert found.metrics == {"loss": (0.25, 0.01), "n": (3.0, None)}
        assert (found.trial, found.attempt, found.token, found.host) == (3, 1, TOKEN, os.uname().nodename)
        assert found.started <= found.ended and found.max_rss_mb is not None and found.max_rss_mb > 1
        assert json.loads(b.files.metrics.read_text()) == {"loss": [0.25, 0.01], "n": 3.0}
        assert b.files.stdout.read_text() == "computing {'x': 0.5, 'n': 3}\n"
        assert stat.S_IMODE(b.files.stdout.stat().st_mode) == 0o600

    def test_all_kinds_of_values_arrive(self, tmp_path: Path) -> None:
        given = {"a": True, "b": None, "c": "ü '\"\n$(id)", "d": -1, "e": 1e-9}
        b = bench(tmp_path, lambda p: {"right": int(p == given)}, given)
        assert b.run()[0] == 0
        assert b.outcome().metrics == {"right": (1.0, None)}

    def test_an_exception_names_its_place(self, tmp_path: Path) -> None:
        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            raise ValueError("learning rate too high")

        failure = bench(tmp_path, objective).failure()
        assert failure.kind is FailureKind.EXCEPTION
        assert failure.message.startswith("ValueError: learning rate too high (in objective, ")
        assert "test_worker.py, line " in failure.message
        assert failure.stderr_tail[-1] == "ValueError: learning rate too high"
        assert not any("function.py" in line for line in failure.stderr_tail)

    @pytest.mark.parametrize(
        ("argument", "code", "words"),
        [(7, 7, "with code 7 instead"), (None, 0, "with code 0 instead"), ("no data", 1, "code 1 (no data)")],
    )
    def test_sys_exit_is_a_failure(self, tmp_path: Path, argument: Any, code: int, words: str) -> None:
        failure = bench(tmp_path, lambda p: sys.exit(argument)).failure()
        assert (failure.kind, failure.exit_code) == (FailureKind.EXIT_CODE, code)
        assert words in failure.message

    @pytest.mark.parametrize(
        ("returned", "words"),
        [
            (None, "where a mapping from metric names to numbers belongs"),
            ({}, "holds no metric at all"),
            ({"loss": float("nan")}, "'loss'"),
            ({"loss": "0.5"}, "not a number"),
        ],
    )
    def test_a_wrong_return_value(self, tmp_path: Path, returned: Any, words: str) -> None:
        failure = bench(tmp_path, lambda p: returned).failure()
        assert failure.kind is FailureKind.BAD_METRICS
        assert failure.message.startswith("The return value of the function ")
        assert words in failure.message

    def test_a_function_that_cannot_be_loaded(self, tmp_path: Path) -> None:
        code = (
            "class Gone:\n    def __reduce__(self):\n        return (__import__, ('no_such_module_here',))\n"
        )
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(code, names)
        gone = names["Gone"]()
        failure = bench(tmp_path, lambda p: {"x": gone}).failure()
        assert failure.kind is FailureKind.CANNOT_RUN
        assert "cannot be loaded in the job: ModuleNotFoundError: No module named" in failure.message

    def test_sigterm_ends_the_process_by_that_signal(self, tmp_path: Path) -> None:
        started = tmp_path / "started"

        def objective(parameters: dict[str, Any]) -> dict[str, Any]:
            started.write_text("")
            time.sleep(60)
            return {"x": 1}

        b = bench(tmp_path, objective)
        worker = b.start()
        wait_for(started.exists, "the function runs")
        worker.terminate()
        worker.communicate(timeout=10)
        assert worker.returncode == -signal.SIGTERM
        assert not b.files.result.exists()


class TestScript:
    def test_python_script_with_all_options(self, tmp_path: Path) -> None:
        (tmp_path / "sibling.py").write_text("FACTOR = 2\n")
        (tmp_path / "table.csv").write_text("5\n")
        text = """
import json, os, pathlib, sys, sibling
params = json.load(open(os.environ["AXSCHED_PARAMETERS_FILE"]))
beside = int(pathlib.Path(__file__).with_name("table.csv").read_text())
seen = [sys.argv[1:], os.getcwd(), os.environ["MODE"], os.environ["AXSCHED_TRIAL"],
        os.environ["AXSCHED_ATTEMPT"], os.environ["AXSCHED_WORKDIR"], os.environ["AXSCHED_METRICS_FILE"]]
print(json.dumps(seen))
metrics = {"loss": [params["x"] * sibling.FACTOR * beside, 0.5]}
json.dump(metrics, open(os.environ["AXSCHED_METRICS_FILE"], "w"))
"""
        options = {
            "args": ["--name", "a {name} b", "{trial}-{attempt}", "{metrics}", '{"x": {x}}', "{{name}}"],
            "environment": {"MODE": "fast mode"},
            "copy": [tmp_path / "table.csv"],
        }
        given = {"x": 1.5, "name": "it's $(id)\n; ü"}
        b = script_bench(tmp_path, text, options, name="train.py", parameters=given)
        assert b.run() == (0, "")
        assert b.outcome().metrics == {"loss": (15.0, 0.5)}
        arguments, directory, mode, trial, attempt, workdir, metrics = json.loads(b.files.stdout.read_text())
        assert arguments == [
            "--name",
            "a it's $(id)\n; ü b",
            "3-1",
            str(b.files.metrics),
            '{"x": 1.5}',
            "{name}",
        ]
        assert directory == workdir == str(b.files.work)
        assert (mode, trial, attempt, metrics) == ("fast mode", "3", "1", str(b.files.metrics))

    @pytest.mark.parametrize("form", ["env", "toml", "yaml"])
    def test_parameter_formats(self, tmp_path: Path, form: str) -> None:
        b = script_bench(
            tmp_path,
            'case "$AXSCHED_PARAMETERS_FILE" in *.' + form + ") echo loss 1;; esac > "
            '"$AXSCHED_METRICS_FILE"; cat "$AXSCHED_PARAMETERS_FILE"\n',
            {"parameters_format": form},
        )
        assert b.run()[0] == 0
        assert b.outcome().metrics == {"loss": (1.0, None)}
        assert "0.5" in b.files.stdout.read_text()

    def test_working_directory_and_interpreter(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        b = script_bench(
            tmp_path,
            "pwd\n" + WRITE_METRICS,
            {"interpreter": "sh -e", "working_directory": tmp_path / "data"},
            name="deck.in",
        )
        assert b.run()[0] == 0
        assert b.files.stdout.read_text().strip() == str(tmp_path / "data")

    def test_lines_of_a_program_without_json(self, tmp_path: Path) -> None:
        text = "#!/bin/sh\necho 'loss 0.5 0.1' > $AXSCHED_METRICS_FILE\n"
        b = script_bench(
            tmp_path,
            text.replace("$AXSCHED_METRICS_FILE", '"$AXSCHED_METRICS_FILE"'),
            name="solver",
            mode=0o755,
        )
        assert b.run()[0] == 0
        assert b.outcome().metrics == {"loss": (0.5, 0.1)}

    def test_exit_code_with_the_last_lines(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, "seq 1 30 >&2; echo 'no convergence' >&2; exit 3\n")
        failure = b.failure()
        assert (failure.kind, failure.exit_code) == (FailureKind.EXIT_CODE, 3)
        assert failure.message == (
            f"{tmp_path}/train.sh exited with code 3; "
            f"the last lines of {b.files.stderr}: 29 | 30 | no convergence"
        )
        assert failure.stderr_tail == (*(str(n) for n in range(12, 31)), "no convergence")
        assert failure.node == os.uname().nodename

    def test_a_long_log_is_read_from_its_end(self, tmp_path: Path) -> None:
        b = script_bench(
            tmp_path, "yes 0123456789012345678901234567890123456789 | head -n 500000 >&2; exit 1\n"
        )
        assert b.failure().stderr_tail == ("0123456789012345678901234567890123456789",) * 20

    def test_a_signal_inside_a_shell_is_named(self, tmp_path: Path) -> None:
        failure = script_bench(tmp_path, "sh -c 'kill -SEGV $$'\nexit $?\n").failure()
        assert failure.kind is FailureKind.EXIT_CODE
        assert "exited with code 139 (in a shell or container: SIGSEGV)" in failure.message

    @pytest.mark.parametrize("name", ["SEGV", "ABRT", "KILL"])
    def test_a_crash_names_the_signal(self, tmp_path: Path, name: str) -> None:
        failure = script_bench(tmp_path, f"kill -{name} $$\n").failure()
        assert failure.kind is FailureKind.CRASHED
        assert failure.signal == getattr(signal, f"SIG{name}")
        assert f"was killed by SIG{name}" in failure.message
        # What to do is the driver's to say: it knows what the job asked for.
        assert failure.hint == ""

    def test_a_timeout_ends_the_whole_group(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, f"sleep 60 & echo $! > '{tmp_path}/pid'; wait\n", {"timeout": 0.5})
        failure = b.failure()
        assert failure.kind is FailureKind.OBJECTIVE_TIMEOUT
        assert failure.message.startswith(
            f"{tmp_path}/train.sh ran longer than script_options['timeout'] = 0.5 s and was ended."
        )
        assert not alive(int((tmp_path / "pid").read_text()))

    def test_nothing_is_left_behind(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, f"sleep 60 & echo $! > '{tmp_path}/pid'\n" + WRITE_METRICS)
        assert b.run()[0] == 0
        wait_for(lambda: not alive(int((tmp_path / "pid").read_text())), "the background process has ended")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (
                "true\n",
                'exited with code 0, but wrote no metrics file {path}; write {{"metric": value}} to the path',
            ),
            (': > "$AXSCHED_METRICS_FILE"\n', "{path} is empty."),
            ('printf \'{{"loss": 0.\' > "$AXSCHED_METRICS_FILE"\n', "{path} is not complete JSON"),
            ('echo \'{{"loss": NaN}}\' > "$AXSCHED_METRICS_FILE"\n', "{path}: metric 'loss'"),
            ('echo \'{{"loss": "low"}}\' > "$AXSCHED_METRICS_FILE"\n', "{path}: metric 'loss' is"),
            ("printf '\\377\\376' > \"$AXSCHED_METRICS_FILE\"\n", "{path} is not text."),
            ('mkdir "$AXSCHED_METRICS_FILE"\n', "{path} cannot be read: Is a directory."),
        ],
    )
    def test_bad_metric_files(self, tmp_path: Path, text: str, words: str) -> None:
        b = script_bench(tmp_path, text.replace("{{", "{").replace("}}", "}"))
        failure = b.failure()
        assert failure.kind is FailureKind.BAD_METRICS
        assert words.format(path=b.files.metrics) in failure.message

    def test_metrics_of_an_earlier_execution_do_not_count(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, "true\n")
        b.files.metrics.write_text('{"loss": 1}')
        assert "wrote no metrics file" in b.failure().message

    @pytest.mark.parametrize(
        ("name", "text", "options", "mode", "words"),
        [
            (
                "s.sh",
                "true\n",
                {"interpreter": "no-such-julia"},
                0o644,
                "there is no program 'no-such-julia' there",
            ),
            (
                "solver",
                "#!/no/such/sh\n",
                {},
                0o755,
                "the interpreter in its first line (#!/no/such/sh) is not there",
            ),
            ("solver", "\x01\x02 not a program", {}, 0o755, "neither a program of this machine nor"),
            ("s.sh", "true\n", {"interpreter": "/etc/passwd"}, 0o644, "/etc/passwd may not be executed"),
            (
                "s.sh",
                "true\n",
                {"working_directory": "/no/such/place"},
                0o644,
                "/no/such/place, which is no directory",
            ),
            ("s.sh", "true\n", {"args": ["x" * 3_000_000]}, 0o644, "arguments and environment are too long"),
        ],
    )
    def test_what_cannot_be_started(
        self, tmp_path: Path, name: str, text: str, options: dict[str, Any], mode: int, words: str
    ) -> None:
        failure = script_bench(tmp_path, text, options, name=name, mode=mode).failure()
        assert failure.kind is FailureKind.CANNOT_RUN
        assert words in failure.message

    def test_a_parameter_that_the_format_cannot_hold(self, tmp_path: Path) -> None:
        failure = script_bench(
            tmp_path, "true\n", {"parameters_format": "env"}, parameters={"a-b": 1}
        ).failure()
        assert failure.kind is FailureKind.CANNOT_RUN
        assert "Parameter 'a-b' cannot stand in a file of parameters_format 'env'" in failure.message

    def test_sh_uses_its_first_line_when_executable(self, tmp_path: Path) -> None:
        text = (
            f"#!{sys.executable}\nimport os\nopen(os.environ['AXSCHED_METRICS_FILE'], 'w').write('loss 1')\n"
        )
        b = script_bench(tmp_path, text, mode=0o755)
        assert b.run()[0] == 0


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_no_process_survives_and_no_outcome_is_published(self, tmp_path: Path, number: int) -> None:
        pid = tmp_path / "pid"
        text = f'sh -c \'sleep 60 & echo $! > "{pid}.part"; mv "{pid}.part" "{pid}"; wait\' & wait\n'
        b = script_bench(tmp_path, text)
        worker = b.start()
        wait_for(pid.exists, "the grandchild runs")
        worker.send_signal(number)
        worker.communicate(timeout=30)
        assert worker.returncode == 128 + number
        assert not alive(int(pid.read_text()))
        assert not b.files.result.exists() and not b.layout.notice(3, 1).exists()
        assert f"was ended by {signal.Signals(number).name}, without an outcome" in b.files.stderr.read_text()

    def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_period(self, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        text = f"trap '' TERM\necho $$ > '{pid}.part'; mv '{pid}.part' '{pid}'\nwhile :; do sleep 1; done\n"
        b = script_bench(tmp_path, text)
        worker = b.start()
        wait_for(pid.exists, "the script runs")
        before = time.monotonic()
        worker.terminate()
        worker.communicate(timeout=30)
        assert worker.returncode == 143
        assert 9 < time.monotonic() - before < 14
        assert not alive(int(pid.read_text()))

    def test_a_script_that_obeyed_first_did_not_fail_by_itself(self, tmp_path: Path) -> None:
        # The scheduler signals the script before the worker.
        pid = tmp_path / "pid"
        b = script_bench(tmp_path, f"echo $$ > '{pid}.part'; mv '{pid}.part' '{pid}'\nexec sleep 60\n")
        worker = b.start()
        wait_for(pid.exists, "the script runs")
        script = int(pid.read_text())
        os.kill(script, signal.SIGTERM)
        wait_for(lambda: not alive(script), "the script has ended")
        worker.terminate()
        worker.communicate(timeout=30)
        assert worker.returncode == 143
        assert not b.files.result.exists()

    def test_a_script_that_uses_its_grace_period_publishes_nothing(self, tmp_path: Path) -> None:
        ready, saved = tmp_path / "ready", tmp_path / "saved"
        on_term = f"trap 'sleep 0.5; touch \"{saved}\"; exit 0' TERM\n"
        text = f"{on_term}touch '{ready}'\nwhile :; do sleep 0.1; done\n"
        b = script_bench(tmp_path, text)
        worker = b.start()
        wait_for(ready.exists, "the script runs")
        worker.terminate()
        worker.communicate(timeout=30)
        assert worker.returncode == 143
        assert saved.exists() and not b.files.result.exists()


class TestClaims:
    def test_of_two_workers_exactly_one_runs(self, tmp_path: Path) -> None:
        script = tmp_path / "train.sh"
        script.write_text(f"echo ran >> '{tmp_path}/log'\n" + WRITE_METRICS)
        for each in range(20):
            (tmp_path / str(each)).mkdir()
            b = bench(tmp_path / str(each), script_objective(script))
            workers = [b.start(), b.start()]
            said = [worker.communicate(timeout=30)[1] for worker in workers]
            assert [worker.returncode for worker in workers] == [0, 0]
            # The second either met the first's claim, or its outcome.
            assert sum("nothing to do" in text or "announced again" in text for text in said) == 1
            assert b.outcome().metrics == {"loss": (0.25, None)}
        assert (tmp_path / "log").read_text() == "ran\n" * 20

    def test_a_foreign_claim_is_named(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, "touch ran\n")
        other = claim.mine(TOKEN, Claimer.WORKER, environment={"SLURM_JOB_ID": "41"})
        assert claim.take(b.files, other)
        code, said = b.run(SLURM_JOB_ID="42")
        assert code == 0
        assert said == (
            f"axsched worker: trial 3, attempt 1 belongs to process {os.getpid()} on {other.host}, job 41; "
            "nothing to do.\n"
        )
        assert not b.files.work.exists() and not b.files.result.exists()

    def test_an_attempt_closed_by_the_driver(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, "touch ran\n")
        assert claim.close(b.files, "never submitted")
        code, said = b.run()
        assert code == 0
        assert said == (
            "axsched worker: trial 3, attempt 1 was closed by the driver (never submitted); nothing to do.\n"
        )
        assert not b.files.work.exists() and not b.files.result.exists()

    def test_a_requeued_job_takes_over(self, tmp_path: Path) -> None:
        marker = tmp_path / "first"
        b = script_bench(
            tmp_path,
            f"if mkdir '{marker}' 2>/dev/null; then kill -KILL $PPID; exit 1; fi\n" + WRITE_METRICS,
        )
        slurm = {"SLURM_ARRAY_JOB_ID": "41", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "42"}
        first = b.start(**slurm)
        first.communicate(timeout=30)
        assert first.returncode == -signal.SIGKILL and not b.files.result.exists()
        assert b.run(**slurm)[0] == 0  # no restart: another execution of the same job has it
        assert not b.files.result.exists()
        assert b.run(**slurm, SLURM_RESTART_COUNT="2") == (0, "")
        found = b.outcome()
        assert (found.metrics, found.job) == ({"loss": (0.25, None)}, "41_0")

    def test_a_job_requeued_after_its_outcome_computes_nothing(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, f"echo ran >> '{tmp_path}/log'\n" + WRITE_METRICS)
        assert b.run(SLURM_JOB_ID="42")[0] == 0
        first = b.outcome()
        b.layout.notice(3, 1).unlink()
        code, said = b.run(SLURM_JOB_ID="42", SLURM_RESTART_COUNT="1")
        assert code == 0
        assert (
            said == "axsched worker: trial 3, attempt 1 has ended already; its outcome is announced again.\n"
        )
        assert b.outcome() == first
        assert (tmp_path / "log").read_text() == "ran\n"


class TestCommandLine:
    def test_the_index_comes_from_the_array_task(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, WRITE_METRICS)
        command = [sys.executable, "-m", "axsched_hpc.worker", str(b.manifest)]
        worker = subprocess.run(command, env=b.environment(SLURM_ARRAY_TASK_ID="0"), check=False, timeout=30)
        assert worker.returncode == 0
        assert b.outcome().metrics == {"loss": (0.25, None)}

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("1",), "has 1 attempts, counted from 0; there is none of index 1."),
            (("first",), "the index 'first' is not a whole number."),
            (("-1",), "the index '-1' is not a whole number."),
            (("0", "0"), "usage: python -m axsched_hpc.worker MANIFEST [INDEX]"),
        ],
    )
    def test_a_wrong_index(self, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
        code, said = script_bench(tmp_path, WRITE_METRICS).run(*arguments)
        assert code == 2 and said.count("\n") == 1
        assert words in said

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (
                None,
                "cannot be read: No such file or directory. Was the experiment directory moved or removed?",
            ),
            ("{", "is not JSON"),
            ('{"format": 99}', "has format 99, written by a later version of axsched-hpc"),
            ('{"format": 1, "token": "a"}', "lacks the field 'attempts'."),
        ],
    )
    def test_a_wrong_manifest(self, tmp_path: Path, content: str | None, words: str) -> None:
        b = script_bench(tmp_path, WRITE_METRICS)
        b.manifest.unlink()
        if content is not None:
            b.manifest.write_text(content)
        code, said = b.run()
        assert code == 2 and said.count("\n") == 1
        assert words in said and str(b.manifest) in said

    def test_a_missing_attempt_directory(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, WRITE_METRICS)
        b.files.root.rmdir()
        code, said = b.run()
        assert code == 2
        assert said.startswith("axsched worker: trial 3, attempt 1 cannot be claimed: ")


class TestTrouble:
    def test_a_changed_objective_is_refused(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, WRITE_METRICS)
        (directory,) = b.layout.objective.iterdir()
        (directory / "files" / "train.sh").write_text("rm -rf everything\n")
        failure = b.failure()
        assert failure.kind is FailureKind.CANNOT_RUN
        assert "train.sh is missing, new or changed" in failure.message

    def test_missing_parameters(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, WRITE_METRICS)
        b.layout.parameters(3).unlink()
        failure = b.failure()
        assert failure.kind is FailureKind.CANNOT_RUN
        assert str(b.layout.parameters(3)) in failure.message

    def test_an_outcome_that_cannot_be_published_is_tried_again(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, WRITE_METRICS)
        b.layout.inbox.rmdir()
        b.layout.inbox.write_text("in the way")
        worker = b.start()
        wait_for(
            lambda: b.files.stderr.exists() and "cannot be published yet" in b.files.stderr.read_text(),
            "it waits",
        )
        worker.terminate()  # the result is computed: a signal must not lose it
        b.layout.inbox.unlink()
        worker.communicate(timeout=30)
        assert worker.returncode == 0
        assert b.outcome().metrics == {"loss": (0.25, None)}

    def test_an_outcome_that_is_never_published_stands_in_the_log(self, tmp_path: Path) -> None:
        b = script_bench(tmp_path, WRITE_METRICS)
        b.layout.inbox.rmdir()
        b.layout.inbox.write_text("in the way")
        code = (
            "import sys; from axsched_hpc import worker; worker.LIFETIME = 0.1; "
            "sys.exit(worker.main(sys.argv[1:]))"
        )
        command = [sys.executable, "-c", code, str(b.manifest), "0"]
        worker = subprocess.run(command, env=b.environment(), check=False, timeout=30)
        assert worker.returncode == 3
        assert '"loss"' in b.files.stderr.read_text().partition("could not be published")[2]

    def test_inside_another_process_output_and_signals_stay_as_they_are(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        from axsched_hpc import worker

        before = signal.getsignal(signal.SIGTERM)
        b = script_bench(tmp_path, "echo from the script\n" + WRITE_METRICS)
        assert worker.run(b.manifest, 0, redirect=False) == 0
        assert signal.getsignal(signal.SIGTERM) is before
        assert b.outcome().metrics == {"loss": (0.25, None)}
        assert b.files.stdout.read_text() == "from the script\n"
        assert capfd.readouterr() == ("", "")


def test_a_script_job_imports_nothing_heavy(tmp_path: Path) -> None:
    b = script_bench(tmp_path, WRITE_METRICS)
    code = (
        "import sys; from axsched_hpc import worker; code = worker.main(sys.argv[1:]);"
        "print('\\n'.join(sys.modules)); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, str(b.manifest), "0"]
    assert subprocess.run(command, env=b.environment(), check=False, timeout=30).returncode == 0
    loaded = set(b.files.stdout.read_text().split())
    ours = {name for name in loaded if name.startswith("axsched_hpc.")}
    heavy = {
        "ax",
        "torch",
        "numpy",
        "pandas",
        "submitit",
        "rich",
        "click",
        "yaml",
        "cloudpickle",
        "asyncio",
        "tempfile",
        "dataclasses",
        "inspect",
    }
    assert "axsched_hpc.objectives.script" in loaded
    assert not loaded & heavy
    assert not ours & {
        "axsched_hpc.core.events",
        "axsched_hpc.objectives.containers",
        "axsched_hpc.objectives.spec",
    }
