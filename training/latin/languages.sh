#!/usr/bin/env bash
# Renders fifty lines of every language, as a scanner gives printed lines and with the distortions of the training, and
# tells how many characters of them a network reads wrongly. It stands in the folder of the training, docs/training.md:
#
#   training/latin/languages.sh WEIGHTS [OPTION OF svtrv2 evaluate ..]
#
# Sentences (latin_text/held_LANGUAGE.txt) and fonts (one family in 50) are kept aside from the training. Lines that are
# there are not rendered again.
set -euo pipefail
weights=${1:?weights}
shift
svtrv2=${SVTRV2:-svtrv2}
mkdir -p languages
cat >languages/printed.toml <<'TOML'
size = [20.0, 48.0]
spacing = [-0.01, 0.05]
margin = [0.02, 0.2]
rotation = 0.7
shear = 0.02
perspective = 0.0
curved = 0.0
outlined = 0.0
shadowed = 0.0
gradient = 0.1
textured = 0.1
pictured = 0.0
contrast = 0.45
blur = 0.7
noise = 0.03
shrunk = 0.1
jpeg = 0.4
TOML
# The options of the training's rendered lines, the first of the two sources that are rendered.
awk '/^\[sources.synthetic.options\]/ { found++; next } /^\[/ { inside = 0 } found == 1 && !done { inside = 1; done = 1 } inside' \
    latin.toml >languages/distorted.toml
for kind in printed distorted; do
    backgrounds=()
    [ $kind = printed ] || backgrounds=(--backgrounds backgrounds)
    for text in latin_text/held_*.txt; do
        language=$(basename "$text" .txt)
        out=languages/$kind/${language#held_}
        [ -e "$out/labels.tsv" ] || "$svtrv2" synthesize "$text" --count 50 --folder --out "$out" --fonts fonts/fonts.tsv \
            --least-score 0.45 --hold-every 50 --held --random 0 --as-is --options languages/$kind.toml --seed 9000 \
            "${backgrounds[@]}" >/dev/null
    done
    echo "== $kind"
    "$svtrv2" evaluate languages/$kind/* --fold-punctuation --weights "$weights" "$@" --csv |
        python3 -c '
import csv, sys
rows = [row for row in csv.DictReader(sys.stdin) if not row["by"] and row["set"] != "average"]
rates = sorted((100 * float(row["character_error_rate"]), row["set"]) for row in rows)
print(", ".join(f"{name} {rate:.1f}" for rate, name in rates))
print(f"mean {sum(rate for rate, _ in rates) / len(rates):.2f}")'
done
