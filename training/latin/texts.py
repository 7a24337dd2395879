#!/usr/bin/env python3
"""Writes the texts that rendered lines of the Latin and the English network say.

    python3 training/latin/texts.py TEXT OUT

TEXT holds `lines/LANGUAGE.txt` (a sentence a line), `words/LANGUAGE.tsv` (word, tab, Zipf frequency) and
`charset_latin.txt` (all symbols on one line). OUT gets `charset.txt` (a symbol a line), `lines.txt` (pieces of
sentences, as many of every language), `vietnamese.txt`, `words.txt` and `rare.txt` (words with symbols that are
rare), and `held_LANGUAGE.txt`: the beginnings of the last sentences of every language, which are kept aside.
"""
import pathlib
import random
import sys
import unicodedata

PIECES, ENGLISH_PIECES, HELD, LONGEST, LONGEST_HELD = 4000, 40000, 60, 80, 60


def read(path, symbols):
    lines = [unicodedata.normalize("NFC", line.strip()) for line in path.read_text("utf8").splitlines()]
    return [line for line in lines if line and set(line) <= symbols]


def piece(rng, sentences, lengths):
    words = rng.choice(sentences).split()
    start, wanted = rng.randrange(len(words)), rng.choice(lengths)
    text = words[start]
    for word in words[start + 1:]:
        if len(text) + 1 + len(word) > wanted:
            break
        text += " " + word
    case = rng.random()
    return text.upper() if case < 0.06 else text.title() if case < 0.09 else text


def cut(sentence):
    """Its first words, as many as fit in a line."""
    return sentence if len(sentence) <= LONGEST_HELD else sentence[:LONGEST_HELD + 1].rsplit(" ", 1)[0][:LONGEST_HELD]


def main():
    source, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(7)
    all_symbols = (source / "charset_latin.txt").read_text("utf8").rstrip("\n")
    symbols = set(all_symbols)

    def write(name, lines):
        (out / name).write_text("".join(line + "\n" for line in lines), "utf8")

    write("charset.txt", all_symbols)
    pieces, vietnamese = [], []
    for path in sorted((source / "lines").glob("*.txt")):
        sentences = read(path, symbols)
        write(f"held_{path.stem}.txt", [cut(text) for text in sentences[-HELD:]])
        lengths = [6, 10, 14, 18, 22, 26, 30, 36, 42, 50, 60, 75]
        found = (piece(rng, sentences[:-HELD], lengths) for _ in range(PIECES))
        own = [text for text in found if len(text) <= LONGEST and set(text) <= symbols]
        pieces += own
        if path.stem == "vi":
            vietnamese = own
    rng.shuffle(pieces)
    write("lines.txt", pieces)
    write("vietnamese.txt", vietnamese)
    words = []
    for path in sorted((source / "words").glob("*.tsv")):
        rows = [row.split("\t") for row in path.read_text("utf8").splitlines()]
        rows = [(unicodedata.normalize("NFC", word), float(zipf)) for word, zipf in rows]
        rows = [(word, 10 ** (0.45 * zipf)) for word, zipf in rows if set(word) <= symbols]
        words += rng.choices([word for word, _ in rows], [weight for _, weight in rows], k=6000)
    rng.shuffle(words)
    write("words.txt", words)
    rare = [symbol for symbol in all_symbols if not symbol.isascii()]
    lines = []
    for _ in range(20000):
        parts = []
        for _ in range(rng.choice([1, 1, 2, 2, 3])):
            word = list(rng.choice(words))[:12]
            for _ in range(rng.choice([1, 1, 2])):
                at = rng.randrange(len(word))
                word[at:at + rng.randrange(2)] = rng.choice(rare)
            parts.append("".join(word))
        lines.append(" ".join(parts))
    write("rare.txt", lines)
    sentences = read(source / "lines" / "en.txt", symbols)[:-HELD]
    write("english.txt", [piece(rng, sentences, [6, 10, 14, 18, 22, 26, 30, 36]) for _ in range(ENGLISH_PIECES)])


if __name__ == "__main__":
    main()
