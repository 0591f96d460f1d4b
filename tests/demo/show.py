"""How the demo shows things: at most 110 columns, and colour only on a terminal."""

from __future__ import annotations

import json
import os
import sys
import textwrap

WIDTH = 110
LABEL = 11  # columns in front of what a card says
OWNER_ONLY = "owner only"
WRITES = ("ModifyImageAttribute", "CreateTags", "DeleteTags")

_COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_OUTCOMES = {"applied": "green", "unchanged": "green", "refused": "red", "failed": "red", "deferred": "yellow", "skipped": "yellow"}
_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(text: str, *colours: str) -> str:
    if not _coloured or not colours:
        return text
    return f"\033[{';'.join(_COLOURS[colour] for colour in colours)}m{text}\033[0m"


def outcome(text: str) -> str:
    """An outcome in its colour; what follows its first word does not matter."""
    return paint(text, "bold", _OUTCOMES.get(text.split(maxsplit=1)[0].lower(), "bold"))


def heading(text: str) -> None:
    print(f"\n{paint(text, 'bold')}\n{paint('─' * WIDTH, 'dim')}")


def says(text: str) -> None:
    print(textwrap.fill(text, WIDTH), flush=True)


def line(label: str, text: str, colour: str | None = None) -> None:
    """One thing a card says, wrapped beside its label."""
    colours = [colour] if colour else []
    parts = textwrap.wrap(text, WIDTH - LABEL - 2, break_long_words=False, break_on_hyphens=False) or [""]
    for index, part in enumerate(parts):
        print(f"  {paint(f'{label if index == 0 else str():<{LABEL}}', 'dim')}{paint(part, *colours)}")


def grantee(text: str) -> str:
    """A grantee, short: the end of an ARN says it."""
    return "all (public)" if text == "all" else text.rsplit("/", 1)[-1]


def grantees(texts: list[str]) -> str:
    return ", ".join(grantee(text) for text in texts) or OWNER_ONLY


def table(head: list[str], rows: list[list[list[str]]], coloured: int) -> None:
    """Rows of cells, each a list of lines; the column `coloured` holds outcomes."""
    widths = [max(len(text) for cell in [[title], *(row[i] for row in rows)] for text in cell) for i, title in enumerate(head)]
    print("  " + paint("  ".join(f"{title:<{width}}" for title, width in zip(head, widths)).rstrip(), "dim"))
    for row in rows:
        for number in range(max(len(cell) for cell in row)):
            cells = []
            for index, (cell, width) in enumerate(zip(row, widths)):
                text = cell[number] if number < len(cell) else ""
                padding = " " * (width - len(text))
                cells.append((outcome(text) if index == coloured and number == 0 else text) + padding)
            print("  " + "  ".join(cells).rstrip())


def request(call: dict) -> None:
    """One request to EC2, with its parameters as they went over the wire."""
    write = call["Action"] in WRITES
    parameters = " ".join(f"{name}={json.dumps(value) if ' ' in value else value}" for name, value in call["Params"].items())
    error = f"  answered with {call['ErrorCode']}" if call["ErrorCode"] else ""
    text = f"{'write' if write else 'read '} {call['Action']} {parameters}{error}"
    lines = textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="     ", break_long_words=False, break_on_hyphens=False)
    print("\n".join(paint(part, *(["cyan"] if write else [])) for part in lines))
