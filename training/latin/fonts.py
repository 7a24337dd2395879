#!/usr/bin/env python3
"""Gives fonts of Fontsource the letters with marks that their packages keep in files of their own.

    python3 training/latin/fonts.py NODE_MODULES FONTS

NODE_MODULES holds the npm packages `@fontsource/FAMILY`, whose `files` are subsets: `latin` has ASCII and the letters
of Western Europe, `latin-ext` those of the East, `vietnamese` those of Vietnamese. FONTS holds the first of them as
FAMILY-WEIGHT-STYLE.ttf. Each file there is replaced by one that draws the letters of all three. Hints, kerning and
substitutions are dropped. Needs fonttools and brotli.
"""
import pathlib
import sys
from concurrent.futures import ProcessPoolExecutor

from fontTools.ttLib import TTFont

SUBSETS = ["latin-ext", "vietnamese"]
LAYOUT = ["GSUB", "GPOS", "GDEF", "BASE", "JSTF", "DSIG", "fpgm", "prep", "cvt ", "gasp", "hdmx", "VDMX", "LTSH", "vmtx", "vhea"]


def copy(base, other, name, suffix, done):
    """Copies a glyph of `other`, and those that it is put together from, and gives its name in `base`."""
    if name in done:
        return done[name]
    new = done[name] = name + suffix
    glyph = other["glyf"][name]
    if glyph.isComposite():
        for part in glyph.components:
            part.glyphName = copy(base, other, part.glyphName, suffix, done)
    base["glyf"][new] = glyph
    base["hmtx"][new] = other["hmtx"][name]
    return new


def merge(job):
    files, target = job
    base = TTFont(target, lazy=False)
    if "glyf" not in base:
        return 0
    tables = [table for table in base["cmap"].tables if table.isUnicode() and table.format in (4, 12)]
    known, added = set(base.getBestCmap()), 0
    for index, file in enumerate(files):
        other = TTFont(file, lazy=False)
        if "glyf" not in other or other["head"].unitsPerEm != base["head"].unitsPerEm:
            continue
        done = {}
        for code, name in other.getBestCmap().items():
            if code not in known:
                new = copy(base, other, name, f".subset{index}", done)
                for table in tables:
                    table.cmap[code] = new
                known.add(code)
                added += 1
    if added == 0:
        return 0
    for tag in LAYOUT:
        if tag in base:
            del base[tag]
    base["post"].formatType = 3.0
    for name in base.getGlyphOrder():
        base["glyf"][name].removeHinting()
    base.save(target)
    return added


def main():
    modules, fonts = map(pathlib.Path, sys.argv[1:])
    jobs = []
    for target in sorted(fonts.glob("*.ttf")):
        family, weight, style = target.stem.rsplit("-", 2)
        folder = modules / "@fontsource" / family / "files"
        files = [folder / f"{family}-{subset}-{weight}-{style}.woff2" for subset in SUBSETS]
        files = [file for file in files if file.exists()]
        if files:
            jobs.append((files, target))
    with ProcessPoolExecutor() as pool:
        added = list(pool.map(merge, jobs, chunksize=8))
    print(f"{len(jobs)} fonts with further subsets, {sum(count > 0 for count in added)} merged, {sum(added)} letters added")


if __name__ == "__main__":
    main()
