"""Scores of an n-gram model by KenLM, for tests/language_model.rs.

    python3 -m venv venv && venv/bin/pip install kenlm
    cargo run --release -p svtrv2-cli -- ngram --order 4 tests/fixtures/words.txt tests/fixtures/words.arpa
    venv/bin/python tests/reference/make_arpa.py

Reads tests/fixtures/words.arpa and writes tests/fixtures/words_kenlm.tsv: a text, a tab, the log10
probability of the text with its beginning and end, a tab, that of the text without its end.
"""

from pathlib import Path

import kenlm

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
TEXTS = "open often pen penpen nepo o zzz x-ray opened OPEN harbour harbor bakery b restaurant".split()

model = kenlm.Model(str(FIXTURES / "words.arpa"))
with open(FIXTURES / "words_kenlm.tsv", "w") as out:
    for text in [""] + TEXTS:
        spaced = " ".join(text)
        whole = model.score(spaced, bos=True, eos=True)
        begun = model.score(spaced, bos=True, eos=False)
        out.write(f"{text}\t{whole:.6f}\t{begun:.6f}\n")
