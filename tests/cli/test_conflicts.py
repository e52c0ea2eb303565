"""Options that cannot go together are refused before a dataset is opened.

Reading a dataset may take minutes, and so may what comes after it. What can be known from the
options and from the models that they name is said at once.
"""

import shutil
from importlib import import_module
from pathlib import Path

import pytest

from rqvae_lib.cli import common
from rqvae_lib.cli.train_rqvae import OF_A_TRAINING
from rqvae_lib.data.dataset import Dataset
from tests.cli.running import change_card, fails

registry = import_module("rqvae_lib.datasets.registry")

# Files that the options below name, made of a tokenizer of texts by changing what its card says.
CARDS: dict[str, dict[str, object]] = {
    "text": {},
    "both": {"content": "both", "split": "leave-one-out"},
    "collaborative": {"content": "collaborative", "split": "leave-one-out"},
    "elsewhere": {"content": "both", "split": "last-3"},
}


@pytest.fixture(scope="module")
def models(pipeline: Path, kmeans_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, changes in CARDS.items():
        change_card(pipeline / "runs/rqvae.safetensors", folder / f"{name}.safetensors", **changes)
    recommender = pipeline / "runs/recommender.safetensors"
    shutil.copy(kmeans_file, folder / "kmeans.safetensors")
    shutil.copy(recommender, folder / "recommender.safetensors")
    change_card(recommender, folder / "last-3.safetensors", split="last-3")
    change_card(recommender, folder / "mute.safetensors", "split")
    (folder / "own.npy").write_bytes(b"whatever: nobody gets so far")
    (folder / "folder.csv").mkdir()
    return folder


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load_dataset", lambda *_, **__: pytest.fail("data were opened"))


CONFLICTS = [
    # embed
    ("embed --output vectors.npy", "ends in '.npy': name a .safetensors file"),
    ("embed --output own.npy/vectors.safetensors", "cannot write own.npy/"),
    # train-rqvae
    ("train-rqvae --steps 3 --epochs 2", "either --steps or --epochs, not both"),
    ("train-rqvae --epochs 0", "--epochs is 0; it must be above 0"),
    ("train-rqvae --epochs inf", "--epochs is inf; expected a finite"),
    ("train-rqvae --learning-rate inf", "--learning-rate is inf"),
    ("train-rqvae --snapshots 5,ten", "--snapshots is '5,ten'; expected numbers of steps"),
    ("train-rqvae --snapshots 0", "each must be at least 1"),
    ("train-rqvae --snapshots 4,5,6 --steps 4", "asks for step 5, 6, but the training has 4"),
    ("train-rqvae --snapshots 2001", "asks for step 2001, but the training has 2000 steps"),
    ("train-rqvae --estimator gumbel", "choose learning='gradient'"),
    ("train-rqvae --embeddings nowhere.npy", "nowhere.npy: No such file"),
    ("train-rqvae --embeddings folder.csv", "folder.csv: Is a directory"),
    ("train-rqvae --content collaborative --embeddings own.npy", "--embeddings is own.npy, but"),
    ("train-rqvae --resume", "rqvae-state.safetensors does not exist, so there is nothing to"),
    ("train-rqvae --device abacus", "--device abacus is not usable here"),
    ("train-rqvae --output own.npy/runs", "cannot write own.npy/"),
    ("train-rqvae --start-from nowhere", "nowhere is neither a file nor a shipped"),
    ("train-rqvae --start-from recommender.safetensors", "is a checkpoint of 'decoder-only'"),
    ("train-rqvae --start-from kmeans.safetensors", "which has no weights to train"),
    ("train-rqvae --start-from text.safetensors --levels 4", "--levels is 4, but"),
    ("train-rqvae --start-from text.safetensors --codebook-size 16", "--codebook-size is 16, but"),
    ("train-rqvae --start-from text.safetensors --estimator rotation", "--estimator is rotation"),
    ("train-rqvae --start-from text.safetensors --learning gradient", "--learning is gradient"),
    ("train-rqvae --start-from text.safetensors --content both", "not 'both': pass --content text"),
    ("train-rqvae --start-from both.safetensors", "not 'text': pass --content both"),
    (
        "train-rqvae --start-from both.safetensors --content both --split timestamp",
        "learned from the training part of the leave-one-out split, which may hold what the "
        "timestamp split holds out: pass --split leave-one-out",
    ),
    # compare-tokenizers
    ("compare-tokenizers --output table.parquet", "ends in '.parquet': name a .csv file"),
    ("compare-tokenizers --output folder.csv", "folder.csv"),
    ("compare-tokenizers --embeddings nowhere.npy", "nowhere.npy: No such file"),
    (
        "compare-tokenizers --content collaborative --embeddings own.npy",
        "collaborative vectors come from users' histories and use no texts",
    ),
    ("compare-tokenizers --device abacus", "--device abacus is not usable here"),
    # inference-rqvae
    ("inference-rqvae --output ids.xlsx", "ends in '.xlsx': name a .csv or a .parquet file"),
    ("inference-rqvae --output folder.csv", "folder.csv"),
    ("inference-rqvae --tokenizer nowhere", "nowhere is neither a file nor a shipped"),
    ("inference-rqvae --tokenizer recommender.safetensors", "expected 'rqvae'"),
    ("inference-rqvae --embeddings nowhere.npy", "nowhere.npy: No such file"),
    ("inference-rqvae --tokenizer random --embeddings nowhere.npy", "nowhere.npy: No such file"),
    (
        "inference-rqvae --tokenizer collaborative.safetensors --embeddings own.npy",
        "--embeddings is own.npy, but collaborative vectors",
    ),
    (
        "inference-rqvae --tokenizer elsewhere.safetensors",
        "the split 'last-3', which no command can make: use it from Python",
    ),
    ("inference-rqvae --device abacus", "--device abacus is not usable here"),
    # train-recommender
    (
        "train-recommender --architecture rq-transformer --valid-only",
        "the rq-transformer always chooses among the codes that lead to an item, so --valid-only",
    ),
    (
        "train-recommender --no-prefix-embeddings",
        "the decoder-only has no vectors of prefixes, so --no-prefix-embeddings would change",
    ),
    (
        "train-recommender --architecture encoder-decoder --prefix-embeddings",
        "the encoder-decoder has no vectors of prefixes, so --prefix-embeddings would change",
    ),
    (
        "train-recommender --histories h.safetensors",
        "h.safetensors has no texts or vectors of the items, so no tokenizer can make their IDs",
    ),
    ("train-recommender --dropout 1", "--dropout is 1; it must be at least 0 and below 1"),
    ("train-recommender --embedding-dropout 1", "--embedding-dropout is 1; it must be"),
    ("train-recommender --weight-decay inf", "--weight-decay is inf"),
    ("train-recommender --resume", "recommender-state.safetensors does not exist"),
    ("train-recommender --tokenizer nowhere", "nowhere is neither a file nor a shipped"),
    (
        "train-recommender --tokenizer both.safetensors --split timestamp",
        "in the training part of the leave-one-out split, which may hold what the timestamp split "
        "holds out: train one with --split timestamp",
    ),
    ("train-recommender --embeddings nowhere.npy", "nowhere.npy: No such file"),
    (
        "train-recommender --tokenizer collaborative.safetensors --embeddings own.npy",
        "--embeddings is own.npy, but collaborative vectors",
    ),
    ("train-recommender --output own.npy/runs", "cannot write own.npy/"),
    ("train-recommender --device abacus", "--device abacus is not usable here"),
    # train-sasrec
    ("train-sasrec --dropout 1", "--dropout is 1; it must be at least 0 and below 1"),
    ("train-sasrec --learning-rate inf", "--learning-rate is inf"),
    ("train-sasrec --resume", "sasrec-state.safetensors does not exist"),
    ("train-sasrec --output own.npy/runs", "cannot write own.npy/"),
    ("train-sasrec --device abacus", "--device abacus is not usable here"),
    # evaluate
    ("evaluate popularity no-such-model", "no-such-model is neither a file nor a shipped"),
    ("evaluate text.safetensors", "is a checkpoint of 'rqvae'"),
    (
        "evaluate recommender.safetensors --split timestamp",
        "may have seen the targets of 'timestamp': pass --split leave-one-out, or train one on",
    ),
    (
        "evaluate popularity last-3.safetensors",
        "trained on the split 'last-3', so it may have seen the targets of 'leave-one-out': "
        "evaluate it on its own split from Python",
    ),
    ("evaluate mute.safetensors", "mute.safetensors has no 'split' on its card"),
    ("evaluate --output table.safetensors", "ends in '.safetensors': name a .csv file"),
    ("evaluate --device abacus", "--device abacus is not usable here"),
    # recommend
    ("recommend", "pass either --user ID, --history ID,ID,…, --all or --users FILE"),
    ("recommend --user 1 --history 1", "and only one of them"),
    ("recommend --user 1 --top 10 --beams 5", "k is 10 and beams is 5"),
    (
        "recommend --user 1 --temperature 0",
        "--temperature is 0; it must be at least 1e-06",
    ),
    ("recommend --user 1 --temperature nan", "--temperature is nan"),
    ("recommend --user 1 --max-per-prefix 2 --top 50", "50 items need more than 50 beams"),
    ("recommend --user 1 --max-per-prefix 2 --beams 10", "10 items need more than 10 beams"),
    ("recommend --user 1 --model nowhere", "nowhere is neither a file nor a shipped"),
    ("recommend --user 1 --model text.safetensors", "is a checkpoint of 'rqvae'"),
    ("recommend --user 1 --device abacus", "--device abacus is not usable here"),
]


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(("arguments", "says"), CONFLICTS, ids=[words for words, _ in CONFLICTS])
def test_what_cannot_work_is_refused_before_the_data(
    arguments: str, says: str, models: Path
) -> None:
    before = sorted(models.rglob("*"))
    assert says in fails(*arguments.split(), folder=models)
    assert sorted(models.rglob("*")) == before


TYPED = {
    "start_from": "--start-from text.safetensors",
    "steps": "--steps 3",
    "epochs": "--epochs 1",
    "batch_size": "--batch-size 256",
    "learning_rate": "--learning-rate 0.001",
    "schedule": "--schedule cosine",
    "estimator": "--estimator straight-through",
    "learning": "--learning average",
    "patience": "--patience 1",
    "snapshots": "--snapshots 1",
    "precision": "--precision float32",
    "compile_step": "--compile",
    "resume": "--resume",
    "device": "--device cpu",
}


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize("option", OF_A_TRAINING)
def test_what_residual_kmeans_does_not_have_is_not_passed_over(option: str, models: Path) -> None:
    """Also where it is given with its default: whoever writes it believes that it counts."""
    said = fails("train-rqvae", "--residual-kmeans", *TYPED[option].split(), folder=models)
    assert f"{TYPED[option].split()[0]} would change nothing: leave it out" in said


WHICH_DATA = [
    ("--dataset movielens-small-2016 --interactions own.csv", "not both"),
    ("--dataset movielens-small-2016 --items own.csv", "not both"),
    ("--items own.csv", "name a table of interactions too"),
    ("--dataset movielens-tiny", "no dataset named 'movielens-tiny'"),
]


@pytest.mark.parametrize(("options", "says"), WHICH_DATA, ids=[words for words, _ in WHICH_DATA])
@pytest.mark.parametrize(
    "command",
    [
        "embed --output new/vectors.safetensors",
        "train-rqvae",
        "compare-tokenizers",
        "inference-rqvae --tokenizer pretrained",
        "export --format csv --output ids.csv --tokenizer pretrained",
        "train-recommender --tokenizer pretrained",
        "train-sasrec",
        "evaluate",
        "recommend --user 1 --model pretrained",
    ],
)
def test_which_data_are_meant_is_asked_before_any_are_opened(
    command: str, options: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dataset, "__post_init__", lambda _: pytest.fail("data were opened"))
    assert says in fails(*command.split(), *options.split(), folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_data")
def test_compiling_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "--compile needs a C++ compiler" in fails("train-rqvae", "--compile", folder=tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("shutil.which", lambda name: name if name == "mine" else None)
    monkeypatch.setenv("CXX", "mine")
    common.check_compiler()
