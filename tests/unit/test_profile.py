"""Profiles: where they are found, and what is refused in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from axsched_hpc import SlurmRunner
from axsched_hpc.core.errors import ConfigError
from axsched_hpc.runners import driver_job
from axsched_hpc.slurm import profile, templates


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's directory of profiles."""
    monkeypatch.delenv(profile.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "axsched"
    folder.mkdir(parents=True, mode=0o700)
    return folder


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        profile.parse(text, "site.yaml")
    return str(caught.value)


def additional(runner: SlurmRunner) -> dict[str, object]:
    found: dict[str, object] = runner._jobs._parameters["slurm_additional_parameters"]  # type: ignore[attr-defined]
    return found


# ---------------------------------------------------------------- what it says


def test_a_time_is_a_time_and_no_number_of_base_60() -> None:
    found = profile.parse(
        "runner: {time_limit: 12:00:00, memory: 4G}\n"
        "driver: {time_limit: 2-00:00:00, cpus_per_task: 2, environment: {A: 010, B: 1.5, C: 2026-01-02}}\n",
        "site.yaml",
    )
    assert found.runner == {"time_limit": "12:00:00", "memory": "4G"}
    assert found.driver == {
        "time_limit": "2-00:00:00",
        "cpus_per_task": 2,
        "environment": {"A": "010", "B": 1.5, "C": "2026-01-02"},
    }


@pytest.mark.parametrize("text", ["", "# only comments\n", "runner:\ndriver:\n"])
def test_an_empty_profile_says_nothing(text: str) -> None:
    found = profile.parse(text, "site.yaml")
    assert (found.runner, found.driver) == ({}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "Profile site.yaml, line 1: this is no YAML: while parsing a flow"),
        ("- runner\n", "Profile site.yaml, line 1: a profile has the sections runner and driver"),
        ("x: 1\n", "Profile site.yaml, line 1: unknown section 'x'. Known: driver, runner."),
        ("\nrunners: {}\n", "Profile site.yaml, line 2: unknown section 'runners'. Did you mean 'runner'?"),
        ("runner: fast\n", "Profile site.yaml, line 1: runner takes keys with values, not 'fast'."),
        (
            "runner:\n  memory: 1G\n  memory: 2G\n",
            "Profile site.yaml, line 3: 'memory' is there already, in line 2.",
        ),
        (
            "runner: !!python/object/apply:os.system ['false']\n",
            "the tag !!python/object/apply:os.system is not known here; leave it out.",
        ),
        ("runner: {a: \x00}", "Profile site.yaml: this is no YAML: unacceptable character"),
    ],
)
def test_what_is_no_profile_is_refused_with_its_line(text: str, message: str) -> None:
    assert message in refused(text)


def test_an_alias_that_leads_back_to_itself_is_no_end(tmp_path: Path) -> None:
    path = written(tmp_path / "site.yaml", "runner: &a {config: *a}\n")
    with pytest.raises(ConfigError, match=r"line 1: an alias .* stands inside what it is an alias of"):
        SlurmRunner.from_profile(path)


def test_an_unknown_key_is_named_with_its_line_and_the_nearest(tmp_path: Path) -> None:
    path = written(
        tmp_path / "site.yaml", "runner:\n  memory: 1G\n  partitoin: main\ndriver:\n  agin: requeue\n"
    )
    with pytest.raises(ConfigError) as caught:
        SlurmRunner.from_profile(path)
    assert str(caught.value) == (
        f"Profile {path}, line 3: unknown key 'partitoin' in runner. Did you mean 'partition'?"
    )
    found = profile.load(path)
    assert found is not None
    with pytest.raises(ConfigError, match=r"line 5: unknown key 'agin' in driver\. Did you mean 'again'\?"):
        found.check("driver", driver_job.KEYS)


def test_a_wrong_value_names_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "site.yaml", "runner: {time_limit: soon}\n")
    with pytest.raises(ConfigError, match=r"time_limit is 'soon'.*\(With the profile .*site.yaml\.\)"):
        SlurmRunner.from_profile(path)


def test_overrides_count_more_and_the_config_is_merged(tmp_path: Path) -> None:
    path = written(
        tmp_path / "site.yaml",
        "runner:\n  partition: main\n  max_parallel: 3\n  config:\n    sbatch_options: {qos: low, nice: 1}\n",
    )
    runner = SlurmRunner.from_profile(path, partition="fast", config={"sbatch_options": {"qos": "high"}})
    assert runner.max_parallel == 3
    options = additional(runner)
    assert (options["partition"], options["qos"], options["nice"]) == ("fast", "high", 1)


# ---------------------------------------------------------------- where it is found


def test_without_any_there_is_none() -> None:
    assert profile.load() is None
    assert SlurmRunner.from_profile(max_parallel=2).max_parallel == 2


def test_the_order_of_places(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(home / "default.yaml", "runner: {partition: default}\n")
    mine = written(home / "gpu.yaml", "runner: {partition: mine}\n")
    there = written(tmp_path / "site.yaml", "runner: {partition: there}\n")

    def partition(name: object = None) -> object:
        found = profile.load(name)  # type: ignore[arg-type]
        assert found is not None
        return found.runner["partition"]

    assert partition() == "default"
    monkeypatch.setenv(profile.VARIABLE, str(there))
    assert partition() == "there"
    assert partition("gpu") == "mine"
    mine.unlink()
    assert partition("gpu") == "gpu"
    monkeypatch.chdir(tmp_path)
    assert partition("site.yaml") == partition("./site.yaml") == partition(there) == "there"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert partition("~/site.yaml") == "there"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert profile.user_directory() == tmp_path / ".config" / "axsched"


def test_an_unknown_name_is_answered_with_the_nearest(home: Path) -> None:
    written(home / "mysite.yaml", "")
    with pytest.raises(ConfigError, match=r"There is no profile 'mysit'.* Did you mean 'mysite'\?"):
        profile.load("mysit")
    with pytest.raises(ConfigError, match=r"other\.yaml cannot be read: No such file"):
        profile.load("./other.yaml")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_profile_that_others_can_write_is_refused(home: Path, mode: int) -> None:
    path = written(home / "site.yaml", "runner: {}\n", mode)
    for name in ("site", str(path)):
        with pytest.raises(ConfigError, match=r"can be written by others.*chmod go-w "):
            profile.load(name)


def test_a_profile_of_a_group_may_be_named_by_its_path(tmp_path: Path) -> None:
    path = written(tmp_path / "site.yaml", "runner: {}\n", 0o664)
    assert profile.load(path) is not None
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="can be written by others"):
        profile.load(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        profile.load(tmp_path / "site.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="no text in UTF-8"):
        profile.load(tmp_path / "b.yaml")


@pytest.mark.parametrize("name", templates.profile_names())
def test_the_built_in_profiles_are_taken(name: str) -> None:
    found = profile.load(name)
    assert found is not None and found.runner and found.driver
    assert SlurmRunner.from_profile(name).max_parallel == found.runner["max_parallel"]
    assert driver_job.DriverJob.from_dict(found.driver).partition == found.driver["partition"]


def test_there_is_a_profile_for_each_kind_of_queue() -> None:
    assert templates.profile_names() == ["cpu", "debug", "gpu", "preemptible", "whole-node"]
