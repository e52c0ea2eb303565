"""Measure how the cost of each stage grows, for chapter 12.

    OMP_NUM_THREADS=1 python book/studies/scaling.py              # all of it, about half an hour
    OMP_NUM_THREADS=1 python book/studies/scaling.py assign step  # these stages; processes: two

writes notebooks/results/12_growth.csv: a row for each stage and size, the median of three runs or
more (of ten million rows, one run). Each row is measured in a process of its own with one thread.
`seconds` is processor time, which other work on the machine hardly changes; what is drawn at random
to work on is not counted. `mib` is the peak of resident memory above what the process had before,
with what was drawn. Vectors, codes and histories are drawn at random and weights are not trained:
neither changes what a stage costs.
"""

import os
import resource
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, multiprocessing

from rqvae_lib.checkpoints.models import load_recommender
from rqvae_lib.data.batches import WindowBatches
from rqvae_lib.data.splits import Histories, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import encode_texts
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.models.configs import DecoderOnlyConfig, RQTransformerConfig, TransformerConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.ops.world import joined
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.trie import Trie
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.loop import train
from tables import Row, replace_rows, write_rows

RESULTS = Path(__file__).parents[2] / "notebooks" / "results" / "12_growth.csv"
PROCESSES = RESULTS.with_name("12_processes.csv")
PROCESSES_COLUMNS = ("batch", "processes", "seconds")
REPEATS = 3
LARGE = 10_000_000  # rows of which one run is enough
REPEATING = ("step", "search")  # stages that take a median of their own
# What a stage is measured at. A column that a stage does not have stays empty.
SIZES = ("items", "users", "encoder", "codebooks", "beams", "batch", "dim", "vectors")
COLUMNS = ("stage", *SIZES, "seconds", "mib")
BLOCK = 100_000  # rows that are drawn at a time
WIDTH = 384

Case = dict[str, int]


def assign(case: Case) -> float:
    """Assign codes to vectors; `encoder` and `codebooks` are multiplications per item."""
    config = _tokenizer_of(case)
    model = RQVAE(config).eval()
    model.quantizer.initialized.fill_(True)  # its codewords are random, which costs the same
    block = torch.randn(min(BLOCK, case["items"]), WIDTH).half()
    begin = time.process_time()
    for _ in range(0, case["items"], BLOCK):
        model.assign(block)
    return time.process_time() - begin


def _tokenizer_of(case: Case) -> RQVAEConfig:
    """Find the tokenizer with so many multiplications per item."""
    for config in tokenizers():
        if multiplications(config) == (case["encoder"], case["codebooks"]):
            return config
    raise ValueError(f"no tokenizer has the multiplications of {case}")


def tokenizers() -> Iterator[RQVAEConfig]:
    """Yield tokenizers with and without an encoder, of several sizes."""
    for levels, size in ((3, 256), (3, 1024), (6, 256), (4, 512)):
        yield RQVAEConfig(WIDTH, num_levels=levels, codebook_size=size)
        yield RQVAEConfig.residual_kmeans(WIDTH, num_levels=levels, codebook_size=size)
    yield RQVAEConfig(WIDTH, hidden_dims=(1024, 512), num_levels=3, codebook_size=256)


def multiplications(config: RQVAEConfig) -> tuple[int, int]:
    """Return the multiplications per item of the encoder, and of the search in the codebooks."""
    encoder = 0
    if config.hidden_dims is not None:
        widths = (config.input_dim, *config.hidden_dims, config.latent_dim)
        encoder = sum(one * other for one, other in pairwise(widths))
    return encoder, config.num_levels * config.codebook_size * config.latent_dim


def index(case: Case) -> float:
    """Make IDs unique and sort them into a trie."""
    codes = torch.randint(256, (case["items"], 4))
    begin = time.process_time()
    Trie(SemanticIDs(codes, 256))
    return time.process_time() - begin


def batches(case: Case) -> float:
    """Read the first 20 batches of 64 windows from histories of 20 items each."""
    users = case["users"]
    items = torch.randint(case["items"], (20 * users,))
    histories = Histories(items, torch.arange(0, 20 * users + 1, 20))
    begin = time.process_time()
    windows = WindowBatches(histories, max_items=50, batch_size=64, seed=0)
    for step in range(20):
        windows(step)
    return time.process_time() - begin


def step(case: Case) -> float:
    """Train an RQ-Transformer for a step: `batch` full windows of 50 items."""
    transformer = TransformerConfig(dim=case["dim"], mlp_dim=4 * case["dim"])
    config = RQTransformerConfig(transformer, prefix_embeddings=bool(case["vectors"]))
    codes = torch.randint(256, (case["items"], 3))
    model = new_recommender(config, SemanticIDs(codes, 256))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    rows = torch.randint(case["items"], (case["batch"], 50))
    spent = []
    for _ in range(6):
        begin = time.process_time()
        model.loss(rows).backward()
        optimizer.step()
        optimizer.zero_grad()
        spent.append(time.process_time() - begin)
    return statistics.median(spent[1:])


def search(case: Case) -> float:
    """Recommend ten items to 64 users with histories of 20 items."""
    codes = torch.randint(256, (case["items"], 3))
    config = DecoderOnlyConfig(TransformerConfig(dim=case["dim"], mlp_dim=4 * case["dim"]))
    model = new_recommender(config, SemanticIDs(codes, 256)).eval()
    histories = list(torch.randint(case["items"], (case["batch"], 20)))
    spent = []
    for _ in range(5):
        begin = time.process_time()
        recommend(model, histories, k=10, beams=case["beams"])
        spent.append(time.process_time() - begin)
    return statistics.median(spent[2:])


def encode(case: Case) -> float:
    """Turn texts of about 30 words into vectors with the sentence encoder of chapter 02."""
    words = "a quiet film about two people who meet by chance on a train and talk all night"
    more = words.split()
    texts = [f"Title {row}, {words} {' '.join(more[: row % 17])}" for row in range(case["items"])]
    encode_texts(texts[:32])  # the model is read
    begin = time.process_time()
    encode_texts(texts)
    return time.process_time() - begin


def cases() -> Iterator[tuple[str, Case]]:
    """Yield what is measured."""
    default = multiplications(RQVAEConfig(WIDTH))
    for config in tokenizers():
        encoder, codebooks = multiplications(config)
        for items in (10_000, 100_000, 1_000_000, 10_000_000):
            if items <= 100_000 or (encoder, codebooks) == default:
                yield "assign", {"items": items, "encoder": encoder, "codebooks": codebooks}
    for items in (10_000, 100_000, 1_000_000, 10_000_000):
        yield "index", {"items": items}
    for users in (10_000, 100_000, 1_000_000, 10_000_000):
        yield "batches", {"items": 10_000, "users": users}
    for batch in (16, 32, 64, 128):
        for dim in (32, 64, 128):
            yield "step", {"items": 10_000, "batch": batch, "dim": dim, "vectors": 0}
    yield "step", {"items": 10_000, "batch": 96, "dim": 192, "vectors": 0}
    for vectors in (0, 1):
        for items in (10_000, 100_000, 1_000_000):
            if vectors or items > 10_000:
                yield "step", {"items": items, "batch": 64, "dim": 64, "vectors": vectors}
    for items in (10_000, 100_000, 1_000_000, 10_000_000):
        yield "search", {"items": items, "beams": 50, "batch": 64, "dim": 64}
    for beams in (10, 20, 100, 200):
        for batch in (16, 64):
            yield "search", {"items": 100_000, "beams": beams, "batch": batch, "dim": 64}
    for dim in (32, 128, 256):
        for beams in (20, 100):
            yield "search", {"items": 100_000, "beams": beams, "batch": 64, "dim": dim}
    yield "search", {"items": 100_000, "beams": 200, "batch": 128, "dim": 192}
    for items in (250, 1_000):
        yield "encode", {"items": items}


def together(processes: int, batch: int) -> float:
    """Return the seconds that each of some processes takes for a step of training, on average.

    Waiting for the others takes no processor time, so this is what a step takes where each process
    has a core of its own, and all are equally fast.
    """
    with TemporaryDirectory() as folder:
        given = (processes, batch, _free_port(), folder)
        multiprocessing.spawn(_train_along, given, nprocs=processes)
        files = [Path(folder) / str(rank) for rank in range(processes)]
        return statistics.mean(float(file.read_text()) for file in files)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _train_along(rank: int, size: int, batch: int, port: int, folder: str) -> None:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ |= {name: str(value) for name, value in numbers.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    ids = load_recommender("movielens-small-2016")[0].ids
    torch.manual_seed(0)
    model = new_recommender(RQTransformerConfig(), ids)
    histories = leave_one_out(load_dataset("movielens-small-2016")).train
    batches = WindowBatches(histories, max_items=50, batch_size=batch, seed=0)
    begun: list[float] = []

    def loss_of(rows: Tensor) -> Tensor:
        begun.append(time.process_time())
        return model.loss(rows)

    with joined():
        training = TrainingConfig(num_steps=30, batch_size=batch, learning_rate=1e-3)
        train(model, loss_of, batches, training, progress=False)
    seconds = statistics.median(later - one for one, later in pairwise(begun[5:]))
    (Path(folder) / str(rank)).write_text(str(seconds))


STAGES: dict[str, Callable[[Case], float]] = {
    work.__name__: work for work in (assign, index, batches, step, search, encode)
}


def run(stage: str, case: Case) -> tuple[float, float]:
    """Do a stage in this process: return its median seconds, and the MiB that it added."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    before = _peak()
    large = max(case.get("items", 0), case.get("users", 0)) >= LARGE
    repeats = 1 if large or stage in REPEATING else REPEATS
    seconds = statistics.median(STAGES[stage](case) for _ in range(repeats))
    return seconds, _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # KiB on Linux


def order(row: Row) -> tuple[int, list[int]]:
    """Sort the table by stage and sizes."""
    return [*STAGES].index(row["stage"]), [int(row[name] or 0) for name in SIZES]


def measure_processes() -> None:
    """Measure a step of training in one process and in two, and write the table."""
    rows = []
    for batch in (16, 64, 256):
        for processes in (1, 2):
            seconds = statistics.median(together(processes, batch) for _ in range(REPEATS))
            values = (f"{batch}", f"{processes}", f"{seconds:.4g}")
            rows.append(dict(zip(PROCESSES_COLUMNS, values, strict=True)))
            print(*values, sep=" | ", flush=True)
    write_rows(PROCESSES, PROCESSES_COLUMNS, rows)


def main(wanted: list[str]) -> None:
    """Measure the wanted stages, and put each row into the table when it is there."""
    if not wanted or "processes" in wanted:
        measure_processes()
    wanted = [stage for stage in wanted if stage != "processes"]
    if not wanted and len(sys.argv) > 1:
        return
    wanted = wanted or [*STAGES]
    chosen = [(stage, case) for stage, case in cases() if stage in wanted]
    for stage, case in sorted(chosen, key=lambda pair: wanted.index(pair[0])):
        with get_context("spawn").Pool(1) as alone:
            seconds, mib = alone.apply(run, (stage, case))
        key = {"stage": stage} | {name: str(case.get(name, "")) for name in SIZES}
        row = {"seconds": f"{seconds:.4g}", "mib": f"{mib:.0f}"}
        replace_rows(RESULTS, COLUMNS, key, [row], order)
        print(*key.values(), *row.values(), sep=" | ", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
