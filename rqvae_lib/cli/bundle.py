"""The command that makes a bundle: a tokenizer, its IDs, the items and a recommender, together.

Seen at work in: chapter 13.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.options import RECOMMENDER_FILE, RQVAE_FILE, Embeddings, Tokenizer
from rqvae_lib.cli.outputs import OutputFile, Writes, described_as, writes

BundleFolder = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.", show_default=False)
]


def outputs_of_version(folder: Path, version: int, reads: tuple[Path, ...] = ()) -> Writes:
    """Return the files of a version of a bundle. A killed process may have left some of them."""
    from rqvae_lib.checkpoints import manifest
    from rqvae_lib.checkpoints.bundle import could_be_ours

    place = manifest.version_folder(folder, version)
    what = "a file of an unfinished bundle"
    own = [OutputFile(place / name, what, could_be_ours) for name in manifest.FILES]
    described = described_as(manifest.FORMAT)
    return Writes((*own, OutputFile(place / manifest.MANIFEST, what, described)), (), reads)


def _outputs(given: Mapping[str, Any]) -> Writes:
    from rqvae_lib.cli.common import found_in

    found = [
        *([] if given["tokenizer"] else found_in(RQVAE_FILE, None)),
        *([] if given["model"] else found_in(RECOMMENDER_FILE, None)),
    ]
    return outputs_of_version(given["bundle"], 1, tuple(found))


@takes_data
@writes(_outputs, "bundle")
def bundle_command(
    context: typer.Context,
    bundle: BundleFolder,
    data: DataOptions = EMBEDDED_DATA,
    embeddings: Embeddings = None,
    tokenizer: Tokenizer = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="'pretrained' (shipped), a recommender's checkpoint, or 'none' for a bundle of "
            "IDs only. Default: runs/recommender.safetensors if it exists, else 'pretrained'.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Bundle a tokenizer, its IDs, the items and a recommender, as version 1 of a catalogue.

    `rqvae-lib append` adds new items to it.
    """
    from rqvae_lib.checkpoints.bundle import new_bundle, write_bundle
    from rqvae_lib.checkpoints.cards import check_items
    from rqvae_lib.checkpoints.manifest import bundle_versions
    from rqvae_lib.checkpoints.models import load_recommender
    from rqvae_lib.cli.catalogue import find_tokenizer, vectors_for
    from rqvae_lib.cli.common import choose, shipped
    from rqvae_lib.embeddings.text import encoder_of
    from rqvae_lib.io.locks import only_process_in

    if bundle_versions(bundle):
        raise ValueError(
            f"{bundle} holds a bundle already: add items to it with rqvae-lib append, or name a "
            "new folder"
        )
    with only_process_in(bundle):  # else it would be found out at the end
        pass
    found = find_tokenizer(tokenizer, embeddings)
    if found is None:
        raise ValueError(
            "--tokenizer is 'random', which is not kept in any file: train one with train-rqvae "
            "(--residual-kmeans needs no training), or name a checkpoint"
        )
    recommender, card = None, None
    chosen = choose(model, RECOMMENDER_FILE, "--model")
    if chosen != "none":
        recommender, card = load_recommender(shipped(chosen))
    dataset = data.load()
    if card is not None:
        typer.echo(f"Using {chosen}.", err=True)
        check_items(f"the recommender ({chosen})", card, dataset)
    vectors = vectors_for(found, dataset, embeddings)
    made = new_bundle(
        found.model,
        found.card,
        dataset.items,
        vectors.tensor,
        recommender=recommender,
        recommender_card=card,
        encoder=None if vectors.text is None else encoder_of(embeddings, dataset.name),
        articles_last=dataset.articles_last,
    )
    written = write_bundle(bundle, made, overwrite=context.params["force"])
    typer.echo(f"Wrote version {written.version} of {bundle}: {len(made.ids):,} items.")
    if found.content != "text":
        typer.echo(
            f"Its tokenizer reads {found.content!r} vectors, which a new item does not have, so "
            "nothing can be appended to it.",
            err=True,
        )
