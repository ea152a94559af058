"""Questions on a terminal, each with a default, asked again where an answer cannot be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import click

from axsched_hpc.commands.output import show
from axsched_hpc.core.errors import AxSchedError

T = TypeVar("T")


def ask(question: str, default: str, read: Callable[[str], T]) -> T:
    """The answer, as ``read`` understands it; what it raises is told, and the question asked again."""
    while True:
        answer = click.prompt(question, default=default, show_default=bool(default))
        try:
            return read(str(answer).strip())
        except AxSchedError as error:
            show(f"  {error}")


def choose(question: str, choices: Mapping[str, str], default: str) -> str:
    """One of some words, by itself or by its number."""
    words = list(choices)
    room = max(map(len, words))
    click.echo(question)
    for number, word in enumerate(words, 1):
        show(f"  {number}  {word:{room}}  {choices[word]}".rstrip())
    while True:
        answer = str(click.prompt("Which", default=default)).strip()
        if answer in choices:
            return answer
        if answer.isdecimal() and 1 <= int(answer) <= len(words):
            return words[int(answer) - 1]
        show(f"  {answer!r} is none of them; type a number from 1 to {len(words)}, or the word.")


def several(question: str, read: Callable[[str], T]) -> list[T]:
    """Answers until an empty one."""
    click.echo(question)
    found: list[T] = []
    while True:
        answer = str(click.prompt(f"  {len(found) + 1}", default="", show_default=False)).strip()
        if not answer:
            return found
        try:
            found.append(read(answer))
        except AxSchedError as error:
            show(f"  {error}")
