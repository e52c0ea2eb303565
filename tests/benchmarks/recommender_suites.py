"""The recommenders' suites: training steps, and generation under the constraint."""

import time
from collections.abc import Callable
from functools import partial

import torch
from harness import Suite, peak_memory, seeded
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from rqvae_lib.data.batches import WindowBatches
from rqvae_lib.data.splits import Histories
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.compiled import CompiledSearch
from rqvae_lib.models import decoder_only, rq_transformer, sasrec, transformer
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import (
    CONFIGS,
    ArchitectureName,
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.models.encoder_decoder import EncoderDecoder
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs

# The size at which the peers were measured: T5 with four blocks on each side.
T5_SIZED = TransformerConfig(dim=128, num_layers=4, num_heads=4, mlp_dim=1024)


def catalogue(num_items: int) -> SemanticIDs:
    return SemanticIDs(torch.randint(256, (num_items, 3), generator=seeded()), 256)


def users(num_users: int, num_items: int, length: int) -> list[Tensor]:
    return list(torch.randint(num_items, (num_users, length), generator=seeded()))


# Training


def decoder_step(title: str, transformer: TransformerConfig, batch: int, length: int) -> Suite:
    ids = catalogue(9_000)
    items = torch.stack(users(batch, len(ids), length))

    def step_of(embedding_dropout: float) -> Callable[[], None]:
        torch.manual_seed(0)
        config = DecoderOnlyConfig(
            transformer, max_items=length, embedding_dropout=embedding_dropout
        )
        model = DecoderOnly(config, ids).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

        def step() -> None:
            model.loss(items).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    products = decoder_products(transformer, batch, length * len(ids.sizes), ids.sizes)
    return Suite(
        f"A training step of the decoder-only model, {title}",
        {
            "matrix products alone": products,
            "rqvae_lib, without dropout": step_of(0.0),
            "rqvae_lib, dropout of the input vectors": step_of(0.2),
        },
        "matrix products alone",
        rounds=9,
    )


def decoder_products(
    config: TransformerConfig, batch: int, num_tokens: int, sizes: tuple[int, ...]
) -> Callable[[], None]:
    """Return the matrix products of a step, forward and backward, with nothing between them."""
    dim, heads = config.dim, config.num_heads
    x = torch.randn(batch * num_tokens, dim)
    wide = torch.randn(batch * num_tokens, config.mlp_dim)
    qkv = torch.randn(batch * num_tokens, 3 * dim)
    weights = torch.randn(3 * dim, dim), torch.randn(dim, dim), torch.randn(config.mlp_dim, dim)
    q = torch.randn(batch, heads, num_tokens, dim // heads)
    rows = torch.randn(batch * num_tokens // len(sizes), dim)  # the tokens before one level's codes
    tables = [torch.randn(size, dim) for size in sizes]
    scores = [torch.randn(len(rows), size) for size in sizes]

    def linear(x: Tensor, weight: Tensor, gradient: Tensor) -> None:
        x @ weight.T
        gradient @ weight
        gradient.T @ x

    def causal_attention() -> None:
        for start in range(0, num_tokens, 64):  # a token needs no product with those after it
            block, seen = q[:, :, start : start + 64], q[:, :, : start + 64]
            mixing = block @ seen.transpose(2, 3)  # forward: scores, and what they mix
            mixing @ seen
            block @ seen.transpose(2, 3)  # backward: of the mixing weights, q, k and v
            mixing @ seen
            mixing.transpose(2, 3) @ block
            mixing.transpose(2, 3) @ block

    def products() -> None:
        for _ in range(config.num_layers):
            linear(x, weights[0], qkv)
            causal_attention()
            linear(x, weights[1], x)
            linear(x, weights[2], wide)
            linear(wide, weights[2].T, x)
        for table, gradient in zip(tables, scores, strict=True):
            linear(rows, table, gradient)

    return products


def architectures_step() -> Suite:
    """The same windows for both: what the sentence of codes costs beside one token per item."""
    ids = catalogue(9_000)
    items = torch.stack(users(32, len(ids), 50))

    def step_of(architecture: ArchitectureName, **settings: bool) -> Callable[[], None]:
        torch.manual_seed(0)
        config = CONFIGS[architecture](max_items=50, **settings)
        model = new_recommender(config, ids).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

        def step() -> None:
            model.loss(items).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    return Suite(
        "A training step of 32 windows of 50 items, 2 blocks of 64 numbers",
        {
            "RQ-Transformer": step_of("rq-transformer"),
            "RQ-Transformer, codes only": step_of("rq-transformer", prefix_embeddings=False),
            "decoder-only": step_of("decoder-only"),
            "decoder-only, valid codes only": step_of("decoder-only", valid_only=True),
        },
        "RQ-Transformer",
        rounds=41,
    )


def plain_step(name: str) -> Suite:
    """What the loss in blocks and the MLP that is computed again change: time, and peak memory."""
    work, plain = training_step(name), training_step(name)
    return Suite(
        f"A training step of {name}, 32 windows of 50 items of 9,000, 2 blocks of 64 numbers",
        {"plain formulas": partial(with_plain_formulas, plain), "rqvae_lib": work},
        "plain formulas",
        rounds=21,
        notes={
            "plain formulas": f"{peak_memory(f'plain step: {name}'):.0f} MiB at its peak",
            "rqvae_lib": f"{peak_memory(f'step: {name}'):.0f} MiB at its peak",
        },
    )


def training_step(name: str) -> Callable[[], None]:
    ids = catalogue(9_000)
    items = torch.stack(users(32, len(ids), 50))
    torch.manual_seed(0)
    model: Recommender | SASRec
    if name == "SASRec":
        model = SASRec(SASRecConfig(num_items=len(ids)))
    else:
        architecture: ArchitectureName = (
            "rq-transformer" if name == "the RQ-Transformer" else "decoder-only"
        )
        model = new_recommender(CONFIGS[architecture](), ids)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        model.loss(items).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    return step


def with_plain_formulas(step: Callable[[], None]) -> None:
    """Run a step with whole tables of logits, and nothing computed again."""
    plain = {
        (sasrec, "linear_cross_entropy"): plain_cross_entropy,
        (decoder_only, "linear_cross_entropy"): plain_cross_entropy,
        (rq_transformer, "grouped_cross_entropy"): plain_grouped_cross_entropy,
        (transformer, "residual_mlp"): lambda x, norm, mlp: mlp(norm(x)),
    }
    ours = {(module, name): getattr(module, name) for module, name in plain}
    for (module, name), function in plain.items():
        setattr(module, name, function)
    try:
        step()
    finally:
        for (module, name), function in ours.items():
            setattr(module, name, function)


def plain_cross_entropy(
    contexts: Tensor, vectors: Tensor, bias: Tensor | None, targets: Tensor
) -> Tensor:
    logits = torch.nn.functional.linear(contexts, vectors, bias)
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum")


def plain_grouped_cross_entropy(
    contexts: Tensor,
    vectors: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    group: Tensor,
    first: Tensor,
) -> Tensor:
    """Look up the classes of each context's group, padded to the largest group."""
    if len(first) == 2:
        return plain_cross_entropy(contexts, vectors, bias, targets)
    places = torch.arange(int(first.diff().max()))
    classes = first[:-1, None] + places  # (P, S)
    valid = classes < first[1:, None]
    siblings = vectors[classes.clamp(max=len(vectors) - 1)][group]  # (M, S, D)
    logits = (siblings @ contexts[:, :, None])[..., 0].masked_fill(~valid[group], -torch.inf)
    local = targets - first[group]
    return torch.nn.functional.cross_entropy(logits, local, reduction="sum")


# Generation


def over_histories(architecture: ArchitectureName) -> Suite:
    """One user at a time, a thousand different histories of 2 to 49 items: the median and p99."""
    ids = catalogue(9_000)
    torch.manual_seed(0)
    model = new_recommender(CONFIGS[architecture](), ids).eval()
    lengths = torch.randint(2, 50, (1_000,), generator=seeded(1)).tolist()
    histories = [torch.randint(9_000, (n,), generator=seeded(n)) for n in lengths]
    milliseconds = []
    for history in histories[:20] + histories:
        start = time.process_time()
        recommend(model, [history], k=10, beams=10)
        milliseconds.append(1000 * (time.process_time() - start))
    seconds = torch.tensor(milliseconds[20:], dtype=torch.float64)
    middle, late = seconds.quantile(torch.tensor([0.5, 0.99], dtype=torch.float64)).tolist()
    return Suite(
        f"One user at a time, 10 beams, 9,000 items, {architecture}",
        {"recommend": recommender(model, histories[:1], 10)},
        "recommend",
        notes={
            "recommend": f"over 1,000 histories: median {middle:.1f} ms, 99th percentile {late:.1f}"
        },
    )


def whole_catalogue() -> Suite:
    ids = catalogue(9_000)
    torch.manual_seed(0)
    model = RQTransformer(RQTransformerConfig(), ids).eval()
    histories = users(32, len(ids), 49)
    return Suite(
        "An RQ-Transformer for 32 users with 49 items each, 9,000 items",
        {
            "recommend, 50 beams": recommender(model, histories, 50),
            "exact scores of the whole catalogue": lambda: model.scores(histories),
        },
        "recommend, 50 beams",
        rounds=11,
    )


def growing_catalogue(num_users: int, beams: int) -> Suite:
    """A search scores the children of its beams only: more items should not make it dearer."""
    cases = {}
    for num_items in (9_000, 100_000, 1_000_000):
        ids = catalogue(num_items)
        torch.manual_seed(0)
        model = RQTransformer(RQTransformerConfig(), ids).eval()
        cases[f"{num_items:,} items"] = recommender(model, users(num_users, 9_000, 49), beams)
    return Suite(
        f"An RQ-Transformer recommending to {counted(num_users)}, {beams} beams",
        cases,
        "9,000 items",
        rounds=31 if num_users == 1 else 9,
    )


def one_user(architecture: ArchitectureName) -> Suite:
    """What a service that answers one request at a time gains from compiling the search."""
    ids = catalogue(9_000)
    torch.manual_seed(0)
    model = new_recommender(CONFIGS[architecture](), ids).eval()
    histories = users(1, len(ids), 49)
    start = time.perf_counter()
    compiled = CompiledSearch(model, k=10, beams=10)
    seconds = time.perf_counter() - start
    return Suite(
        f"One user, 10 beams, 9,000 items, {architecture}",
        {
            "recommend": recommender(model, histories, 10),
            "CompiledSearch": lambda: compiled(histories[0]),
        },
        "recommend",
        rounds=101,
        notes={"CompiledSearch": f"made in {seconds:.0f} s"},
    )


def window_batches() -> Suite:
    """A batch should cost the same however many users there are."""
    cases = {}
    for num_users in (10_000, 100_000, 1_000_000, 4_000_000):
        lengths = torch.randint(5, 40, (num_users,), generator=seeded())
        offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
        items = torch.randint(9_000, (int(offsets[-1]),), generator=seeded(1))
        batches = WindowBatches(Histories(items, offsets), max_items=50, batch_size=64, seed=0)
        cases[f"{num_users:,} users"] = partial(fifty_steps, batches)
    return Suite("50 batches of 64 windows", cases, "10,000 users", rounds=9)


def fifty_steps(batches: WindowBatches) -> None:
    for step in range(50):
        batches(step)


def model_alone(model: Recommender, histories: list[Tensor], beams: int) -> Callable[[], None]:
    """Return what no search can do without: to read the history, and each code of each beam."""
    parents = torch.arange(beams).expand(len(histories), -1)

    @torch.no_grad()
    def passes() -> None:
        state = model.encode_history(histories)
        for depth in range(len(model.sizes)):
            model.next_code_logits(state)
            if depth < len(model.sizes) - 1:
                chosen = parents if depth else torch.zeros_like(parents)
                state = model.extend(state, chosen, torch.zeros_like(parents))

    return passes


def recommending(num_users: int, beams: int) -> Suite:
    cases = {}
    for num_items in (9_000, 100_000):
        ids = catalogue(num_items)
        torch.manual_seed(0)
        model = DecoderOnly(DecoderOnlyConfig(), ids).eval()
        histories = users(num_users, 9_000, 49)
        if not cases:
            cases["the model alone: history and four codes"] = model_alone(model, histories, beams)
        cases[f"recommend, {num_items:,} items"] = recommender(model, histories, beams)
    return Suite(
        f"Recommending to {counted(num_users)} with 49 items each, {beams} beams",
        cases,
        "the model alone: history and four codes",
        rounds=11,
    )


def recommender(model: Recommender, histories: list[Tensor], beams: int) -> Callable[[], object]:
    return lambda: recommend(model, histories, k=10, beams=beams)


def beside_t5(num_users: int, beams: int) -> Suite:
    ids = catalogue(9_000)
    histories = users(num_users, len(ids), 20)
    torch.manual_seed(0)
    model = EncoderDecoder(EncoderDecoderConfig(T5_SIZED, max_items=21), ids).eval()
    peer, found = t5(ids, histories, beams)
    assert set(map(tuple, found().tolist())) <= set(map(tuple, ids.ids.tolist()))
    decoder_only = DecoderOnly(DecoderOnlyConfig(T5_SIZED, max_items=21), ids).eval()
    rq = RQTransformer(RQTransformerConfig(T5_SIZED, max_items=21), ids).eval()
    name = "rqvae_lib, encoder–decoder"
    noted = (num_users, beams) == (32, 50)
    return Suite(
        f"Recommending to {counted(num_users)} with 20 items each, {beams} beams, 9,000 items",
        {
            name: recommender(model, histories, beams),
            "its passes alone: history and four codes": model_alone(model, histories, beams),
            "rqvae_lib, decoder-only (half the blocks)": recommender(
                decoder_only, histories, beams
            ),
            "rqvae_lib, RQ-Transformer (half the blocks, one token per item)": recommender(
                rq, histories, beams
            ),
            "transformers, T5 with prefix_allowed_tokens_fn": peer,
        },
        name,
        rounds=3 if num_users > 1 else 9,
        notes={name: f"{peak_memory('recommend'):.0f} MiB of memory more than model and trie"}
        if noted
        else {},
    )


def t5(
    ids: SemanticIDs, histories: list[Tensor], beams: int
) -> tuple[Callable[[], object], Callable[[], Tensor]]:
    """Return the peer's generation, and a function that gives the codes that it finds."""
    first = 2  # after padding and the end of a sequence
    offsets = first + torch.tensor([0, *ids.sizes[:-1]]).cumsum(0)
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=first + sum(ids.sizes),
            d_model=T5_SIZED.dim,
            d_kv=T5_SIZED.dim // T5_SIZED.num_heads,
            d_ff=T5_SIZED.mlp_dim,
            num_layers=T5_SIZED.num_layers,
            num_heads=T5_SIZED.num_heads,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    ).eval()
    tokens = torch.stack([(ids.ids[items] + offsets).flatten() for items in histories])
    next_tokens: dict[tuple[int, ...], set[int]] = {}
    for row in (ids.ids + offsets).tolist():
        for depth, token in enumerate(row):
            next_tokens.setdefault(tuple(row[:depth]), set()).add(token)
    allowed = {prefix: sorted(tokens) for prefix, tokens in next_tokens.items()}
    # Where fewer prefixes exist than beams, a beam holds one that does not; it needs an answer too.
    nothing = [0]

    def generate() -> Tensor:
        return model.generate(
            input_ids=tokens,
            num_beams=beams,
            num_return_sequences=10,
            max_new_tokens=len(ids.sizes),
            do_sample=False,
            prefix_allowed_tokens_fn=lambda _, written: allowed.get(
                tuple(written[1:].tolist()), nothing
            ),
        )

    return generate, lambda: generate()[:, 1:] - offsets


def counted(num_users: int) -> str:
    return "1 user" if num_users == 1 else f"{num_users} users"


def recommend_to_32() -> Callable[[], object]:
    ids = catalogue(9_000)
    torch.manual_seed(0)
    model = EncoderDecoder(EncoderDecoderConfig(T5_SIZED, max_items=21), ids).eval()
    histories = users(32, len(ids), 20)
    recommend(model, histories[:1], k=10, beams=50)  # what torch allocates once
    return recommender(model, histories, 50)


SUITES: dict[str, Callable[[], Suite]] = {
    "decoder-step": lambda: decoder_step(
        "as shipped: 32 windows of 50 items, 2 blocks of 64 numbers", TransformerConfig(), 32, 50
    ),
    "decoder-step-t5": lambda: decoder_step(
        "as large as a T5: 32 windows of 20 items, 8 blocks of 128 numbers",
        TransformerConfig(dim=128, num_layers=8, num_heads=4, mlp_dim=1024),
        32,
        20,
    ),
    "architectures-step": architectures_step,
    "step-sasrec": lambda: plain_step("SASRec"),
    "step-rq": lambda: plain_step("the RQ-Transformer"),
    "step-decoder": lambda: plain_step("the decoder-only model"),
    "histories-rq": lambda: over_histories("rq-transformer"),
    "histories-decoder": lambda: over_histories("decoder-only"),
    "window-batches": window_batches,
    "whole-catalogue": whole_catalogue,
    "growing-1-10": lambda: growing_catalogue(1, 10),
    "growing-32-10": lambda: growing_catalogue(32, 10),
    "growing-32-50": lambda: growing_catalogue(32, 50),
    "one-user-rq": lambda: one_user("rq-transformer"),
    "one-user-decoder": lambda: one_user("decoder-only"),
    "recommending-1-10": lambda: recommending(1, 10),
    "recommending-1-50": lambda: recommending(1, 50),
    "recommending-32-10": lambda: recommending(32, 10),
    "recommending-32-50": lambda: recommending(32, 50),
    "t5-1-10": lambda: beside_t5(1, 10),
    "t5-32-10": lambda: beside_t5(32, 10),
    "t5-32-50": lambda: beside_t5(32, 50),
}
# Work whose memory a suite notes.
STEPS = ("SASRec", "the RQ-Transformer", "the decoder-only model")
WORK = {
    "recommend": recommend_to_32,
    **{f"step: {name}": partial(training_step, name) for name in STEPS},
    **{
        f"plain step: {name}": lambda name=name: partial(with_plain_formulas, training_step(name))
        for name in STEPS
    },
}
