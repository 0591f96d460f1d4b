#!/usr/bin/env python3
"""Pack files into a zip that is the same, byte for byte, whenever and wherever it is made.

    python deploy/zip.py ami-warden.zip --executable bootstrap=target/lambda/ami-warden/bootstrap
    python deploy/zip.py more.zip README.md=README.md docs/=docs

A zip usually tells when its files were written, by whom they may be read, and in which order a disk listed them. Here all files are of
1 January 1980, readable by all, and sorted by name. What is left is the compression: it is zlib's at level 9, so compare zips that the
same version of zlib made (`--version` says which).

Needs Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

FILE, PROGRAM = 0o100644, 0o100755


def pack(output: Path, files: Iterable[tuple[str, Path]], programs: Iterable[str] = ()) -> None:
    """Writes the zip. `files` are names in the zip with the files they come from; those named in `programs` may be run."""
    contents = {name: path.read_bytes() for name, path in files}
    modes = {name: PROGRAM if name in set(programs) else FILE for name in contents}
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name)  # of 1 January 1980, unless told otherwise
            entry.create_system = 3  # Unix, on any system
            entry.external_attr = modes[name] << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents[name])


def _named(argument: str) -> list[tuple[str, Path]]:
    name, separator, source = argument.partition("=")
    path = Path(source)
    if not separator or not name or not path.exists():
        raise argparse.ArgumentTypeError(f"expected NAME=FILE or FOLDER/=FOLDER with something that exists, got {argument}")
    if not path.is_dir():
        return [(name, path)]
    return [(f"{name.rstrip('/')}/{each.relative_to(path).as_posix()}", each) for each in path.rglob("*") if each.is_file()]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("output", type=Path, help="the zip to write")
    arguments.add_argument("files", type=_named, nargs="*", metavar="NAME=FILE", help="what it holds; a folder with all that is in it")
    arguments.add_argument("--executable", type=_named, action="append", default=[], metavar="NAME=FILE", help="the same, for a program")
    arguments.add_argument("--version", action="version", version=f"zlib {zlib.ZLIB_RUNTIME_VERSION}")
    options = arguments.parse_args()
    programs = [each for named in options.executable for each in named]
    pack(options.output, [each for named in options.files for each in named] + programs, [name for name, _ in programs])
    print(f"{options.output}: {options.output.stat().st_size:,} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
