#!/usr/bin/env python3
"""Divides labelled crops into a part to train on and a part to choose by.

    split.py OUT SET=SHARE.. [--leave-out SET/PATH ..]

Every SET is a folder with `labels.tsv` (path, tab, text); SHARE of it is kept aside. A hash of the
folder's name and the path decides, so the division is the same everywhere and for ever. OUT gets
`train/NAME` and `held/NAME`, each with its lines of `labels.tsv` and a link to the pictures. What is
left out is not trained on.

    split.py data iiit5k_train=0.13 svt_train=0.30 ic15_train=0.085 ic03_train=0.16 sroie=0
"""
import argparse
import hashlib
import os


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("sets", nargs="+", metavar="SET=SHARE")
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="SET/PATH")
    arguments = parser.parse_args()
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
            if not lines:
                continue
            target = os.path.join(arguments.out, part, name)
            os.makedirs(target, exist_ok=True)
            roots = {line.split("\t")[0].split("/")[0] for line in lines}
            for root in roots:
                link = os.path.join(target, root)
                if not os.path.lexists(link):
                    os.symlink(os.path.abspath(os.path.join(folder, root)), link)
            with open(os.path.join(target, "labels.tsv"), "w", encoding="utf-8") as file:
                file.writelines(lines)
            print(f"{part}/{name}: {len(lines)}")


if __name__ == "__main__":
    main()
