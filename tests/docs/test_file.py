"""docs/file.md has every key of a project file, in the words of the code; its examples are right.

``python tests/docs/test_file.py`` writes its table anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from axsched_hpc.project import keys, options
from axsched_hpc.project.kinds import Key, Keys
from axsched_hpc.project.reading import load

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/file.md"
HEAD = "| key | what it says |\n|---|---|\n"


def table() -> str:
    """Every key that is no option of another package, with what it says."""
    of_variants: dict[str, tuple[str, Mapping[str, Keys]]] = {
        "parameters": ("parameters.NAME", keys.PARAMETER.variants),
        "objectives": ("objectives.NAME", {"": keys.GOAL}),
        "early_stopping": ("early_stopping", keys.EARLY),
        "global_stopping": ("global_stopping", keys.GLOBAL),
        "objective": ("objective", _without_options(keys.OBJECTIVE.variants)),
        "runner": ("runner", _without_options(keys.RUNNER.variants)),
    }
    rows = []
    for key in keys.PROJECT.keys:
        rows.append(row(key.name, [("", key)]))
        place, variants = of_variants.get(key.name, (key.name, {}))
        if key.name in ("parallel", "budget"):
            assert isinstance(key.kind, Keys)
            variants = {"": key.kind}
        inner: dict[str, list[tuple[str, Key]]] = {}
        for kind, section in variants.items():
            for each in section.keys:
                inner.setdefault(each.name, []).append((kind, each))
        rows += [
            row(f"{place}.{name}", found if len(found) < len(variants) else [("", found[0][1])])
            for name, found in inner.items()
        ]
    return HEAD + "".join(rows)


def _without_options(variants: Mapping[str, Keys]) -> Mapping[str, Keys]:
    """The variants with those of their keys that are in no other table."""
    others = {
        *options.SCRIPT_OPTIONS,
        *options.CONTAINER_OPTIONS,
        *(key.name for key in options.slurm_keys()),
    }
    return {
        kind: Keys(tuple(key for key in section.keys if key.name not in others), section.wanted)
        for kind, section in variants.items()
    }


def row(name: str, found: Iterable[tuple[str, Key]]) -> str:
    found = list(found)
    key = found[0][1]
    kinds = ", ".join(kind for kind, _ in found if kind)
    return f"| `{name}` | {f'{kinds}: ' if kinds else ''}{key.doc}{' Needed.' if key.needed else ''} |\n"


def test_every_key_is_documented_in_the_code_s_words() -> None:
    assert table() in PAGE.read_text(encoding="utf-8")


def test_the_file_on_the_page_is_the_example() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    example = (ROOT / "examples/spring.yaml").read_text(encoding="utf-8")
    assert block == example.partition("\n")[2]
    assert load(ROOT / "examples/spring.yaml").name == "spring"


def test_what_the_page_says_of_a_wrong_file_is_what_is_said() -> None:
    shown = re.findall(r"^axsched\.yaml:\d+: (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    said = [path.read_text() for path in (ROOT / "tests/data/wrong-files").glob("*.txt")]
    assert len(shown) == 3
    assert all(any(line in text for text in said) for line in shown)


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition("## Every key\n\n")
    after = rest[rest.index("The options of a script") :]
    PAGE.write_text(f"{before}## Every key\n\n{table()}\n{after}", encoding="utf-8")
