"""Every block of the documentation is run, or says why not: :mod:`tests.docs.blocks` has the comments."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

from tests.docs import blocks
from tests.docs.beginnings import BEGINNINGS
from tests.docs.blocks import REASONS, ROOT, Block
from tests.docs.running import Session, Wrong
from tests.slurm.harness import Cluster

PAGES = blocks.pages()
# Found without parsing all pages in each process that collects tests.
_SLURM = re.compile(r"^<!-- on: slurm -->|^```\w+ slurm", re.MULTILINE)
ON_SLURM = [page for page in PAGES if _SLURM.search((ROOT / page).read_text(encoding="utf-8"))]


def _fault(block: Block) -> str | None:
    """What is wrong with the comments of a block."""
    if block.kind == "unknown":
        what = block.included or f"a block of {block.language or 'text'}"
        return f"nothing runs {what}; write '<!-- run by: TEST -->' or '<!-- not run: REASON -->' above it"
    if block.unwise:
        return f"{block.unwise} is not run for a page's sake; say '<!-- not run: REASON -->' above the block"
    reason = block.notes.get("not run")
    if reason is not None and not re.match(rf"({'|'.join(REASONS)})\b", reason):
        return f"'{reason}' is no reason; it begins with one of: {', '.join(REASONS)}"
    if block.notes.get("with", "nothing") not in BEGINNINGS:
        return f"there is no beginning {block.notes['with']!r}; there are: {', '.join(BEGINNINGS)}"
    if block.notes.get("on", "slurm") != "slurm":
        return f"'on: {block.notes['on']}' is not known; there is 'on: slurm'"
    return _fault_of_test(block, block.notes["run by"]) if "run by" in block.notes else None


def _fault_of_test(block: Block, name: str) -> str | None:
    """What is wrong with the test that is said to run a block."""
    file, _, test = name.partition("::")
    if not (ROOT / file).is_file():
        return f"there is no {file}"
    source = (ROOT / file).read_text(encoding="utf-8")
    functions = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    if test and test not in functions:
        return f"{file} has no {test}"
    page = Path(block.page)
    subjects = {
        page.name,
        page.parent.name,
        *re.findall(r"NAME=(?:\w+/)*(\w+)|^axsched (\w+)", block.text, re.M),
    }
    words = {word for subject in subjects for word in ([subject] if isinstance(subject, str) else subject)}
    if block.included:
        words |= {Path(block.included).stem, Path(block.included).parent.name}
    if not any(re.search(rf"\b{re.escape(word)}\b", source) for word in words - {"", "docs"}):
        return f"{file} knows nothing of {' or '.join(sorted(words - {''}))}"
    return None


def test_every_block_is_run_or_says_why_not() -> None:
    found = [block for page in PAGES for block in blocks.blocks(page)]
    assert len(found) > 150
    faults = [f"{block.place}: {fault}." for block in found if (fault := _fault(block))]
    assert not faults, "\n".join(faults)
    assert sum(block.kind == "not run" for block in found) < len(found) / 3


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which sessions have theirs; what they do to this process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    # A session sets them.
    for name in ("PATH", "PYTHONPATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    return tmp_path


def _run(found: list[Block], directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, session in enumerate(blocks.sessions(found)):
        place = directory / f"session-{number}"
        place.mkdir()
        monkeypatch.chdir(place)
        Session(directory / f"programs-{number}").run(session)


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page: str, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [s for s in blocks.sessions(blocks.blocks(page)) if not blocks.on_slurm(s)]
    _run([block for session in found for block in session], own, monkeypatch)


@pytest.mark.slurm
@pytest.mark.parametrize("page", ON_SLURM)
def test_the_blocks_of_a_page_run_on_slurm(
    page: str, own: Path, acct_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [s for s in blocks.sessions(blocks.blocks(page)) if blocks.on_slurm(s)]
    assert found
    _run([block for session in found for block in session], own, monkeypatch)


# ---------------------------------------------------------------- the check itself


WRONG = {
    "```python\nx = 1\ny = x / 0\n```": "page.md:2: the block raised ZeroDivisionError",
    "```sh\ntrue\nfalse | cat\n```": "page.md:2: `true",
    "    axsched show 7 nowhere": "exit code",
    "```python\nprint(1 + 1)\n```\n\n```text\n3\n```": "page.md:6: it shows what is not printed",
    "```text\n3\n```": "no block before it",
    "```console\n$ echo 'a  b'\na b\n```": "it shows what is not printed",
    "```yaml\nparameters: {x: {type: float, lower: 2, upper: 1}}\n```": "page.md:2: the block raised",
    '```json\n{"a": 1,}\n```': "page.md:2: the block raised",
    "<!-- file: a.sh -->\n```sh\nif\n```": "page.md:3: the block raised",
    "```pycon\n>>> 1 + 1\n3\n```": "Got",
    ":::{note}\n```python\nx\n```\n:::": "page.md:3: the block raised NameError",
    "```{note}\n~~~python\nx\n~~~\n```": "page.md:3: the block raised NameError",
    "```{code-block} python\n:caption: what\n\nx\n```": "page.md:4: the block raised NameError",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_block_is_found(text: str, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks.blocks("page.md", text)
    with pytest.raises(Wrong) as caught:
        _run(found, own, monkeypatch)
    assert WRONG[text] in str(caught.value)


RIGHT = """
<!-- file: in/add.sh -->
```sh
#!/bin/sh
echo $(($1 + $2))
```

    cd in
    ls add.sh   # it is there

```console
$ ./add.sh 1 2
3
$ ./add.sh 2 2 | tr 4 5
5
```

<!-- exit: 3 -->
```sh
exit 3
```

```python
x = 1
print("took", 0.25, "s", x)
```

<!-- output: numbers differ -->
```text
took   17 s 1
```

<!-- with: nothing -->
```python
assert "x" not in globals()
print("a\\nb\\nc")
```

    a
    ...
"""


def test_right_blocks_are_taken(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(blocks.blocks("page.md", RIGHT), own, monkeypatch)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```cobol\n```", "nothing runs a block of cobol"),
        ("```{literalinclude} examples/function.py\n```", "nothing runs examples/function.py"),
        ("<!-- not run: no time -->\n```sh\nls\n```", "is no reason"),
        ("    cd x\n    scancel --user=me", "scancel is not run"),
        ("```console\n$ ls | sudo tee x\n```", "sudo is not run"),
        ("<!-- with: a pony -->\n```sh\nls\n```", "no beginning 'a pony'"),
        ("<!-- run by: tests/nowhere.py -->\n```sh\nls\n```", "there is no tests/nowhere.py"),
        ("<!-- run by: tests/scripts.py::test_x -->\n```sh\nls\n```", "has no test_x"),
        ("<!-- run by: tests/scripts.py::run -->\n```sh\nls\n```", "knows nothing of page.md"),
    ],
)
def test_a_wrong_comment_is_found(text: str, said: str) -> None:
    (block,) = blocks.blocks("page.md", text)
    assert said in (_fault(block) or "")
