"""The command that adds new items to a bundle, and says how healthy the catalogue is after it.

Seen at work in: chapter 13.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rqvae_lib.cli.bundle import BundleFolder, outputs_of_version
from rqvae_lib.cli.data_options import Columns, Header, Separator, parse_columns
from rqvae_lib.cli.outputs import Writes, writes

if TYPE_CHECKING:
    from torch import Tensor

    from rqvae_lib.checkpoints.append import Arrivals
    from rqvae_lib.checkpoints.bundle import Bundle

SHOWN = 10  # of the new items
PROBES = 64  # old items that are encoded again, to know the encoder by its codes
ALIKE = 0.9  # share of them that must get their first code again


def _outputs(given: Mapping[str, Any]) -> Writes:
    from rqvae_lib.checkpoints.manifest import bundle_versions

    folder = given["bundle"]
    versions = bundle_versions(folder)
    return outputs_of_version(folder, max(versions) + 1) if versions else Writes(())


@writes(_outputs, "bundle")
def append_command(
    context: typer.Context,
    bundle: BundleFolder,
    items: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="A table with item_id and, if known, title, year, genres and text: text with any "
            "delimiter, JSON lines or Parquet. Items that the bundle has keep their IDs and "
            "rows.",
        ),
    ],
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Embeddings of the items' texts, made as the bundle's were: .npy, or as written "
            "by `rqvae-lib embed`. One row for each row of --items, or one for each item of the "
            "bundle and then one for each new item. Without it, the texts are encoded here, which "
            "needs the extra `encode`.",
            show_default=False,
        ),
    ] = None,
    columns: Columns = None,
    separator: Separator = None,
    header: Header = None,
) -> None:
    """Give new items IDs, as the next version of a bundle. No published ID moves.

    Says how healthy the catalogue is afterwards, whether it is time to train a new tokenizer, and
    how much the recommender knows of the new items.
    """
    from rqvae_lib.checkpoints.append import append_items, check_content, read_arrivals
    from rqvae_lib.checkpoints.bundle import load_bundle, write_bundle
    from rqvae_lib.io.locks import only_process_in

    if embeddings is not None:
        with embeddings.open("rb"):  # what is not there is the system's own error
            pass
    before = load_bundle(bundle)
    with only_process_in(bundle):  # else it would be found out at the end
        pass
    check_content(before.tokenizer_card)
    theirs = parse_columns(columns)
    arrivals = read_arrivals(items, before, columns=theirs, separator=separator, header=header)
    for note in arrivals.said:
        typer.echo(note, err=True)
    _say_known(arrivals, items)
    new = arrivals.new
    if not len(new):
        typer.echo(f"Nothing is new: {bundle} stays at version {before.version}.")
        return
    vectors = _vectors(before, arrivals, items, embeddings)
    after = write_bundle(
        bundle, append_items(before, new, vectors), overwrite=context.params["force"]
    )
    typer.echo(
        f"Wrote version {after.version} of {bundle}: {len(new):,} new items, {len(after.ids):,} in "
        "all. No published ID moved."
    )
    _say_new(before, after)
    for line in health_lines(after):
        typer.echo(line)
    for line in _reach_lines(before, after):
        typer.echo(line)


def _say_known(arrivals: "Arrivals", path: Path) -> None:
    known = int((~arrivals.is_new).sum())
    if known:
        typer.echo(f"{known:,} items of {path} are known and keep their IDs.", err=True)
    changed = int(arrivals.is_changed.sum())
    if changed:
        typer.echo(
            f"The rows of {changed:,} of them have changed; the bundle keeps those that "
            "their IDs were made from.",
            err=True,
        )


def _vectors(
    before: "Bundle", arrivals: "Arrivals", path: Path, embeddings: Path | None
) -> "Tensor":
    """Return the vectors of the new items, (M, D) float32, once they are known to fit."""
    width = before.tokenizer.config.input_dim
    if embeddings is None:
        vectors = _encode(before, arrivals)
    else:
        vectors = _read(before, arrivals, path, embeddings)
    if vectors.shape[1] != width:
        raise ValueError(
            f"{embeddings or before.encoder} gives vectors of {vectors.shape[1]} numbers, but the "
            f"bundle's tokenizer reads {width}: use the encoder that the bundle was made with"
        )
    return vectors


def _read(before: "Bundle", arrivals: "Arrivals", path: Path, embeddings: Path) -> "Tensor":
    import torch

    from rqvae_lib.checkpoints.cards import check_text
    from rqvae_lib.embeddings.item_vectors import ItemVectors
    from rqvae_lib.embeddings.text import encoder_of, read_embeddings

    of_table = [str(text) for text in arrivals.items["text"]]
    of_old = [str(text) for text in before.items["text"]]
    of_all = of_old + [str(text) for text in arrivals.new["text"]]
    try:
        vectors = read_embeddings(embeddings, of_table)
    except ValueError as reason:
        try:
            every = read_embeddings(embeddings, of_all)  # (N + M, D)
        except ValueError:
            raise ValueError(
                f"{embeddings} fits neither the {len(of_table):,} rows of {path} nor the "
                f"{len(of_old):,} items of the bundle with the {len(of_all) - len(of_old):,} new "
                f"ones after them ({reason})"
            ) from reason
        # The tokenizer's card has the hash of the vectors that it was trained on.
        trained = every[: before.trained_items]
        check_text(before.tokenizer_card, ItemVectors(trained, text=trained), embeddings)
        return every[len(of_old) :]
    _check_order(before, arrivals, vectors, embeddings)
    encoder = encoder_of(embeddings)
    if encoder is None or before.encoder is None:
        typer.echo(
            f"Nothing says which encoder made {embeddings if encoder is None else 'the bundle'}, "
            "so only the width of its vectors could be checked.",
            err=True,
        )
    elif encoder != before.encoder:
        raise ValueError(
            f"{embeddings} was made by the encoder {encoder!r}, but the bundle's embeddings by "
            f"{before.encoder!r}: use the same encoder (rqvae-lib embed --model), or train a new "
            "tokenizer"
        )
    return vectors[torch.from_numpy(arrivals.is_new)]


def _check_order(before: "Bundle", arrivals: "Arrivals", vectors: "Tensor", file: Path) -> None:
    """Refuse vectors that give the known items of the table other codes than they have.

    An array does not say which row is which item, and an ID can never be taken back.
    """
    import torch

    is_same = torch.from_numpy(~arrivals.is_new & ~arrivals.is_changed)
    if not is_same.any() or vectors.shape[1] != before.tokenizer.config.input_dim:
        return
    alike = _share_alike(before, torch.from_numpy(arrivals.known)[is_same], vectors[is_same])
    if alike < ALIKE:
        raise ValueError(
            f"{file} gives only {alike:.0%} of {int(is_same.sum()):,} known items their first code "
            f"again, expected {ALIKE:.0%} or more: its rows must be in the order of the table, and "
            "its encoder that of the bundle"
        )


def _share_alike(before: "Bundle", rows: "Tensor", vectors: "Tensor") -> float:
    """Return how many of the bundle's items get their first code again from these vectors."""
    again = before.tokenizer.assign(vectors)[:, 0]
    return float((again == before.ids.codes[rows, 0]).double().mean())


def _encode(before: "Bundle", arrivals: "Arrivals") -> "Tensor":
    """Encode the new items' texts, and some old ones', which must get their codes again."""
    import torch

    from rqvae_lib.embeddings.text import encode_texts

    if before.encoder is None or (before.items["text"] == "").all():
        lacks = "no texts" if before.encoder is not None else "no encoder's name"
        raise ValueError(
            f"the bundle holds {lacks}, so the new items cannot be encoded here: pass their "
            "vectors as --embeddings"
        )
    step = max(1, len(before.items) // PROBES)
    probes = torch.arange(0, len(before.items), step)
    texts = [str(before.items["text"][int(row)]) for row in probes]
    texts += [str(text) for text in arrivals.new["text"]]
    # Through float16, as a file of embeddings holds them.
    found = encode_texts(texts, before.encoder, show_progress=True).half().float()
    if found.shape[1] == before.tokenizer.config.input_dim:
        alike = _share_alike(before, probes, found[: len(probes)])
        if alike < ALIKE:
            raise ValueError(
                f"the encoder {before.encoder!r} gives only {alike:.0%} of {len(probes)} old items "
                f"their first code again, expected {ALIKE:.0%} or more: it is not the one that the "
                "bundle was made with; pass vectors of that one as --embeddings"
            )
    return found[len(probes) :]


def _say_new(before: "Bundle", after: "Bundle") -> None:
    first = len(before.ids)
    for row in range(first, min(len(after.ids), first + SHOWN)):
        code = "-".join(map(str, after.ids.id_of(row)))
        typer.echo(f"    {code:<16} {after.titles[row]}")
    if len(after.ids) > first + SHOWN:
        typer.echo(f"    … and {len(after.ids) - first - SHOWN:,} more, in ids.parquet")


def health_lines(bundle: "Bundle") -> list[str]:
    """Return what a command says of the health of a catalogue."""
    from rqvae_lib.tokenizer.health import FEWEST

    health = bundle.health
    gini = ", ".join(f"{value:.2f}" for value in health.gini)
    dead = ", ".join(map(str, health.dead_codes))
    lines = [
        f"Health: {health.unique_share:.1%} distinct tuples of learned codes per item; at most "
        f"{health.largest_group:,} items share one.",
        f"    per level: Gini coefficient {gini}; codewords without an item {dead}",
    ]
    drift = health.drift
    if drift is not None:
        lines += [
            f"Drift of the {drift.items:,} items added since the training: quantization error "
            f"{drift.error_ratio:.2f} times that of the training's items; {drift.beyond_95:.0%} "
            f"beyond their 95th percentile, {drift.beyond_99:.0%} beyond the 99th; "
            f"{drift.collision_rate:.0%} have the codes of an earlier item.",
        ]
        verdict = "By a rule of thumb, no new tokenizer is due."
        if drift.items < FEWEST:
            verdict = f"Fewer than {FEWEST} items say little about whether a new tokenizer is due."
        lines += [f"Train a new tokenizer: {reason}." for reason in health.retrain] or [verdict]
    return lines


def _reach_lines(before: "Bundle", after: "Bundle") -> list[str]:
    """Return how far the recommender goes on the grown catalogue."""
    from rqvae_lib.semantic_ids.newcomers import newcomers

    found = newcomers(before.ids, after.ids)
    lines = []
    if after.ids.sizes[-1] > before.ids.sizes[-1]:
        lines.append(
            f"The disambiguation code now has {after.ids.sizes[-1]} values instead of "
            f"{before.ids.sizes[-1]}: a recommender from outside the bundle has no output for the "
            "new ones; in the bundle, they start as the highest old one."
        )
    if after.recommender is None:
        return lines
    levels = len(after.ids.sizes) - 1
    whole = int((found.shared == levels).sum())
    part = int(((found.shared > 0) & (found.shared < levels)).sum())
    lines.append(
        f"The recommender goes on with its weights and can recommend all {len(found.shared):,} new "
        f"items: {whole:,} with all codes of an older item, {part:,} with the first codes of one, "
        f"and {len(found.shared) - whole - part:,} under a first code that no older item has."
    )
    unseen = int(found.unseen_code.sum())
    if unseen:
        lines.append(
            f"{unseen:,} of them have a code whose vector was never trained, so their scores are "
            "guesses until the recommender is trained again."
        )
    return lines
