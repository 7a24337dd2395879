#!/usr/bin/env python3
"""Checks that no module of the crate knows a later one, and that there are no circles.

Reads the paths `crate::x` and, inside a folder, `super::x` of src/, outside comments and tests.
The top-level modules have one order, below; the modules of every folder must have some order.
"""

import re
import sys
from pathlib import Path

# One crop's way, then data, evaluation and training.
ORDER = """error files system geometry rans cpu crop resize charset ops model inference weights quantize language_model decode emissions locate recognition words
recognizer data evaluation train""".split()

SRC = Path(__file__).resolve().parent.parent / "src"


def code(path):
    """A file without comments and without its trailing test module."""
    text = re.sub(r"//[^\n]*", "", path.read_text())
    return re.split(r"#\[cfg\((?:all\()?test\b[^\]]*\]\s*mod \w+ \{", text)[0]


def heads(text, start):
    """The first segments behind the path prefix `start`, those of a group as well."""
    for match in re.finditer(r"\b" + re.escape(start) + r"::(\{|\w+)", text):
        if match[1] != "{":
            yield match[1]
            continue
        depth, segment, first = 1, "", True
        for char in text[match.end():]:
            depth += {"{": 1, "}": -1}.get(char, 0)
            if depth == 0:
                break
            if depth == 1 and char == ",":
                yield segment.strip()
                segment, first = "", True
            elif first and depth == 1 and (char.isalnum() or char in "_ \n"):
                segment += char
            else:
                first = False
        yield segment.strip()


def children(folder):
    """The modules of a folder with their files; `tests` modules are left out."""
    modules = {}
    for path in sorted(folder.iterdir()):
        name = path.stem if path.is_file() else path.name
        if name in ("mod", "lib", "tests") or (path.is_file() and path.suffix != ".rs"):
            continue
        modules[name] = sorted(path.rglob("*.rs")) if path.is_dir() else [path]
    return modules


def uses(files, folder, modules):
    """Which of a folder's modules these files name."""
    inside = "crate" + "".join(f"::{part}" for part in folder.relative_to(SRC).parts)
    # What the folder's own module exports again stands for the module that it comes from.
    exported = {}
    text = code(folder / ("lib.rs" if folder == SRC else "mod.rs"))
    for match in re.finditer(r"pub(?:\([^)]*\))? use (?:self::)?(\w+)::(\{[^}]*\}|\w+)", text):
        if match[1] in modules:
            exported.update((name, match[1]) for name in re.findall(r"\w+", match[2]))
    found = set()
    for path in files:
        text = code(path)
        names = set(heads(text, inside))
        # `super` means the folder in its own files, and is one level further in those below.
        depth = len(path.relative_to(folder).parts) - (2 if path.stem == "mod" else 1)
        if folder != SRC:
            names |= set(heads(text, "::".join(["super"] * (depth + 1))))
        found |= {exported.get(name, name) for name in names}
    return found & set(modules)


def circle(graph):
    """A circle of a graph, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node):] + [node]
        if node in done:
            return None
        path.append(node)
        for other in sorted(graph[node]):
            if found := visit(other):
                return found
        path.pop()
        done.add(node)
        return None

    return next((found for node in graph if (found := visit(node))), None)


def main():
    faults = []
    for folder in [SRC, *sorted(path for path in SRC.rglob("*") if path.is_dir())]:
        modules = children(folder)
        graph = {}
        for name, files in modules.items():
            graph[name] = uses(files, folder, modules) - {name}
        label = str(folder.relative_to(SRC.parent))
        if found := circle(graph):
            faults.append(f"{label}: a circle: {' -> '.join(found)}")
        if folder == SRC:
            unknown = set(modules) ^ set(ORDER)
            if unknown:
                faults.append(f"{label}: not in the order, or not there: {sorted(unknown)}")
            for name, others in graph.items():
                later = [o for o in others if o in ORDER and name in ORDER
                         and ORDER.index(o) > ORDER.index(name)]
                faults += [f"{label}: {name} knows {other}, which is later" for other in later]
    for fault in faults:
        print(fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
