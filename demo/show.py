"""How the demo shows things: as wide as the terminal, 80 columns elsewhere, and colour only on a terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap

WIDTH = max(40, min(shutil.get_terminal_size((80, 24)).columns, 110))
LABEL = 11  # columns in front of what a card says
OWNER_ONLY = "owner only"
WRITES = ("ModifyImageAttribute", "CreateTags", "DeleteTags")

# The palette of the plan command, by meaning: cli/src/text.rs. tests/documents.rs compares them.
_PALETTE = {"title": "1", "add": "32", "remove": "33", "change": "36", "refuse": "35", "danger": "1;31", "aside": "2"}
_OUTCOMES = {"applied": "add", "refused": "refuse", "failed": "danger"}
_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(text: str, *meanings: str) -> str:
    """The text in the colour of what it means."""
    if not _coloured or not meanings:
        return text
    return f"\033[{';'.join(_PALETTE[meaning] for meaning in meanings)}m{text}\033[0m"


def plain(text: str) -> tuple[str, str]:
    """A text as it is, and as it is shown."""
    return text, text


def outcome(text: str) -> tuple[str, str]:
    """An outcome, and the same in its colour; what follows its first word does not matter."""
    return text, paint(text, "title", _OUTCOMES.get(text.split(maxsplit=1)[0].lower(), "title"))


def launcher(text: str) -> tuple[str, str]:
    """Who may launch: public is said in red and in a word."""
    short = grantee(text)
    return short, paint(short, "danger") if text == "all" else short


def danger(launchers: list[str]) -> str | None:
    return "danger" if "all" in launchers else None


def heading(text: str) -> None:
    print()
    says(text, "title")
    print(paint("─" * WIDTH, "aside"))


def says(text: str, *meanings: str) -> None:
    for part in textwrap.wrap(text, WIDTH, break_on_hyphens=False):
        print(paint(part, *meanings), flush=True)


def line(label: str, text: str, meaning: str | None = None) -> None:
    """One thing a card says, wrapped beside its label."""
    meanings = [meaning] if meaning else []
    parts = textwrap.wrap(text, WIDTH - LABEL - 2, break_on_hyphens=False) or [""]
    for index, part in enumerate(parts):
        print(f"  {paint(f'{label if index == 0 else str():<{LABEL}}', 'aside')}{paint(part, *meanings)}")


def grantee(text: str) -> str:
    """A grantee, short: the end of an ARN says it."""
    return "PUBLIC (all)" if text == "all" else text.rsplit("/", 1)[-1]


def grantees(texts: list[str]) -> str:
    return ", ".join(grantee(text) for text in texts) or OWNER_ONLY


def table(head: list[str], rows: list[list[list[tuple[str, str]]]]) -> None:
    """Rows of cells, each a list of lines: as they are, and as they are shown. Where the terminal is too narrow, one below the other."""
    widths = [max(len(text) for text, _ in [plain(title), *(line for row in rows for line in row[i])]) for i, title in enumerate(head)]
    if sum(widths) + 2 * len(widths) > WIDTH:
        for row in rows:
            for title, cell in zip(head, row):
                line(title, ", ".join(text for text, _ in cell))
            print()
        return
    print("  " + paint("  ".join(f"{title:<{width}}" for title, width in zip(head, widths)).rstrip(), "aside"))
    for row in rows:
        for number in range(max(len(cell) for cell in row)):
            cells = []
            for cell, width in zip(row, widths):
                text, shown = cell[number] if number < len(cell) else plain("")
                cells.append(shown + " " * (width - len(text)))
            print("  " + "  ".join(cells).rstrip())


def request(call: dict) -> None:
    """One request to AWS, with its parameters as they went over the wire."""
    write = call["Action"] in WRITES
    parameters = " ".join(f"{name}={json.dumps(value) if ' ' in value else value}" for name, value in call["Params"].items())
    error = f"  answered with {call['ErrorCode']}" if call["ErrorCode"] else ""
    text = f"{'write' if write else 'read '} {call['Action']} {parameters}{error}"
    lines = textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="     ", break_on_hyphens=False)
    print("\n".join(paint(part, *(["change"] if write else [])) for part in lines))
