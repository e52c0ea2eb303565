#!/usr/bin/env bash
# tokenizers 0.23: tokens that are added as plain strings are lower-cased by the tokenizer, and special ones vanish.
#
# Semantic IDs become tokens of a language model, such as <A_1>, by adding them to its tokenizer.
# Common wrong guess: an added token is matched exactly as it was given, whatever the tokenizer does with other text.
# What happens: a plain string becomes an AddedToken with normalized=True. With a lower-casing normalizer the text <a_1> is
# read as the token <A_1> too, and the token is decoded as <a_1>: what comes back is not what was added, and IDs that differ
# in case only cannot be told apart. Special tokens are matched exactly, but are left out of all that is decoded with
# skip_special_tokens, the default. AddedToken(text, normalized=False) is matched exactly and comes back as it was.
#
# Seen with tokenizers 0.23.3 on Python 3.11:
#   plain: '<a_1>' is read as ['<a_1>'], decoded '<a_1>'
#   special: '<a_1>' is read as ['[UNK]'], decoded ''
#   normalized=False: '<a_1>' is read as ['[UNK]'], decoded '<A_1>'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "tokenizers==0.23.3"
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

seen = {}
for way in ("plain", "special", "normalized=False"):
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "hello": 1}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if way == "plain":
        tokenizer.add_tokens(["<A_1>"])
    elif way == "special":
        tokenizer.add_special_tokens(["<A_1>"])
    else:
        tokenizer.add_tokens([AddedToken("<A_1>", normalized=False)])
    number = tokenizer.token_to_id("<A_1>")
    seen[way] = tokenizer.encode("<a_1>").tokens, tokenizer.decode([number])
print("tokenizers", version("tokenizers"))
for way, (tokens, decoded) in seen.items():
    print(f"{way}: '<a_1>' is read as {tokens}, decoded {decoded!r}")
assert seen == {
    "plain": (["<a_1>"], "<a_1>"),
    "special": (["[UNK]"], ""),
    "normalized=False": (["[UNK]"], "<A_1>"),
}, "this has changed"
PY
