"""The command that recommends: a history → items that a user has not had yet, with their titles.

For all users, see `recommend_all`.

Seen at work in: chapter 00.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rqvae_lib.cli.conflicts import OneOf, Useless, refuses
from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.options import RECOMMENDER_FILE, Device, Model, number
from rqvae_lib.cli.outputs import OutputFile, Writes, described_as, writes
from rqvae_lib.generation.config import NUM_BEAMS, NUM_ITEMS, TEMPERATURE, TEMPERATURES

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from rqvae_lib.data.dataset import Dataset
    from rqvae_lib.generation.beam_search import Recommendations
    from rqvae_lib.models.base import Recommender


# What is about the interactions, and not about the items.
OF_INTERACTIONS = (
    *("columns", "separator", "header", "time_unit", "repeats"),
    *("min_rating", "min_interactions", "k_core"),
)

# Whose recommendations

User = Annotated[
    str | None, typer.Option(help="A user of the dataset (1 to 671 in the embedded one).")
]
History = Annotated[
    str | None,
    typer.Option(help="Instead of --user: the dataset's item ids, oldest first, as in 1,3114."),
]
AllUsers = Annotated[bool, typer.Option("--all", help="Instead of --user: all users.")]
Users = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Instead of --user: those of a list (.txt with an id on each line, or any table with "
        "the column user_id).",
    ),
]
Destination = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="With --all or --users: the table to write (.parquet, .csv or .jsonl), a row for each "
        "user and item. Users are done in parts, which stay if the command is killed.",
    ),
]
ResumeParts = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the parts of a run that was killed; the output is the same, byte for byte "
        "(on a CPU).",
    ),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print one user's recommendations as JSON.")]

# From what, and how

Bundled = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Instead of --model and --items: a bundle's current recommender and items. --user, "
        "--users and --all need --interactions with it; --history does not.",
        show_default=False,
    ),
]
Top = Annotated[int, typer.Option("-k", "--top", min=1, help="How many items.")]
Beams = Annotated[
    int,
    typer.Option(
        min=1, help="Prefixes kept per level, at least as many as --top; more is closer to exact."
    ),
]
Genres = Annotated[
    list[str] | None,
    typer.Option(help="Only items of this genre; repeat it for several.", metavar="NAME"),
]
Temperature = Annotated[
    float,
    number(
        "Below 1 the likeliest codes count for more, above 1 for less.",
        min=TEMPERATURES[0],
        max=TEMPERATURES[1],
    ),
]
MaxPerPrefix = Annotated[
    int | None,
    typer.Option(
        min=1, help="At most this many items per first code; needs more beams than items."
    ),
]


def _for_one(given: Mapping[str, Any]) -> bool:
    return not given["all_users"] and given["users"] is None


PRINTED = "what is recommended to one user is printed, and only --all and --users write a file"
WRITTEN = "--all and --users write a file, and only --user and --history print JSON"
RULES = (
    OneOf(
        ("user", "history", "all_users", "users"),
        required=True,
        said="either --user ID, --history ID,ID,…, --all or --users FILE",
    ),
    Useless(
        ("output", "resume", "force"),
        _for_one,
        PRINTED,
    ),
    Useless(
        ("as_json",),
        lambda given: not _for_one(given),
        WRITTEN,
    ),
    Useless(
        ("model", "items", "dataset_name"),
        lambda given: given["bundle"] is not None,
        "--bundle {bundle} has the model and the items",
    ),
    Useless(
        ("interactions", *OF_INTERACTIONS),
        lambda given: given["bundle"] is not None and given["history"] is not None,
        "--bundle has the items, and --history has the interactions",
    ),
)


def _outputs(given: Mapping[str, Any]) -> Writes:
    from rqvae_lib.cli.common import found_in

    if _for_one(given):
        return Writes(())
    from rqvae_lib.generation.everybody import FORMAT, RUN_FILE, check_output, is_output, parts_of

    output = given["output"]
    if output is None:
        raise ValueError(
            "--all and --users write a file: name it as --output, such as "
            "recommendations.parquet (.csv and .jsonl work too)"
        )
    check_output(output)
    known = given["model"] or given["bundle"]
    found = [] if known else found_in(RECOMMENDER_FILE, output.parent)
    run = OutputFile(parts_of(output) / RUN_FILE, "the run of its parts", described_as(FORMAT))
    table = OutputFile(output, "a table of recommendations", is_output)
    return Writes((table, run), (parts_of(output),), tuple(found))


@takes_data
@refuses(*RULES)
@writes(_outputs, "output")
def recommend_command(
    context: typer.Context,
    user: User = None,
    history: History = None,
    all_users: AllUsers = False,
    users: Users = None,
    output: Destination = None,
    resume: ResumeParts = False,
    as_json: AsJSON = False,
    data: DataOptions = EMBEDDED_DATA,
    model: Model = None,
    bundle: Bundled = None,
    k: Top = NUM_ITEMS,
    beams: Beams = NUM_BEAMS,
    genre: Genres = None,
    temperature: Temperature = TEMPERATURE,
    max_per_prefix: MaxPerPrefix = None,
    device: Device = "cpu",
) -> None:
    """Recommend items that a user has not had yet, with their titles."""
    from rqvae_lib.checkpoints.cards import check_items
    from rqvae_lib.checkpoints.models import load_recommender
    from rqvae_lib.cli.common import check_device, choose, shipped, typed
    from rqvae_lib.cli.recommend_all import write_all
    from rqvae_lib.io.locks import only_process_in

    check_device(device)
    if not typed(context, "beams"):
        beams = max(beams, k)
    _check_search(k, beams, temperature, max_per_prefix)
    destination = output if all_users or users is not None else None
    if destination is not None:
        context.with_resource(only_process_in(destination.parent))
    if bundle is not None:
        chosen, recommender, dataset = _of_bundle(bundle, data, context)
    else:
        folder = None if destination is None else destination.parent
        chosen = choose(model, RECOMMENDER_FILE, "--model", folder)
        recommender, card = load_recommender(shipped(chosen))
        dataset = data.load()
        check_items(f"the recommender ({chosen})", card, dataset)
    search: dict[str, Any] = {
        "k": k,
        "beams": beams,
        "allowed": _items_of(genre, dataset) if genre else None,
        "temperature": temperature,
        "max_per_prefix": max_per_prefix,
    }
    past = None if destination is not None else _history_of(user, history, dataset)
    typer.echo(f"Using {chosen}.", err=True)
    recommender = recommender.to(device)
    if destination is not None:
        write_all(destination, recommender, dataset, users, resume, search)
    elif past is not None:
        _recommend_to_one(user, past, recommender, dataset, search, as_json)


def _check_search(k: int, beams: int, temperature: float, max_per_prefix: int | None) -> None:
    from rqvae_lib.generation.beam_search import check_search

    check_search(k, beams, temperature, max_per_prefix)
    if max_per_prefix is not None and beams <= k:
        raise ValueError(
            f"--max-per-prefix leaves items out, so {k} items need more than {beams} beams to "
            f"choose from: pass more, such as --beams {10 * k}"
        )


def _recommend_to_one(
    user: str | None,
    past: "Tensor",
    recommender: "Recommender",
    dataset: "Dataset",
    search: dict[str, Any],
    as_json: bool,
) -> None:
    """Print what is recommended after one history."""
    from rqvae_lib.generation.beam_search import recommend

    found = recommend(recommender, [past], **search)
    if as_json:
        _print_json(user, past, found, recommender, dataset)
    else:
        _print(past, found, recommender, dataset)
    count, k = int((found.items >= 0).sum()), search["k"]
    if count < k:
        limited = search["max_per_prefix"] is not None
        why = "more --beams may find others" if limited else "no others are left"
        typer.echo(f"Only {count} of {k}: {why}.", err=True)


def _of_bundle(
    folder: Path, data: DataOptions, context: typer.Context
) -> tuple[str, "Recommender", "Dataset"]:
    """Return what a bundle is called, its recommender, and its items with who chose them."""
    import pandas as pd

    from rqvae_lib.checkpoints.bundle import load_bundle
    from rqvae_lib.checkpoints.manifest import ITEMS, version_folder
    from rqvae_lib.data.dataset import Dataset
    from rqvae_lib.data.tables import INTERACTION_DTYPES

    bundle = load_bundle(folder)
    if bundle.recommender is None:
        raise ValueError(
            f"{folder} holds IDs and no recommender: make a bundle with one (rqvae-lib bundle "
            "--model FILE)"
        )
    name = f"version {bundle.version} of {folder}"
    if data.interactions is not None:
        own = replace(data, items=version_folder(folder, bundle.version) / ITEMS)
        dataset = replace(own.load(), articles_last=bundle.articles_last)
        if dataset.items["item_id"].tolist() != bundle.items["item_id"].tolist():
            raise ValueError(
                f"after {' '.join(data.words())}, {dataset.num_items:,} of the "
                f"{len(bundle.items):,} items of {name} are left, and its recommender needs all "
                "of them: leave --k-core out"
            )
        return name, bundle.recommender, dataset
    if context.params["history"] is None:
        raise ValueError(
            "--bundle holds items and no histories: pass --interactions FILE with it, or --history "
            "ID,ID,… instead"
        )
    # A dataset has at least one interaction. Nobody asks for this user.
    nobody = pd.DataFrame([[0, 0, 1, 0]], columns=list(INTERACTION_DTYPES))
    dataset = Dataset(
        str(folder),
        bundle.items,
        nobody.astype(INTERACTION_DTYPES),
        articles_last=bundle.articles_last,
    )
    return name, bundle.recommender, dataset


def _history_of(user: str | None, history: str | None, dataset: "Dataset") -> "Tensor":
    """Return the rows, (T,) int64, of a user's items, or of those that are listed."""
    import torch

    if user is not None:
        (own,) = _own_ids("--user", [user], dataset.interactions["user_id"])
        return torch.from_numpy(dataset.user_history(own))
    listed = [part.strip() for part in (history or "").split(",") if part.strip()]
    ids = _own_ids("--history", listed, dataset.items["item_id"])
    return torch.from_numpy(dataset.item_index(ids))


def _print(
    past: "Tensor", found: "Recommendations", recommender: "Recommender", dataset: "Dataset"
) -> None:
    typer.echo("The last items of the history:")
    for item in past[-5:].tolist():
        typer.echo(f"    {dataset.titles[item]}")
    typer.echo("Recommended:")
    ranked = zip(found.items[0].tolist(), found.log_probabilities[0].exp().tolist(), strict=True)
    for place, (item, probability) in enumerate(ranked, 1):
        if item >= 0:
            code = "-".join(map(str, recommender.ids.id_of(item)))
            typer.echo(f"{place:4d}  {probability:6.2%}  {code:<16} {dataset.titles[item]}")


def _print_json(
    user: str | None,
    past: "Tensor",
    found: "Recommendations",
    recommender: "Recommender",
    dataset: "Dataset",
) -> None:
    own_ids = dataset.items["item_id"].tolist()
    own = None if user is None else _own_ids("--user", [user], dataset.interactions["user_id"])[0]
    ranked = zip(found.items[0].tolist(), found.log_probabilities[0].exp().tolist(), strict=True)
    told = {
        "user_id": own,
        "history": [
            {"item_id": own_ids[item], "title": dataset.titles[item]} for item in past.tolist()
        ],
        "recommendations": [
            {
                "rank": place,
                "item_id": own_ids[item],
                "title": dataset.titles[item],
                "semantic_id": "-".join(map(str, recommender.ids.id_of(item))),
                "probability": probability,
            }
            for place, (item, probability) in enumerate(ranked, 1)
            if item >= 0
        ],
    }
    typer.echo(json.dumps(told, indent=1, ensure_ascii=False))


def _items_of(genres: list[str], dataset: "Dataset") -> "Tensor":
    """Return the items, (S,) int64, that have at least one of these genres."""
    import torch

    own = [set(listed.split("|")) for listed in dataset.items["genres"]]
    known = set().union(*own) - {""}
    if not known:
        raise ValueError(f"{dataset.name} does not say its items' genres: leave --genre out")
    for genre in genres:
        if genre not in known:
            raise ValueError(f"--genre is {genre!r}; expected one of {', '.join(sorted(known))}")
    return torch.tensor([row for row, listed in enumerate(own) if listed & set(genres)])


def _own_ids(option: str, parts: list[str], column: "pd.Series") -> list[int] | list[str]:
    """Return ids as the dataset has them: numbers where it has numbers."""
    if column.dtype != "int64":
        return parts
    try:
        return [int(part) for part in parts]
    except ValueError:
        raise ValueError(
            f"{option} is {','.join(parts)!r}; expected ids of the dataset, which are numbers, "
            "such as 1,3114,78499 (inference-rqvae writes a table of the items')"
        ) from None
