"""What a folder holds is told by the names of its files; and what is harmless changes nothing."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from rqvae_lib.datasets.folders import KINDS
from rqvae_lib.datasets.registry import load_dataset
from tests.datasets import published as made
from tests.datasets.published import written

BENCHMARK = made.amazon_2023_benchmark(header=False, history=True, parts=True)
FOLDERS: dict[str, tuple[str, dict[str, bytes]]] = {
    "RecBole": ("RecBole", made.recbole()),
    "RecBole, benchmark": ("RecBole", made.recbole_benchmark()),
    "ml-1m": ("MovieLens", made.ml_1m()),
    "ml-10m": ("MovieLens", made.ml_10m()),
    "ml-100k": ("MovieLens", made.ml_100k()),
    "ml-25m": ("MovieLens", made.ml_csv("ml-25m")),
    "Amazon 2014": ("Amazon 2014", made.amazon()),
    "Amazon 2018": ("Amazon 2018", made.amazon_2018()),
    "Amazon 2018, unpacked": ("Amazon 2018", made.amazon_2018(ending=".json")),
    "Amazon 2023": ("Amazon 2023", made.amazon_2023()),
    "Amazon 2023, packed": ("Amazon 2023", made.amazon_2023(ending=".jsonl.gz")),
    "Amazon 2023, benchmark": ("Amazon 2023", BENCHMARK),
    "ratings of 2014": ("Amazon ratings", made.amazon_ratings(2014)),
    "ratings of 2018": ("Amazon ratings", made.amazon_ratings(2018)),
    "Steam": ("Steam", made.steam()),
    "Yelp": ("Yelp", made.yelp()),
    "KuaiRec": ("KuaiRec", made.kuairec()),
    "KuaiRand": ("KuaiRand", made.kuairand()),
    "MIND": ("MIND", made.mind()),
    "Yambda": ("Yambda", made.yambda()),
    "Yambda, sequential": ("Yambda", made.yambda_sequential()),
    "Diginetica": ("Diginetica", made.diginetica()),
    "YooChoose": ("YooChoose", made.yoochoose()),
}
TEXTS = [name for name in FOLDERS if not name.startswith("Yambda")]
WITHOUT_TIMES = {
    "goodreads_interactions.csv": b"user_id,book_id,is_read,rating,is_reviewed\n0,948,1,5,0\n",
    "BX-Book-Ratings.csv": b'"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n',
    "Ratings.csv": b"User-ID,ISBN,Book-Rating\n276725,034545104X,0\n",
    "user_artists.dat": b"userID\tartistID\tweight\n2\t51\t13883\n",
}


@pytest.mark.parametrize("name", FOLDERS)
def test_each_is_known_by_one_kind_alone(name: str, tmp_path: Path) -> None:
    kind, files = FOLDERS[name]
    folder = written(files, tmp_path)
    assert [kind.name for kind in KINDS if kind.find(folder)] == [kind]


def test_every_kind_is_tried() -> None:
    assert {kind for kind, _ in FOLDERS.values()} == {kind.name for kind in KINDS[:-1]}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.rstrip(b"\n"),
        lambda text: text + b"\n\n",
    ],
    ids=["byte-order mark", "Windows line ends", "no last line end", "empty lines"],
)
def test_what_is_harmless_changes_nothing(
    name: str, change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    files = FOLDERS[name][1]
    expected = load_dataset(written(files, tmp_path / "a"))
    changed = {
        file: gzip.compress(change(gzip.decompress(text))) if file.endswith(".gz") else change(text)
        for file, text in files.items()
    }
    assert load_dataset(written(changed, tmp_path / "b")).checksum == expected.checksum


@pytest.mark.parametrize("name", TEXTS)
def test_an_empty_or_damaged_file_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    """Or the file is not needed, or its dataset is no longer known by it."""
    files = FOLDERS[name][1]
    for spoiled in files:
        for number, text in enumerate((b"", b"\n", b"\x1f\x8b\x08\x00", b"\0" * 50)):
            folder = tmp_path / f"{list(files).index(spoiled)}-{number}"
            folder = written(files | {spoiled: text}, folder)
            said = str(folder)
            try:
                load_dataset(folder)
            except (ValueError, OSError) as error:
                said = str(error)
            assert str(folder) in said, spoiled


@pytest.mark.parametrize("file", WITHOUT_TIMES)
def test_a_dataset_without_times_is_refused_with_the_reason(file: str, tmp_path: Path) -> None:
    folder = written({file: WITHOUT_TIMES[file]}, tmp_path)
    with pytest.raises(ValueError, match="says what people met but not when") as caught:
        load_dataset(folder)
    assert str(folder / file) in str(caught.value)


def test_two_datasets_in_one_folder_are_refused_by_their_names(tmp_path: Path) -> None:
    folder = written(made.mind() | made.yoochoose(), tmp_path)
    says = r"could be MIND \(behaviors\.tsv\) or YooChoose \(yoochoose-clicks\.dat\)"
    with pytest.raises(ValueError, match=says):
        load_dataset(folder)


@pytest.mark.parametrize("ending", [".csv.gz", ".jsonl", ".dat"])
def test_own_tables_of_any_ending(ending: str, tmp_path: Path) -> None:
    lines = b'{"user_id": 1, "item_id": 7}\n' if ending == ".jsonl" else b"user_id,item_id\n1,7\n"
    text = gzip.compress(lines) if ending.endswith(".gz") else lines
    data = load_dataset(written({f"interactions{ending}": text}, tmp_path))
    assert (data.user_ids.tolist(), data.items["item_id"].tolist()) == ([1], [7])


def test_options_for_own_tables_are_refused(tmp_path: Path) -> None:
    folder = written(made.mind(), tmp_path)
    with pytest.raises(ValueError, match=r"separator \(--separator\) is for tables of your own"):
        load_dataset(folder, separator=";")


def test_repeats_are_a_choice_here_too(tmp_path: Path) -> None:
    folder = written(made.diginetica(), tmp_path)
    assert len(load_dataset(folder).interactions) == 6
    assert len(load_dataset(folder, repeats="first").interactions) == 3
    with pytest.raises(ValueError, match="again"):
        load_dataset(folder, repeats="refuse")


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    folder = written({"notes.csv": b"a,b\n1,2\n", "x.json": b"{}\n"}, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none of the files .* expected interactions\.csv"):
        load_dataset(folder)
