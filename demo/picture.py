#!/usr/bin/env python3
"""Draw what a command shows on a terminal, in its colours, as an SVG: `make pictures` calls this.

    picture.py OUTPUT TITLE COMMAND [ARGUMENT…]

The command runs in a pseudo-terminal of 84 columns. The picture holds its output and no name of a file or folder of this machine.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS, ROWS = 84, 50
# Readable on a dark ground: black, red, green, yellow, blue, magenta, cyan, white.
COLOURS = [(18, 21, 26), (255, 123, 132), (127, 214, 164), (240, 189, 99), (125, 180, 255), (223, 163, 238), (120, 212, 222), (231, 235, 240)]
THEME = TerminalTheme((18, 21, 26), (231, 235, 240), COLOURS, COLOURS)


def run(command: list[str]) -> str:
    """What the command writes to its terminal."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.pop("NO_COLOR", None)
        os.environ["TERM"] = "xterm-256color"
        # The pseudo-terminal has its size before the command asks for it.
        fcntl.ioctl(sys.stdout.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.execvp(command[0], command)
    written = bytearray()
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not part:
            break
        written += part
    _, status = os.waitpid(process, 0)
    text = written.decode().replace("\r\n", "\n")
    if status != 0:
        sys.exit(f"{command[0]} failed, so there is nothing to draw:\n{text}")
    return text


def draw(title: str, text: str) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ {title}", style="bold"), Text.from_ansi(text.strip("\n")), sep="\n")
    picture = console.export_svg(title=title, theme=THEME, unique_id="shown")
    # The font would come from another site; a reader's own monospaced one does.
    return re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.S).replace("Fira Code", "ui-monospace, Menlo, Consolas")


def main() -> int:
    output, title, *command = sys.argv[1:]
    Path(output).write_text(draw(title, run(command)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
