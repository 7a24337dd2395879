#!/usr/bin/env python3
"""Divides labelled crops into a part to train on and a part to choose by.

    split.py OUT SET=SHARE.. [--leave-out SET/PATH ..] [--lines SET/PART ..]

Every SET is a folder with `labels.tsv` (path, tab, text); SHARE of it is kept aside. A hash of the
folder's name and the path decides, so the division is the same everywhere and for ever. OUT gets
`train/NAME` and `held/NAME`, each with its lines of `labels.tsv` and a link to the pictures. What is
left out is not trained on.

A set of lines may be made of neighbouring words of the same scenes: of each of `--lines`, OUT gets `train/SET` with the
lines that have no word which is the label of a crop that is kept aside, whatever its case and punctuation.

    split.py data iiit5k_train=0.13 svt_train=0.30 ic15_train=0.085 ic03_train=0.16 sroie=0
"""
import argparse
import hashlib
import os


def folded(word):
    return "".join(c for c in word.lower() if c.isalnum())


def write(out, part, name, folder, lines):
    """A data set of some lines of another's labels, with links to its pictures."""
    if not lines:
        return
    target = os.path.join(out, part, name)
    os.makedirs(target, exist_ok=True)
    for root in {line.split("\t")[0].split("/")[0] for line in lines}:
        link = os.path.join(target, root)
        if not os.path.lexists(link):
            os.symlink(os.path.abspath(os.path.join(folder, root)), link)
    with open(os.path.join(target, "labels.tsv"), "w", encoding="utf-8") as file:
        file.writelines(lines)
    print(f"{part}/{name}: {len(lines)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("sets", nargs="+", metavar="SET=SHARE")
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="SET/PATH")
    parser.add_argument("--lines", nargs="*", default=[], metavar="SET/PART")
    arguments = parser.parse_args()
    kept_aside = set()
    for entry in arguments.sets:
        folder, share = entry.rsplit("=", 1)
        name = os.path.basename(os.path.normpath(folder))
        parts = {"train": [], "held": []}
        with open(os.path.join(folder, "labels.tsv"), encoding="utf-8") as lines:
            for line in lines:
                path = line.split("\t")[0]
                digest = hashlib.sha256(f"{name}/{path}".encode()).hexdigest()
                part = "held" if int(digest[:8], 16) / 2**32 < float(share) else "train"
                if part == "held" or f"{name}/{path}" not in arguments.leave_out:
                    parts[part].append(line)
        for part, lines in parts.items():
            write(arguments.out, part, name, folder, lines)
        kept_aside.update(folded(line.rstrip("\n").split("\t")[1]) for line in parts["held"])
    for folder in arguments.lines:
        name = os.path.basename(os.path.dirname(os.path.normpath(folder)))
        with open(os.path.join(folder, "labels.tsv"), encoding="utf-8") as lines:
            words = [(line, map(folded, line.rstrip("\n").split("\t")[1].split())) for line in lines]
        write(arguments.out, "train", name, folder, [line for line, own in words if kept_aside.isdisjoint(own)])


if __name__ == "__main__":
    main()
