"""Checkpoints come back bit for bit, are the same bytes twice, and refuse whatever they are not."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rqvae_lib.checkpoints import models as checkpoints
from rqvae_lib.checkpoints.models import (
    load_model,
    load_recommender,
    load_rqvae,
    save_recommender,
    save_rqvae,
    save_sasrec,
    shipped_models,
)
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.io import tensor_files
from rqvae_lib.io.tensor_files import (
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.models.encoder_decoder import EncoderDecoder
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE
from tests.helpers import ROOT

CARD = {
    "command": "train --seed 3",
    "metrics": {"ndcg": 0.1},
    "title": "Amélie 七人の侍",
    "n": None,
}
SAVED = CARD | {"torch": torch.__version__}  # and what every card says


def embeddings() -> Tensor:
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(1)) * 3 + 5


def new_rqvae(**settings: Any) -> RQVAE:
    torch.manual_seed(0)
    settings = {"hidden_dims": (8, 7), "latent_dim": 4, "ema_decay": 0.9} | settings
    model = RQVAE(RQVAEConfig(6, num_levels=2, codebook_size=5, dead_after=7, **settings))
    model.fit_to_data(embeddings(), generator=torch.Generator().manual_seed(0))
    model.train()(embeddings())  # averages and counts that differ from a new model's
    return model.eval()


def some_ids(seed: int = 0) -> SemanticIDs:
    generator = torch.Generator().manual_seed(seed)
    return SemanticIDs(torch.randint(4, (30, 2), generator=generator), [4, 4])


def new_decoder() -> DecoderOnly:
    transformer = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8, dropout=0.1)
    torch.manual_seed(0)
    model = DecoderOnly(DecoderOnlyConfig(transformer, max_items=5), some_ids()).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def write_both(folder: Path) -> None:
    save_rqvae(folder / "rqvae.safetensors", new_rqvae(), **CARD)
    save_recommender(folder / "recommender.safetensors", new_decoder(), **CARD)


LOADERS = {"rqvae": load_rqvae, "recommender": load_recommender}
both = pytest.mark.parametrize("kind", ["rqvae", "recommender"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_both(tmp_path)
    return tmp_path


def refused(path: Path, kind: str, match: str | None = None) -> None:
    """The loader must raise CheckpointError, in one line, that names the file."""
    with pytest.raises(CheckpointError, match=match) as caught:
        LOADERS[kind](path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def rewrite(
    path: Path,
    change_header: Callable[[dict[str, Any]], object] = lambda header: None,
    change_tensors: Callable[[dict[str, Tensor]], object] = lambda tensors: None,
) -> None:
    """Change a checkpoint as someone would who knows the format."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["rqvae-lib"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    changed = change_header(header)
    change_tensors(tensors)
    text = json.dumps(changed if changed is not None else header)
    save_file(tensors, path, metadata={"rqvae-lib": text})


# Round trips


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"learning": "gradient", "commitment_weight": 0.5},
        {"estimator": "rotation"},
        {
            **{"estimator": "gumbel", "learning": "gradient"},
            **{"temperature": 0.7, "final_temperature": 0.3, "temperature_decay": 0.9},
        },
        {"hidden_dims": None, "latent_dim": 6},  # residual k-means
    ],
)
def test_an_rqvae_comes_back_bit_for_bit(folder: Path, settings: dict[str, Any]) -> None:
    model = new_rqvae(**settings)
    save_rqvae(folder / "rqvae.safetensors", model, **CARD)
    torch.manual_seed(4)
    loaded, card = load_rqvae(folder / "rqvae.safetensors")
    assert card == SAVED
    assert loaded.config == model.config
    assert not loaded.training
    x = embeddings()
    assert torch.equal(loaded.assign(x), model.assign(x))
    with torch.no_grad():
        assert torch.equal(loaded(x).reconstruction, model(x).reconstruction)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert loaded.quantizer.initialized
    for name in (  # settings that are not tensors
        *("estimator", "learning", "commitment_weight", "ema_decay", "dead_after"),
        *("final_temperature", "temperature_decay"),
    ):
        assert getattr(loaded.quantizer, name) == getattr(model.quantizer, name), name
    assert (loaded.quantizer.ema_decay, loaded.quantizer.dead_after) == (0.9, 7)
    outputs = []
    for one in (model, loaded):  # it goes on learning as it would have
        torch.manual_seed(5)
        outputs.append([one.train()(x).loss, one(x).loss])
    assert outputs[0] == outputs[1]


def test_a_recommender_comes_back_bit_for_bit_with_its_catalogue(folder: Path) -> None:
    model = new_decoder()
    loaded, card = load_recommender(str(folder / "recommender.safetensors"), some_ids())
    assert card == SAVED
    assert loaded.config == model.config
    assert loaded.ids.sha256 == some_ids().sha256
    assert loaded.sizes == model.sizes
    assert not loaded.training
    histories = [torch.tensor([1, 2, 3]), torch.tensor([], dtype=torch.int64)]
    parents, codes = torch.tensor([[0, 0], [0, 0]]), torch.tensor([[1, 2], [3, 0]])
    with torch.no_grad():
        states = [m.extend(m.encode_history(histories), parents, codes) for m in (model, loaded)]
        logits = [
            m.next_code_logits(state) for m, state in zip((model, loaded), states, strict=True)
        ]
        items = torch.tensor([[1, 2, 29], [4, 0, -1]])
        assert torch.equal(model.loss(items), loaded.loss(items))
    assert torch.equal(*logits)


def test_any_tensors_come_back_even_views_and_scalars(tmp_path: Path) -> None:
    table = torch.arange(12.0).view(3, 4)
    tensors = {"t": table.T, "step": torch.tensor(3.0), "flag": torch.tensor(True)}
    save_checkpoint(tmp_path / "x", "anything", tensors, {"a": 1}, {"b": [2]})
    kind, back, config, card = load_checkpoint(tmp_path / "x", ["anything"])
    assert (kind, config, card) == ("anything", {"a": 1}, {"b": [2]})
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_a_model_is_loaded_without_torchs_compiler() -> None:
    """To import the compiler takes seconds."""
    program = (
        "import sys; from rqvae_lib.checkpoints.models import load_model; "
        "load_model('movielens-small-2016-rq-transformer'); "
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_same_model_is_the_same_bytes_in_another_process_too(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again, elsewhere = tmp_path_factory.mktemp("again"), tmp_path_factory.mktemp("elsewhere")
    write_both(again)
    program = (
        "import sys; from pathlib import Path; from tests.checkpoints.test_models import "
        "write_both; write_both(Path(sys.argv[1]))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run(
        [sys.executable, "-c", program, str(elsewhere)], check=True, env=environment, cwd=ROOT
    )
    for name in ("rqvae.safetensors", "recommender.safetensors"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
        assert (elsewhere / name).read_bytes() == (folder / name).read_bytes()
    card = dict(reversed(CARD.items()))  # the order in which a card was filled in does not count
    save_rqvae(again / "rqvae.safetensors", new_rqvae(), **card)
    assert (again / "rqvae.safetensors").read_bytes() == (folder / "rqvae.safetensors").read_bytes()


def test_an_encoder_decoder_comes_back_as_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = EncoderDecoderConfig(new_decoder().config.transformer, max_items=5)
    model = EncoderDecoder(config, some_ids()).eval()
    path = tmp_path / "model.safetensors"
    save_recommender(path, model, **CARD)
    loaded, card = load_recommender(path, some_ids())
    assert isinstance(loaded, EncoderDecoder)
    assert loaded.config == config
    assert card == SAVED
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    with pytest.raises(CheckpointError, match="catalogue"):
        load_recommender(path, some_ids(1))
    with pytest.raises(CheckpointError, match=r"of 'encoder-decoder'.*expected 'rqvae'"):
        load_rqvae(path)


def test_the_shipped_recommender_speaks_the_ids_of_the_shipped_tokenizer() -> None:
    tokenizer, card = load_rqvae("movielens-small-2016")
    recommender, other_card = load_recommender("movielens-small-2016")
    dataset = load_dataset("movielens-small-2016")
    assert card["data"] == other_card["data"] == dataset.checksum
    codes = tokenizer.assign(item_vectors(dataset, card["content"]).tensor)
    # Another processor rounds otherwise, so that an item half-way between two codewords may move.
    assert (codes == recommender.ids.codes).all(1).float().mean() > 0.999


def test_the_recommenders_in_the_package_are_light() -> None:
    folder = Path(checkpoints.__file__).parent / "pretrained"
    names = shipped_models("movielens-small-2016")
    assert len(names) == 6
    # Whoever installs the package downloads them.
    assert sum((folder / f"{name}.safetensors").stat().st_size for name in names) < 8e6


# What is refused


@both
def test_the_other_kind_is_refused_by_its_name(folder: Path, kind: str) -> None:
    other = "recommender" if kind == "rqvae" else "rqvae"
    path = folder / f"{other}.safetensors"
    names = {"rqvae": "rqvae", "recommender": "decoder-only"}
    refused(path, kind, f"checkpoint of '{names[other]}'.*expected '{names[kind]}'")


@both
@pytest.mark.parametrize(
    "content", [b"", b"abc", b"\x80\x04pickle", b"PK\x03\x04" + bytes(200), b"{}" * 50, bytes(64)]
)
def test_what_is_not_safetensors_is_refused(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    refused(path, kind, "is not a checkpoint, or is damaged|is a pickle, not")


@both
def test_safetensors_of_another_program_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    refused(path, kind, "another program")
    save_file({"w": torch.zeros(2)}, path, metadata={"format": "pt"})
    refused(path, kind, "another program")


@both
def test_a_file_cut_short_anywhere_is_refused(folder: Path, kind: str) -> None:
    path = folder / f"{kind}.safetensors"
    whole = path.read_bytes()
    for length in (1, 7, 8, 9, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path, kind, "damaged")
    path.write_bytes(whole + b"x")
    refused(path, kind, "damaged")


HEADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no format": lambda h: h.pop("format"),
    "later format": lambda h: h.update(format="rqvae-lib 99"),
    "no config": lambda h: h.pop("config") and None,
    "no card": lambda h: h.pop("card") and None,
    "config null": lambda h: h.update(config=None),
    "config a list": lambda h: h.update(config=[1, 2]),
    "config a word": lambda h: h.update(config="x"),
    "unknown setting": lambda h: h["config"].update(surprise=1),
    "header a list": lambda h: [1],
    "header a number": lambda h: 3,
    "header a word": lambda h: "x",
}


@both
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_was_changed_is_refused(folder: Path, kind: str, name: str) -> None:
    path = folder / f"{kind}.safetensors"
    rewrite(path, HEADERS[name])
    refused(path, kind)


@both
def test_a_header_that_is_not_json_is_refused(folder: Path, kind: str) -> None:
    path = folder / f"{kind}.safetensors"
    for text in ("", "{", "null", "nonsense", "[" * 100_000):
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, path, metadata={"rqvae-lib": text})
        refused(path, kind)


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        ("rqvae", "input_dim", 7),
        ("rqvae", "hidden_dims", [8]),
        ("rqvae", "hidden_dims", "ab"),
        ("rqvae", "num_levels", 3),
        ("rqvae", "num_levels", -1),
        ("rqvae", "latent_dim", "4"),
        ("rqvae", "codebook_size", 4.5),
        ("rqvae", "ema_decay", 2),
        ("rqvae", "hidden_dims", None),
        ("rqvae", "estimator", "magic"),
        ("rqvae", "estimator", "gumbel"),
        ("rqvae", "learning", "gradient"),  # then there would be no averages
        ("rqvae", "temperature", 0),
        ("recommender", "max_items", 6),
        ("recommender", "max_items", None),
        ("recommender", "transformer", None),
        ("recommender", "transformer", {"num_heads": 0}),
        ("recommender", "transformer", {"dim": 10, "num_heads": 5}),
        ("recommender", "transformer", {"surprise": 1}),
        ("recommender", "id_sizes", [4, 4]),
        ("recommender", "id_sizes", [5, 4, 9]),
        ("recommender", "id_sizes", []),
        ("recommender", "id_sizes", None),
        ("recommender", "id_sizes", ["4", "4", "4"]),
        ("recommender", "id_sha256", "0" * 64),
        ("recommender", "id_sha256", None),
    ],
)
def test_settings_that_do_not_fit_the_weights_are_refused(
    folder: Path, kind: str, setting: str, value: object
) -> None:
    path = folder / f"{kind}.safetensors"
    rewrite(path, lambda header: header["config"].update({setting: value}))
    refused(path, kind)


WEIGHTS: dict[str, tuple[str, Callable[[dict[str, Tensor]], object]]] = {
    "one is missing": ("rqvae", lambda t: t.pop("mean")),
    "one too many": ("rqvae", lambda t: t.update(more=torch.zeros(1))),
    "of an older version": ("rqvae", lambda t: t.update(old=t.pop("quantizer.unused_rows"))),
    "another shape": ("rqvae", lambda t: t.update(mean=torch.zeros(7))),
    "the start is missing": ("recommender", lambda t: t.pop("start")),
    "bias of another shape": ("recommender", lambda t: t.update(bias=torch.zeros(3))),
    "no IDs": ("recommender", lambda t: t.pop("semantic_ids")),
    "IDs a vector": (
        "recommender",
        lambda t: t.update(semantic_ids=torch.zeros(30, dtype=torch.int64)),
    ),
    "IDs a number": ("recommender", lambda t: t.update(semantic_ids=torch.tensor(3))),
    "IDs of no item": ("recommender", lambda t: t.update(semantic_ids=t["semantic_ids"][:0])),
    "IDs as floats": ("recommender", lambda t: t.update(semantic_ids=t["semantic_ids"].float())),
    "fewer IDs": ("recommender", lambda t: t.update(semantic_ids=t["semantic_ids"][:-1])),
    "IDs swapped": ("recommender", lambda t: t.update(semantic_ids=t["semantic_ids"].flip(0))),
    "a code outside": ("recommender", lambda t: t["semantic_ids"][3, 0].fill_(99)),
    "a code changed": (
        "recommender",
        lambda t: t["semantic_ids"][3, 0].copy_(3 - t["semantic_ids"][3, 0]),
    ),
    "a disambiguation changed": ("recommender", lambda t: t["semantic_ids"][3, 2].add_(1)),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_tensors_that_were_changed_are_refused(folder: Path, name: str) -> None:
    kind, change = WEIGHTS[name]
    path = folder / f"{kind}.safetensors"
    rewrite(path, change_tensors=change)
    refused(path, kind)


def test_rewriting_without_a_change_is_accepted(folder: Path) -> None:
    """Otherwise the refusals above might be of the rewriting alone."""
    for kind, load in LOADERS.items():
        path = folder / f"{kind}.safetensors"
        before = path.read_bytes()
        rewrite(path)
        load(path)
        assert len(before) > 100


def test_the_ids_of_another_catalogue_are_refused(folder: Path) -> None:
    path = folder / "recommender.safetensors"
    ours, theirs = some_ids().sha256[:12], some_ids(1).sha256[:12]
    with pytest.raises(CheckpointError, match=f"catalogue {ours}….*yours is {theirs}…") as caught:
        load_recommender(path, some_ids(1))
    assert str(path) in str(caught.value)


@both
def test_a_missing_file_is_said(tmp_path: Path, kind: str) -> None:
    for name in (tmp_path / "none.safetensors", "no-such-dataset"):
        with pytest.raises(FileNotFoundError, match=r"neither a file nor a shipped checkpoint"):
            LOADERS[kind](name)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.safetensors", ["rqvae"])


@both
def test_a_folder_is_not_a_checkpoint(tmp_path: Path, kind: str) -> None:
    with pytest.raises(OSError, match="neither a file"):
        LOADERS[kind](tmp_path)


# Whole or not at all


@pytest.mark.parametrize("broken", ["replace", "save_file", "fsync"])
def test_a_full_disk_leaves_the_old_file_and_no_litter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = folder / "rqvae.safetensors"
    before, names = path.read_bytes(), sorted(folder.iterdir())

    def fail(*args: object, **kwargs: object) -> None:
        if broken == "save_file":  # half a file is on the disk already
            Path(str(args[1])).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensor_files if broken == "save_file" else os, broken, fail)
    model = new_rqvae()
    with pytest.raises(OSError, match="No space left"):
        save_rqvae(path, model, new=True)
    with pytest.raises(OSError, match="No space left"):
        save_rqvae(folder / "another.safetensors", model, new=True)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert sorted(folder.iterdir()) == names
    save_rqvae(path, model, new=True)
    assert load_rqvae(path)[1]["new"] is True


def test_a_parent_that_is_a_file_is_an_os_error(folder: Path) -> None:
    with pytest.raises(OSError, match="rqvae"):
        save_rqvae(folder / "rqvae.safetensors" / "below.safetensors", new_rqvae(), **CARD)


def test_a_card_that_json_cannot_hold_leaves_the_old_file(folder: Path) -> None:
    path = folder / "rqvae.safetensors"
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"^the card\['when'\] is <object .*, of type object; expected"
    ):
        save_rqvae(path, new_rqvae(), when=object())
    assert path.read_bytes() == before


def test_weights_in_half_the_bytes_come_back_rounded(tmp_path: Path) -> None:
    decoder, sasrec = new_decoder(), SASRec(SASRecConfig(num_items=30)).eval()
    save_recommender(tmp_path / "recommender", decoder, **CARD)
    save_recommender(tmp_path / "half-recommender", decoder, half=True, **CARD)
    save_sasrec(tmp_path / "sasrec", sasrec, **CARD)
    save_sasrec(tmp_path / "half-sasrec", sasrec, half=True, **CARD)
    for name, model in (("recommender", decoder), ("sasrec", sasrec)):
        loaded, _ = load_model(tmp_path / f"half-{name}")
        for key, tensor in model.state_dict().items():
            found = loaded.state_dict()[key]
            assert found.dtype == tensor.dtype
            rounded = tensor.half().float() if tensor.is_floating_point() else tensor
            assert torch.equal(found, rounded), key
        saved = (tmp_path / name).stat().st_size - (tmp_path / f"half-{name}").stat().st_size
        weights = sum(parameter.numel() for parameter in model.parameters())
        assert abs(saved - 2 * weights) < 200  # the headers differ in length


@pytest.mark.parametrize("number", [1e5, float("nan")])
def test_a_weight_that_float16_cannot_hold_is_refused(folder: Path, number: float) -> None:
    model = new_decoder()
    with torch.no_grad():
        model.start[0] = number
    weights = copy.deepcopy(model.state_dict())
    before = (folder / "recommender.safetensors").read_bytes()
    with pytest.raises(ValueError, match=f"tensor 'start' holds {number:g}; float16 holds"):
        save_recommender(folder / "recommender.safetensors", model, half=True, **CARD)
    assert (folder / "recommender.safetensors").read_bytes() == before
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.nan_to_num(), weights[name].nan_to_num()), name


def test_an_encoder_decoder_is_no_encoder() -> None:
    with pytest.raises(FileNotFoundError, match="neither a file nor a shipped checkpoint"):
        load_recommender("movielens-small-2016-encoder")


def test_paths_may_be_text(tmp_path: Path) -> None:
    save_rqvae(str(tmp_path / "rqvae.safetensors"), new_rqvae())
    save_recommender(str(tmp_path / "recommender.safetensors"), new_decoder())
    load_rqvae(str(tmp_path / "rqvae.safetensors"))
    load_recommender(str(tmp_path / "recommender.safetensors"))
