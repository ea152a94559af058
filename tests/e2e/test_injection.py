"""Parameters and paths are data: whatever they hold reaches the program unchanged, and nothing of it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ax import ChoiceParameterConfig, Client

from axsched_hpc import AxScheduler, LocalRunner, SlurmRunner
from axsched_hpc.core.states import TrialState
from axsched_hpc.reporting.reading import read_experiment
from tests.containers.rootfs import make_rootfs
from tests.slurm.harness import Cluster

#: What a shell, a path, a pattern or a parser could take for its own.
NASTY = (
    "-rf",
    "--help",
    "a b  c ",
    "'single' \"double\" `touch made`",
    "$(touch made) ${HOME} $HOME",
    "one\ntwo\n",
    "; touch made & | > made < * ? [a] ~ !",
    "back\\slash \\n %j %A {x} {{ x }} {% x %}",
    "ünï çødé ☃ \u202e",
    "",
)
PLACE = "-o dd $(touch made) 'q' \"d\" `touch made`; ü {word} ,:="

#: Writes its arguments and variables to files in the working directory, each byte as it came.
PROGRAM = """\
import json, os, sys
with open("seen.json", "w") as file:
    seen = {"argv": sys.argv[1:], "A": os.environ["A"], "word": os.environ["AXSCHED_PARAMETER_word"]}
    json.dump(seen | {"deck": open("-deck $(touch made)").read()}, file)
with open(os.environ["AXSCHED_METRICS_FILE"], "w") as file:
    json.dump({"loss": 1.0}, file)
"""


def client() -> Client:
    made = Client(random_seed=1)
    made.configure_experiment(
        name="nasty",
        parameters=[
            ChoiceParameterConfig(name="word", values=list(NASTY), parameter_type="str", is_ordered=False)
        ],
    )
    made.configure_optimization(objective="-loss")
    return made


def run(scheduler: AxScheduler) -> dict[int, str]:
    """Run each word once; the words by trial."""
    with scheduler, scheduler.batch_trial_context() as batch:
        words = {batch.add_trial({"word": word}): word for word in NASTY}
    scheduler.wait()
    return words


def nothing_was_made(*places: Path) -> bool:
    return not [path for place in places for path in place.rglob("made")]


def check_script(tmp_path: Path, runner: Any, place: str) -> None:
    home = tmp_path / place
    home.mkdir()
    script = home / "-run $(touch made).py"
    script.write_text(PROGRAM)
    (home / "-deck $(touch made).j2").write_text("<{{ word }}>")
    scheduler = AxScheduler(
        client(), runner, {"job_output_dir": home / "run", "monitoring_interval": 1, "poll_interval": 0.2}
    )
    scheduler.set_script_objective(
        script,
        {
            "interpreter": [sys.executable],
            "args": ["--word", "{word}", "<{word}>", "-- {trial}"],
            "environment": {"A": place},
            "templates": [home / "-deck $(touch made).j2"],
        },
    )
    words = run(scheduler)
    experiment = read_experiment(home / "run")
    assert +experiment.ledger.counts == {TrialState.COMPLETED: len(NASTY)}
    for trial, word in words.items():
        seen = json.loads(
            (home / "run" / "trials" / f"{trial:05d}" / "attempt-1" / "work" / "seen.json").read_text()
        )
        assert seen.pop("argv") == ["--word", word, f"<{word}>", f"-- {trial}"]
        assert seen == {"A": place, "word": word, "deck": f"<{word}>"}
    assert nothing_was_made(tmp_path, home / "run", Path.cwd())


def test_a_script_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_script(tmp_path, LocalRunner(max_parallel=4), PLACE + "\n%j \\ ")


@pytest.mark.slurm
def test_a_script_on_slurm(tmp_path: Path, noacct_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_script(tmp_path, SlurmRunner(time_limit=5, memory="200M"), PLACE)


@pytest.mark.slurm
@pytest.mark.container
def test_a_container_on_slurm(
    tmp_path: Path, noacct_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Colons and commas are the engines' own; the scheduler says so.
    place = PLACE.replace(",", "").replace(":", "")
    home = tmp_path / place
    image, volume = make_rootfs(home / "-image $(touch made)"), home / "-volume $(touch made)"
    volume.mkdir()
    (volume / "-f").write_text("from the volume")
    scheduler = AxScheduler(
        client(),
        SlurmRunner(time_limit=5, memory="200M"),
        {"job_output_dir": home / "run", "monitoring_interval": 1, "poll_interval": 0.2},
    )
    program = (
        'printf "%s\\0" "$@" "$A" "$AXSCHED_PARAMETER_word" >seen; cat ./-f /data/-f >file; '
        'echo "loss 1" >"$AXSCHED_METRICS_FILE"'
    )
    scheduler.set_container_objective(
        image,
        ["sh", "-c", program, "sh", "{word}", "<{word}>"],
        {
            "engine": "charliecloud",
            "env_vars": {"A": place},
            "volumes": {volume: "/data"},
            "inputs": [volume / "-f"],
        },
    )
    words = run(scheduler)
    assert +read_experiment(home / "run").ledger.counts == {TrialState.COMPLETED: len(NASTY)}
    for trial, word in words.items():
        work = home / "run" / "trials" / f"{trial:05d}" / "attempt-1" / "work"
        assert (work / "seen").read_text() == f"{word}\0<{word}>\0{place}\0{word}\0"
        assert (work / "file").read_text() == "from the volume" * 2
    assert nothing_was_made(tmp_path)
