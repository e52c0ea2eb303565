"""Bad files, one after another, and the sentence that each gets; and no pickle is ever opened."""

import ast
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rqvae_lib.checkpoints.models import load_recommender, load_rqvae
from rqvae_lib.embeddings.text import read_embeddings
from rqvae_lib.io.tensor_files import CheckpointError
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.files import read_ids
from rqvae_lib.training.state import Best, load_state, save_state, steps_of
from tests.checkpoints.test_models import rewrite, some_ids, write_both
from tests.helpers import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = {"num_steps": 9, "ids": "abc"}
HUGE = 10**12


def training(width: int = 3) -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(0)
    model = nn.Linear(2, width)
    return model, torch.optim.AdamW(model.parameters())


def write_state(path: Path) -> None:
    model, optimizer = training()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    best = Best(higher_is_better=True)
    best.update(0.5, 1, model)
    save_state(path, model, optimizer, SETTINGS, 1, best)


def resume(path: Path) -> None:
    load_state(path, *training(), SETTINGS, Best(higher_is_better=True))


READERS: dict[str, Callable[[Path], object]] = {
    "rqvae": load_rqvae,
    "recommender": lambda path: load_recommender(path, some_ids()),
    "state": resume,
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A good file of each kind."""
    write_both(tmp_path)
    write_state(tmp_path / "state.safetensors")
    return {kind: tmp_path / f"{kind}.safetensors" for kind in READERS}


Change = Callable[[Path], object]


def content(change: Callable[[bytes], bytes]) -> Change:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def header(**changes: object) -> Change:
    return lambda path: rewrite(path, lambda found: found.update(changes))


def setting(**changes: object) -> Change:
    return lambda path: rewrite(path, lambda found: found["config"].update(changes))


def transformer(**changes: object) -> Change:
    return lambda path: rewrite(path, lambda found: found["config"]["transformer"].update(changes))


def card(**changes: object) -> Change:
    return lambda path: rewrite(path, lambda found: found["card"].update(changes))


def tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return lambda path: rewrite(
        path, change_tensors=lambda found: found.update({name: change(found[name])})
    )


def without(name: str) -> Change:
    return lambda path: rewrite(path, change_tensors=lambda found: found.pop(name))


def filled(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Put a number into a tensor, at one place."""

    def fill(found: torch.Tensor) -> torch.Tensor:
        found.view(-1)[-1] = value
        return found

    return fill


def length(number: int) -> Change:
    return content(lambda found: number.to_bytes(8, "little") + found[8:])


def pickled(zipped: bool) -> Change:
    return lambda path: torch.save(
        {"w": torch.zeros(3)}, path, _use_new_zipfile_serialization=zipped
    )


VOCABULARY = {
    "id_sizes": [HUGE, HUGE, 9],
    "id_sha256": SemanticIDs(some_ids().codes, [HUGE, HUGE]).sha256,
}
DAMAGED = "is not a checkpoint, or is damaged"
UNFIT = "does not match its own description"
OTHER = "holds a model of another shape, or is damaged"
TABLE: dict[str, tuple[str, Change, str]] = {
    # The file
    "no bytes": ("rqvae", content(lambda found: b""), f"{DAMAGED} .*header too small"),
    "half of it": ("rqvae", content(lambda f: f[: len(f) // 2]), DAMAGED),
    "a byte less": ("recommender", content(lambda f: f[:-1]), DAMAGED),
    "a byte more": ("recommender", content(lambda f: f + b"x"), DAMAGED),
    "a header of 8 exabytes": ("rqvae", length(2**63), f"{DAMAGED} .*header too large"),
    "a header past the end": ("rqvae", length(50_000_000), DAMAGED),
    "a header of 3 bytes": ("state", length(3), DAMAGED),
    "a header that is no JSON": ("rqvae", content(lambda f: f.replace(b"{", b"[", 1)), DAMAGED),
    "a pickle, zipped (.pt)": ("rqvae", pickled(True), "is a pickle, not a safetensors file"),
    "a pickle of old": ("recommender", pickled(False), "is a pickle, not a safetensors file"),
    "a pickle for a state": ("state", pickled(True), "is a pickle, not a safetensors file"),
    "of another program": (
        "rqvae",
        lambda path: save_file({"w": torch.zeros(2)}, path),
        "checkpoint of 'another program'",
    ),
    # What it says of itself
    "a later version": ("rqvae", header(format="rqvae-lib 99"), r"'rqvae-lib 99'\); expected"),
    "a state of a later version": ("state", header(format="rqvae-lib 99"), "'rqvae-lib 99'"),
    "a format that is a list": ("rqvae", header(format=[1]), r"\(\[1\]\); expected"),
    "a kind that is a list": ("recommender", header(kind=["decoder-only"]), "a checkpoint of "),
    "a number of 5000 digits": (
        "rqvae",
        lambda path: save_file({}, path, metadata={"rqvae-lib": f"[{'1' * 5000}]"}),
        f"{DAMAGED} .*4300 digits",
    ),
    "no configuration": ("rqvae", header(config=None), "its config is None"),
    "a card that is a list": ("recommender", header(card=[1]), r"its card is \[1\]"),
    "no card": ("recommender", header(card=None), "its card is None"),
    # Settings
    "an unknown setting": ("rqvae", setting(surprise=1), "it has a setting 'surprise'"),
    "a word for a number": (
        "rqvae",
        setting(num_levels="2"),
        "num_levels is '2'; expected a whole",
    ),
    "true for a number": (
        "rqvae",
        setting(num_levels=True),
        "num_levels is True; expected a whole",
    ),
    "a fraction": ("rqvae", setting(codebook_size=5.0), "codebook_size is 5.0; expected a whole"),
    "a word for a width": (
        "rqvae",
        setting(hidden_dims=[8, "7"]),
        "hidden_dims is '7'; expected a",
    ),
    "NaN": ("rqvae", setting(ema_decay=float("nan")), "ema_decay is nan; expected a finite"),
    "no such estimator": (
        "rqvae",
        setting(estimator="magic"),
        "estimator is 'magic'; expected 'st",
    ),
    "no level": ("rqvae", setting(num_levels=0), "num_levels is 0; it must be at least 1"),
    "negative layers": ("recommender", transformer(num_layers=-1), "num_layers is -1; it must be"),
    "no layer": (
        "recommender",
        transformer(num_layers=0),
        "num_layers is 0; it must be at least 1",
    ),
    "too much dropout": (
        "recommender",
        transformer(dropout=1.5),
        r"dropout is 1.5; it must be in \[0",
    ),
    "a list for a part": (
        "recommender",
        setting(transformer=[1]),
        "TransformerConfig is .1.; expected",
    ),
    "1 for true": ("recommender", setting(valid_only=1), "valid_only is 1; expected true or false"),
    # A small file that asks for gigabytes
    "many layers": ("recommender", transformer(num_layers=HUGE), f"describes {HUGE} layers"),
    "many layers of an MLP": ("rqvae", setting(hidden_dims=[1] * 50_000), "describes 50000 layers"),
    "a wide model": ("recommender", transformer(dim=10**6, num_heads=1), "model needs .*1000000"),
    "a long window": ("recommender", setting(max_items=HUGE), f"the model needs .*{HUGE}"),
    "many codewords": ("rqvae", setting(codebook_size=HUGE), f"the model needs .*{HUGE}"),
    "wide layers": ("rqvae", setting(hidden_dims=[10**6, 10**6]), "the model needs .*1000000"),
    "wider than int64": ("rqvae", setting(hidden_dims=[10**30, 7]), UNFIT),
    "a wide vocabulary": ("recommender", setting(**VOCABULARY), "the model needs .*20000000000"),
    # Tensors
    "one is missing": ("rqvae", without("mean"), "the file lacks the tensor 'mean'"),
    "one too many": (
        "rqvae",
        lambda path: rewrite(path, change_tensors=lambda t: t.update(more=torch.zeros(1))),
        "the file has an unknown tensor 'more'",
    ),
    "another shape": ("rqvae", tensor("mean", lambda t: t[:-1].clone()), r"\(5,\).* needs \(6,\)"),
    "twice the precision": (
        "rqvae",
        tensor("std", torch.Tensor.double),
        "float64; the model needs",
    ),
    "float16 in a tokenizer": (
        "rqvae",
        tensor("std", torch.Tensor.half),
        "float16; the model need",
    ),
    "bfloat16": (
        "recommender",
        tensor("start", torch.Tensor.bfloat16),
        "bfloat16; the model need",
    ),
    "a weight NaN": ("rqvae", tensor("encoder.0.weight", filled(float("nan"))), "are not finite"),
    "a weight infinite": (
        "recommender",
        tensor("bias", filled(float("inf"))),
        "'bias' holds numbers",
    ),
    "no spread": ("rqvae", tensor("std", filled(0)), "'std' holds a spread that is not above 0"),
    # The catalogue
    "a code too high": (
        "recommender",
        tensor("semantic_ids", lambda t: t + 4),
        "has code 4|has code 5|6|7",
    ),
    "a code below 0": (
        "recommender",
        tensor("semantic_ids", lambda t: t - 4),
        r"has code -\d at level",
    ),
    "other IDs": (
        "recommender",
        tensor("semantic_ids", lambda t: t.flip(0)),
        "changed after it was written",
    ),
    "a name that is a number": ("recommender", setting(id_sha256=5), "it records 5…"),
    # States
    "of another training": ("state", setting(ids="xyz"), "ids was xyz; now ids=abc"),
    "of another length": ("state", setting(num_steps=8), "num_steps was 8; now num_steps=9"),
    "of another length, in lines": (
        "state",
        setting(num_steps="x\n" * 9999),
        "num_steps was x x x .*; now num_steps=9",
    ),
    "of another model": ("state", tensor("model.weight", lambda t: t[:2].clone()), OTHER),
    "a checkpoint for a state": (
        "state",
        lambda path: path.write_bytes(path.with_name("rqvae.safetensors").read_bytes()),
        "checkpoint of 'rqvae' .*expected 'training-state'",
    ),
    "averages of another shape": (
        "state",
        tensor("optimizer.0.exp_avg", lambda t: t[:2].clone()),
        rf"{OTHER} \(tensor 'exp_avg' has shape",
    ),
    "averages NaN": ("state", tensor("optimizer.0.exp_avg", filled(float("nan"))), "not finite"),
    "no averages": (
        "state",
        without("optimizer.0.exp_avg_sq"),
        "the file lacks the tensor 'exp_avg_sq'",
    ),
    "an unknown part": (
        "state",
        lambda path: rewrite(path, change_tensors=lambda t: t.update(x=torch.zeros(1))),
        OTHER,
    ),
    "a step below 0": ("state", card(step=-1), "its step is -1, expected a number of steps"),
    "a step that is a word": ("state", card(step="1"), "its step is '1', expected a number"),
    "a best value that is a word": ("state", card(best_value="x"), "its best value is 'x'"),
    "a best value past all floats": ("state", card(best_value=10**400), "too large"),
    "best weights missing": ("state", without("best.weight"), "the file lacks the tensor 'weight'"),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_bad_file_gets_its_sentence(files: dict[str, Path], name: str) -> None:
    kind, change, says = TABLE[name]
    path = files[kind]
    READERS[kind](path)  # as long as nobody changes it
    change(path)
    with pytest.raises(CheckpointError, match=says) as caught:
        READERS[kind](path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    assert len(said) < len(str(path)) + 700
    assert ": " in said.removeprefix(str(path))  # what to do


def test_a_refused_state_leaves_the_model_alone(files: dict[str, Path]) -> None:
    tensor("optimizer.1.exp_avg", filled(float("nan")))(files["state"])
    model, optimizer = training()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    nn.init.zeros_(model.weight)
    with pytest.raises(CheckpointError, match="not finite"):
        load_state(files["state"], model, optimizer, SETTINGS)
    assert not model.weight.any()
    assert before["weight"].any()
    assert optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize("value", [-1, "1", None, 1.5, True])
def test_the_steps_of_a_damaged_state_are_not_guessed(
    files: dict[str, Path], value: object
) -> None:
    card(step=value, best_step=0)(files["state"])
    with pytest.raises(CheckpointError, match=r"state\.safetensors is damaged \(its step is"):
        steps_of(files["state"])


@pytest.mark.parametrize("kind", READERS)
def test_a_folder_is_the_systems_error(tmp_path: Path, kind: str) -> None:
    with pytest.raises(OSError, match=str(tmp_path)):
        READERS[kind](tmp_path)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to read everything, for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize("kind", [*READERS, "embeddings", "csv", "parquet"])
def test_what_may_not_be_read_is_the_systems_error(kind: str) -> None:
    readers: dict[str, Callable[[Path], object]] = READERS | {
        "embeddings": lambda path: read_embeddings(path, ["text"]),
        "csv": lambda path: read_ids(path, [2]),
        "parquet": lambda path: read_ids(path, [2]),
    }
    ending = kind if kind in ("csv", "parquet") else "safetensors"
    with tempfile.TemporaryDirectory() as folder:  # pytest's folders are closed to others
        Path(folder).chmod(0o755)
        path = Path(folder) / f"file.{ending}"
        path.write_bytes(b"secret")
        path.chmod(0)
        with as_nobody(), pytest.raises(PermissionError, match=str(path)):
            readers[kind](path)


# No pickle


class Touching:
    """Whoever unpickles this makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("way", ["pickle", "old pickle", "torch"])
@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "x.csv", "x.parquet"])
def test_no_reader_opens_a_pickle(tmp_path: Path, way: str, name: str) -> None:
    path, marker = tmp_path / name, tmp_path / "marker"
    if way == "torch":
        torch.save(Touching(marker), path)
    else:
        path.write_bytes(pickle.dumps(Touching(marker), protocol=0 if way == "old pickle" else 4))
    readers = [*READERS.values(), steps_of, lambda path: read_embeddings(path, ["text"])]
    if path.suffix in (".csv", ".parquet"):
        readers.append(lambda path: read_ids(path, [2]))
    for read in readers:
        with pytest.raises(ValueError, match=name):
            read(path)
        assert not marker.exists()
    if way == "torch":
        with path.open("rb") as file:
            torch.load(file, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert marker.exists()  # or nothing above was proven


CAREFUL = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def opens_pickles(source: str) -> list[str]:
    """Return what in a program's text can run what stands in a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in CAREFUL]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").split(".")[0] in CAREFUL else []
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            bad = {"torch.load", "pd.read_pickle", "pandas.read_pickle", "eval", "exec"}
            allowed = [keyword for keyword in node.keywords if keyword.arg == "allow_pickle"]
            if called in bad or any(ast.unparse(one.value) != "False" for one in allowed):
                found.append(ast.unparse(node))
    return found


def test_the_library_holds_nothing_that_opens_a_pickle() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "rqvae_lib").rglob("*.py")]
    assert len(sources) > 50
    assert [found for source in sources for found in opens_pickles(source)] == []


@pytest.mark.parametrize(
    "line",
    [
        *("import pickle", "import os, joblib", "from pickle import loads", "torch.load(path)"),
        *("pd.read_pickle(path)", "np.load(path, allow_pickle=True)", "eval(text)"),
    ],
)
def test_that_search_finds_what_it_looks_for(line: str) -> None:
    assert opens_pickles(line)
    assert not opens_pickles("np.load(path, allow_pickle=False); torch.loads; model.eval()")
