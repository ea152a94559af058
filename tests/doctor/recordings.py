"""Recorded answers of Slurm; tests/data/slurm has them, and says how they are made."""

from __future__ import annotations

from pathlib import Path

RECORDED = Path(__file__).resolve().parents[1] / "data" / "slurm"


def out(name: str) -> str:
    """What a command wrote to its standard output."""
    return (
        (RECORDED / f"{name}.txt")
        .read_text()
        .split("\n# stderr:")[0]
        .split("# exit ", 1)[1]
        .split("\n", 1)[1]
    )
