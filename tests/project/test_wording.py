"""While a file runs, messages speak of the file's keys."""

from __future__ import annotations

import ast
import logging
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

import axsched_hpc
from axsched_hpc.core.errors import ConfigError, ExperimentMismatchError, FailureRateError
from axsched_hpc.project.wording import Words

WORDS = Words("axsched run bowl.yaml")


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (
            "raise config['failure_rate'] or config['max_failures'].",
            "raise config.failure_rate or config.max_failures.",
        ),
        ("config['job_output_dir'] is '/x', which", "directory is '/x', which"),
        ("Set config['synchronous'] = False.", "Set parallel.synchronous: false."),
        ("Correct it in config['sbatch_options'].", "Correct it in runner.config.sbatch_options."),
        ("set SlurmRunner(partition=...).", "set runner.partition."),
        ("set config={'sbatch_options': {'qos': ...}}.", "set runner.config.sbatch_options.qos."),
        ("lists your accounts; set account=...", "lists your accounts; set runner.account"),
        ("module, or use LocalRunner() instead.", "module, or use `runner: local` instead."),
        ("script_options['copy'] has two files", "objective.copy has two files"),
        ("start the same script again once", "start `axsched run bowl.yaml` again once"),
        ("Start the script again inside", "Start `axsched run bowl.yaml` again inside"),
        ("since noon; or use another job_output_dir.", "since noon; or name another directory in the file."),
        (
            "Attach the same trials first, open the directory with AxScheduler.resume(...), or choose "
            "another job_output_dir.",
            "Attach the same trials first, or name another directory in the file.",
        ),
        ("or by `salloc --nodes=2 python SCRIPT`", "or by `salloc --nodes=2 axsched run`"),
        ("KeyError: 'job_output_dir_2' of a program, config[0]", None),
    ],
)
def test_sentences(said: str, heard: str | None) -> None:
    assert WORDS(said) == (said if heard is None else heard)


def test_errors_and_lines_of_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("axsched_hpc.test_wording")
    with pytest.raises(FailureRateError, match=r"raise config\.failure_rate$") as caught, WORDS.spoken(log):
        log.warning("%s. %s", "Over", "Choose another job_output_dir")
        raise FailureRateError("5 of 6: raise config['failure_rate']", messages=["trial 0: config['x']"])
    assert caught.value.messages == ("trial 0: config['x']",)  # what programs said stays as it was
    assert caplog.messages == ["Over. Name another directory in the file"]
    log.warning("config['seed']")
    assert caplog.messages[-1] == "config['seed']"
    with pytest.raises(ExperimentMismatchError, match=r"1 there, 2 in the file$"), WORDS.spoken(log):
        raise ExperimentMismatchError("x: 1 there, 2 here")
    with pytest.raises(ConfigError, match=r"^Nothing to say$"), WORDS.spoken(log):
        raise ConfigError("Nothing to say")


#: What only who writes a script has to do with.
_PYTHON = re.compile(
    r"config\[['\"]|job_output_dir|(Slurm|Local)Runner[(:]|_options\[|AxScheduler|set_\w+_objective|scheduler\.\w+\("
)
#: Modules that tell only such people, or where a file has been checked before it runs.
_OF_SCRIPTS = (
    *("ax_bridge/asking", "ax_bridge/files", "ax_bridge/inputs", "ax_bridge/refusals", "ax_bridge/replay"),
    *("ax_bridge/stopping", "ax_bridge/unchanged", "ax_plugin/*", "commands/*", "doctor/*", "project/*"),
    *("scheduler/scheduler", "scheduler/notebook", "core/config", "runners/submitit_runner"),
    "reporting/reading",
)


def _sentences(module: Path) -> list[str]:
    """What a module can say: its strings of several words, but for docstrings."""
    tree = ast.parse(module.read_text())
    of_others = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    of_others |= {
        id(part) for each in ast.walk(tree) if isinstance(each, ast.JoinedStr) for part in each.values
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in of_others:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return [each for each in found if " " in each]


def test_no_sentence_of_the_layers_below_is_left_out() -> None:
    root = Path(axsched_hpc.__file__).parent
    left = [
        f"{name}: {heard}"
        for module in sorted(root.rglob("*.py"))
        if _PYTHON.search(module.read_text())
        for name in [str(module.relative_to(root).with_suffix(""))]
        if not any(fnmatch(name, pattern) for pattern in _OF_SCRIPTS)
        for heard in map(WORDS, _sentences(module))
        if _PYTHON.search(heard)
    ]
    assert left == []
