#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shim runs from a copy of its section: nothing in it may point out of it."""
import subprocess
import sys

SECTION = "pvshim"


def lines(option, path):
    text = subprocess.run(["readelf", "-W", option, path], check=True, capture_output=True,
                          text=True).stdout
    return text.splitlines()


def section_names(path):
    """Per object file of an archive, its sections' names by number."""
    names = []
    for line in lines("-S", path):
        words = line.replace("[ ", "[").split()
        if "There are" in line:
            names.append({})
        elif words and words[0][0] == "[" and words[0][1:-1].isdigit():
            names[-1][words[0][1:-1]] = words[1]
    return names


def defined(path):
    """Symbols that are defined in the section, of all object files."""
    names, at, found = section_names(path), -1, set()
    for line in lines("-s", path):
        words = line.split()
        if line.startswith("Symbol table"):
            at += 1
        elif len(words) >= 8 and words[6].isdigit() and names[at].get(words[6]) == SECTION:
            found.add(words[7])
    return found


def relocations(path):
    """Symbols that the section's instructions refer to."""
    inside = False
    for line in lines("-r", path):
        words = line.split()
        if line.startswith("Relocation section"):
            inside = f".rela{SECTION}'" in line
        elif inside and len(words) >= 5 and words[2].startswith("R_X86_64"):
            yield words[2], words[4]


def main():
    path = sys.argv[1]
    symbols = defined(path) | {SECTION}
    used = list(relocations(path))
    wrong = [f"{kind} {symbol}" for kind, symbol in used
             if symbol not in symbols or kind not in ("R_X86_64_PC32", "R_X86_64_PLT32")]
    if not used or "shim_handler" not in symbols:
        sys.exit(f"{path}: no shim in it")
    if wrong:
        sys.exit("the shim points out of its section: " + ", ".join(wrong))
    print(len(used), "references, all inside")


if __name__ == "__main__":
    main()
