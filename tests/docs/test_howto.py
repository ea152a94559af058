"""The Python, YAML and batch scripts of the how-to pages are right, and so is what they show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from axsched_hpc import SlurmRunner
from axsched_hpc.core.config import SchedulerConfig
from axsched_hpc.io.layout import Layout
from axsched_hpc.project.model import Project
from axsched_hpc.project.place import made
from axsched_hpc.project.reading import load
from axsched_hpc.runners.base import Batch, BatchAttempt
from tests import scripts
from tests.docs.shown import axsched, same, same_words, shown

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(set((DOCS / "howto").glob("*.md")) - {DOCS / "howto/index.md"}),
    DOCS / "explanation/parallelism.md",
    DOCS / "tutorial/slurm.md",
]


def _script(runner: Any, trials: int = 8) -> list[str]:
    layout = Layout.at("outputs")
    attempts = tuple(BatchAttempt(trial, 1, layout.attempt(trial, 1).root) for trial in range(trials))
    script = runner.script(Batch("token", layout.manifest("token"), attempts, layout.batch("token")))
    assert isinstance(script, str)
    return script.splitlines()


def _project(block: str, folder: Path) -> Project:
    """What a part of a file says, in the place of that part of the example."""
    whole = yaml.safe_load((ROOT / "examples/spring.yaml").read_text(encoding="utf-8"))
    part = yaml.load(block, yaml.BaseLoader)
    # What the two need is in the example: its script, and a run to go on with.
    whole["objective"]["script"] = str(ROOT / "examples/spring.sh")
    file = folder / "axsched.yaml"
    kept = {key: value for key, value in whole.items() if key not in part}
    file.write_text(yaml.safe_dump(kept) + block, encoding="utf-8")
    return load(file)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_to_write_is_right(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runner: Any = None
    checked = 0
    for language, block in re.findall(r"^```(python|yaml|text)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        # What resume.md goes on with is in tests/docs/test_tutorial.py.
        if language == "python" and page.stem != "resume":
            space: dict[str, Any] = {"__name__": "__main__"}
            exec(compile(block, str(page), "exec"), space)
            runner = space.get("runner", runner)
            SchedulerConfig.from_dict(space.get("config"))
        elif language == "yaml":
            project = _project(block, tmp_path)
            if block.startswith("runner:"):
                assert isinstance(runner, SlurmRunner)
                same = made(project.where)
                assert _script(same) == _script(runner)
                assert same.max_parallel == runner.max_parallel
        elif block.startswith("#SBATCH"):
            assert not set(block.splitlines()) - set(_script(runner))
        else:
            continue
        checked += 1
    assert checked or page.stem == "no-accounting"


#: The spring of the pages, with the greatest force; its points are some of those that the pages show.
RUN = """
from axsched_hpc import AxScheduler, LocalRunner

def spring(parameters):
    x, v, t, dt, unrest, pull = 1.0, 0.0, 0.0, 0.001, 0.0, 0.0
    while t < 20:
        force = -parameters["stiffness"] * x - parameters["damping"] * v
        pull = max(pull, abs(force))
        v += force * dt
        x += v * dt
        unrest += t * abs(x) * dt
        t += dt
    return {"unrest": unrest, "pull": pull}

scheduler = AxScheduler(client, LocalRunner(4))
scheduler.set_objective_function(spring)
with scheduler.batch_trial_context() as batch:
    for point in points:
        batch.add_trial(point)
"""


@pytest.mark.parametrize(("page", "front"), [("constraints", 1), ("several-objectives", 3)])
def test_what_a_page_shows_of_the_best_is_said(
    page: str, front: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DOCS / f"howto/{page}.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ((command, told),) = shown(text)
    found = re.findall(r"stiffness = (\S+)\n  damping = (\S+)\n", told)
    assert len(found) == front
    # One that is in neither page the best.
    points = [{"stiffness": 8.5, "damping": 3.0}]
    points += [{"stiffness": float(stiffness), "damping": float(damping)} for stiffness, damping in found]
    script = tmp_path / "run.py"
    script.write_text(f"{block}\npoints = {points}\n{RUN}", encoding="utf-8")
    ended = scripts.run(script, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    monkeypatch.chdir(tmp_path)
    said = axsched(command)
    trials = r"(?m)^(trial \d.*|Trial \d.*|All \d.*|hypervolume.*)$"
    same(re.sub(trials, "", told), re.sub(trials, "", said))
    same_words(told, said)
