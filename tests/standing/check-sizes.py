# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of at most 600 lines, functions of at most 80 (tables aside), lines of at most 109 columns (120 in
Python), and the licence in the first line."""

import re

import source_tree

FILE_LINES = 600
FUNCTION_LINES = 80
COLUMNS = {".c": 109, ".h": 109, "meson.build": 109, ".py": 120}

C = (".c", ".h")
CODE = C + (".py", ".sh", "meson.build")
LICENCE = "SPDX-License-Identifier: LGPL-2.1-or-later"

# A definition opens at the left margin; so do tables and types, which these two tell apart.
OPENS = re.compile(r"^[A-Za-z_].*\)[^;=]*\{$")
NAME = re.compile(r"(\w+)\(")
TABLE_OPENS = re.compile(r"^(\s+)(?:static |const ).*=\s*\{$")


def is_code(name):
    if name.endswith(CODE):
        return True
    if "." in name.rpartition("/")[2] or "/corpus/" in name:
        return False
    return source_tree.read(name).startswith("#!")


def check_licence(name, lines):
    # Below "#!" and "<?xml …?>".
    limit = 1 if name.endswith(C) else 3
    if not any(LICENCE in line for line in lines[:limit]):
        yield f"{name}:1: the first line must say {LICENCE}"


def signature_start(lines, opening):
    """The line where the definition begins whose brace is on line `opening`."""
    while opening > 0 and is_signature(lines[opening - 1]):
        opening -= 1
    return opening


def is_signature(line):
    """A line of a signature that goes on in the next one, which is indented."""
    return line.endswith(",") and not line.startswith("#")


def table_lines(lines):
    """How many of a function's lines are rows of tables."""
    count, indent = 0, None
    for line in lines:
        if indent is None:
            match = TABLE_OPENS.match(line)
            indent = match.group(1) if match else None
        elif re.match(indent + r"\}", line):
            indent = indent if line.rstrip().endswith("{") else None
        else:
            count += 1
    return count


def check_functions(name, lines):
    opening = None
    for i, line in enumerate(lines):
        # A signature over several lines ends in an indented one.
        if opening is None and line.endswith("{"):
            start = signature_start(lines, i)
            if lines[start][0] != " " and OPENS.match(" ".join(part.strip() for part in lines[start:i + 1])):
                opening = start
        elif opening is not None and line == "}":
            size = i + 1 - opening - table_lines(lines[opening:i + 1])
            if size > FUNCTION_LINES:
                function = NAME.search(" ".join(lines[opening:opening + 3]))
                yield f"{name}:{opening + 1}: {function.group(1) if function else '?'}() has {size} lines"
            opening = None


def check_file(name):
    lines = source_tree.read(name).split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    yield from check_licence(name, lines)
    if len(lines) > FILE_LINES:
        yield f"{name}:{FILE_LINES}: the file has {len(lines)} lines"
    columns = next((limit for suffix, limit in COLUMNS.items() if name.endswith(suffix)), None)
    for number, line in enumerate(lines, 1):
        if columns and len(line) > columns:
            yield f"{name}:{number}: the line has {len(line)} columns"
    if name.endswith(C):
        yield from check_functions(name, lines)


names = filter(is_code, source_tree.files())
source_tree.finish([problem for name in names for problem in check_file(name)], "sizes")
