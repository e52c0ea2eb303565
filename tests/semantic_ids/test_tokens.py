"""Codes as tokens: their names, and that tokenizers of Hugging Face read each ID back whole."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.exports import export_ids
from rqvae_lib.semantic_ids.tokens import letter, read_tokens, token, vocabulary

IDS = SemanticIDs(torch.tensor([[2, 1], [0, 1], [2, 1], [1, 0]]), [3, 2])
TOKENS = ["<a_0>", "<a_1>", "<a_2>", "<b_0>", "<b_1>", "<c_0>", "<c_1>"]


def test_levels_have_letters_as_columns_of_a_spreadsheet() -> None:
    names = [letter(level) for level in (0, 1, 25, 26, 51, 52, 701)]
    assert names == ["a", "b", "z", "aa", "az", "ba", "zz"]


@given(st.integers(0, 701), st.integers(0, 2**31 - 1))
def test_a_token_says_its_level_and_number(level: int, number: int) -> None:
    tokens = [token(place, 5) for place in range(level)] + [token(level, number)]
    found = read_tokens(tokens, np.array([len(tokens)]))
    assert found.levels_named
    assert found.numbers.table.tolist() == [[5] * level + [number]]


def test_a_vocabulary_has_every_code_of_the_codebooks() -> None:
    assert vocabulary(IDS) == TOKENS
    assert vocabulary(IDS, digit="none", begin_end=True) == [
        *TOKENS[:5],
        "<|sid_begin|>",
        "<|sid_end|>",
    ]
    assert vocabulary(IDS, base=1, offsets=True, digit="none") == [
        *("<a_1>", "<a_2>", "<a_3>", "<b_4>", "<b_5>")
    ]


def exported(path: Path, ids: SemanticIDs, **how: Any) -> Path:
    export_ids(path, ids, np.arange(len(ids)), format="tokens", **how)
    return path


def test_a_text_file_has_a_token_in_each_line(tmp_path: Path) -> None:
    path = exported(tmp_path / "tokens.txt", IDS)
    assert path.read_text("utf-8") == "".join(f"{one}\n" for one in TOKENS)


# Hugging Face

LARGE = SemanticIDs(
    torch.from_numpy(np.random.default_rng(0).integers(0, 256, (500, 3))).repeat(2, 1), 256
)
SENTENCES = ["A user liked ", "İSTANBUL <a_1", " then C3 and <a_12 >, so "]


def written(ids: SemanticIDs) -> list[str]:
    """Each item's ID as text, its tokens one after another."""
    return ["".join(map(token, range(len(row)), row)) for row in ids.ids.tolist()]


def test_our_tokenizer_reads_every_id_back(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    path = exported(tmp_path / "tokenizer.json", LARGE, begin_end=True)
    reader = tokenizers.Tokenizer.from_file(str(path))
    names = vocabulary(LARGE, begin_end=True)
    assert [reader.id_to_token(place) for place in range(len(names))] == names
    assert reader.get_vocab_size() == len(names) + 1  # and <unk>
    for text, row in zip(written(LARGE), LARGE.ids.tolist(), strict=True):
        found = reader.encode(text)
        assert found.tokens == [token(level, code) for level, code in enumerate(row)]
        assert reader.decode(found.ids) == text
    marked = "<|sid_begin|>" + written(LARGE)[0] + "<|sid_end|>"
    assert reader.decode(reader.encode(marked).ids) == marked
    assert reader.encode("Alien").tokens == ["<unk>"]


def test_transformers_reads_our_tokenizer(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    path = exported(tmp_path / "tokenizer.json", LARGE)
    reader = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path), unk_token="<unk>")
    for text in written(LARGE)[:50]:
        numbers = reader(text)["input_ids"]
        assert "".join(reader.convert_ids_to_tokens(numbers)) == text
        assert reader.decode(numbers) == text


def language_model_tokenizers() -> dict[str, Any]:
    """Tokenizers as language models have them, trained on a few words."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    words = ["a user liked the film alien, and then c3 and sid_begin a_12 b c"] * 3
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(words, trainers.BpeTrainer(initial_alphabet=alphabet))
    wordpiece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer(lowercase=True)
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    wordpiece.decoder = decoders.WordPiece()
    wordpiece.train_from_iterator(words, trainers.WordPieceTrainer(special_tokens=["[UNK]"]))
    return {"byte-level BPE": bpe, "lower-casing WordPiece": wordpiece}


@pytest.mark.parametrize("name", ["byte-level BPE", "lower-casing WordPiece"])
def test_a_language_models_tokenizer_reads_them_among_words(name: str, tmp_path: Path) -> None:
    """Added as the page on formats says, no token is split, and none changes its case."""
    tokenizers = pytest.importorskip("tokenizers")
    reader = language_model_tokenizers()[name]
    listed = exported(tmp_path / "tokens.txt", LARGE, begin_end=True).read_text("utf-8").split()
    before = reader.get_vocab_size()
    reader.add_tokens([tokenizers.AddedToken(one, normalized=False) for one in listed])
    assert reader.get_vocab_size() == before + len(listed)
    for text, row in zip(written(LARGE)[:100], LARGE.ids.tolist(), strict=False):
        marked = f"<|sid_begin|>{text}<|sid_end|>"
        wanted = [token(level, code) for level, code in enumerate(row)]
        for sentence in SENTENCES:
            found = reader.encode(f"{sentence}{marked}{sentence}").tokens
            first = found.index("<|sid_begin|>")
            assert found[first : first + 6] == ["<|sid_begin|>", *wanted, "<|sid_end|>"]
            alone = reader.encode(sentence).tokens
            assert found[:first] == alone
            assert found[first + 6 :] == alone
        decoded = reader.decode(reader.encode(text).ids)
        # WordPiece's decoder writes spaces between tokens; the tokens are the same.
        assert decoded.replace(" ", "") == text
        assert (decoded == text) == (name == "byte-level BPE")


def test_added_in_other_ways_they_are_not_read_back() -> None:
    """Why the page on formats asks for tokens that are neither normalized nor special."""
    tokenizers = pytest.importorskip("tokenizers")
    reader = language_model_tokenizers()["lower-casing WordPiece"]
    reader.add_tokens(["<a_1>", "<|SID_begin|>"])  # normalized, as by default
    assert reader.encode("<A_1>").tokens == ["<a_1>"]
    assert reader.encode("<|SID_begin|>").tokens == ["<|sid_begin|>"]
    reader = language_model_tokenizers()["byte-level BPE"]
    reader.add_special_tokens([tokenizers.AddedToken("<a_1>")])
    assert reader.decode(reader.encode("film <a_1>").ids) == "film "


def test_the_file_says_that_nothing_is_changed(tmp_path: Path) -> None:
    content = json.loads(exported(tmp_path / "tokenizer.json", IDS).read_text("utf-8"))
    assert content["normalizer"] is None
    assert content["pre_tokenizer"] is None
    for place, added in enumerate(content["added_tokens"]):
        assert added["id"] == place
        assert not any(added[name] for name in ("normalized", "lstrip", "rstrip", "special"))
