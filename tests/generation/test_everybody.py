"""Recommendations for all users: those of each user alone, whatever interrupts the writing."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.generation import everybody
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.everybody import is_output, parts_of, recommend_to_all
from rqvae_lib.models.base import Recommender
from tests.helpers import small_dataset
from tests.models.test_recommenders import random_ids, random_model

pytestmark = pytest.mark.usefixtures("one_thread")

SEARCH = {"k": 5, "beams": 12}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return small_dataset()


@pytest.fixture(scope="module")
def model() -> Recommender:
    return random_model("rq-transformer", random_ids(90, (6, 5, 4)))


def write(path: Path, model: Recommender, data: Dataset, **options: object) -> everybody.Written:
    settings = SEARCH | {"users_per_part": 7, "batch_size": 4, "progress": False} | options
    return recommend_to_all(path, model, data, **settings)  # type: ignore[arg-type]


def expected(model: Recommender, data: Dataset, users: list[int]) -> pd.DataFrame:
    """One user after another, by `recommend`."""
    rows = []
    for user in users:
        history = torch.from_numpy(data.user_history(user))
        found = recommend(model, [history], **SEARCH)  # type: ignore[arg-type]
        for place, item in enumerate(found.items[0].tolist()):
            own = data.items["item_id"][item]
            code = "-".join(map(str, model.ids.id_of(item)))
            probability = float(found.log_probabilities[0, place].exp())
            rows.append((user, place + 1, own, data.titles[item], code, probability))
    return pd.DataFrame(rows, columns=list(everybody.COLUMNS))


@pytest.mark.parametrize("ending", everybody.ENDINGS)
def test_everybody_gets_what_they_get_alone(
    tmp_path: Path, model: Recommender, data: Dataset, ending: str
) -> None:
    path = tmp_path / f"all{ending}"
    assert write(path, model, data) == (40, 200, 0)
    if ending == ".parquet":
        found = pd.read_parquet(path)
        assert pq.ParquetFile(path).num_row_groups == 6
        assert found["rank"].dtype == np.int32
        assert found["probability"].dtype == np.float32
    elif ending == ".csv":
        found = pd.read_csv(path)
    else:
        found = pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    pd.testing.assert_frame_equal(
        found, expected(model, data, list(range(40))), check_dtype=False, rtol=1e-4
    )
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert is_output(path)


def test_a_list_of_users_is_in_its_own_order(
    tmp_path: Path, model: Recommender, data: Dataset
) -> None:
    users = [31, 2, 17]
    write(tmp_path / "some.parquet", model, data, users=np.array(users))
    found = pd.read_parquet(tmp_path / "some.parquet")
    pd.testing.assert_frame_equal(found, expected(model, data, users), check_dtype=False, rtol=1e-4)


def test_a_user_for_whom_less_is_left_has_fewer_rows(
    tmp_path: Path, model: Recommender, data: Dataset
) -> None:
    history = data.user_history(12)
    few = torch.tensor([*history[:3].tolist(), 89 if 89 not in history else 88])
    done = write(tmp_path / "few.parquet", model, data, users=np.array([12]), allowed=few)
    assert done == (1, 1, 0)
    assert pd.read_parquet(tmp_path / "few.parquet")["item_id"].tolist() == few[3:].tolist()


class Killed(BaseException):
    """Ends a process's work where it stands."""


@pytest.mark.parametrize("ending", everybody.ENDINGS)
@pytest.mark.parametrize("writes", range(8))
def test_a_killed_run_goes_on_and_ends_at_the_same_bytes(
    tmp_path: Path,
    model: Recommender,
    data: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    writes: int,
) -> None:
    """Killed before the description, before each of the six parts, and before the output."""
    whole, path = tmp_path / f"whole{ending}", tmp_path / f"all{ending}"
    write(whole, model, data)
    path.write_text("an older file")
    original, left = Path.replace, [writes]

    def replace(temporary: Path, target: Path) -> Path:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return original(temporary, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            write(path, model, data)
    assert path.read_text() == "an older file"
    if writes:
        with pytest.raises(ValueError, match="holds the parts of an interrupted run"):
            write(path, model, data)
    computed = []
    search = everybody.recommend

    def counted(model: Recommender, histories: list[torch.Tensor], **how: object) -> object:
        computed.extend(histories)
        return search(model, histories, **how)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(everybody, "recommend", counted)
        done = write(path, model, data, resume=True)
    assert done.rows == 200
    assert done.resumed == min(40, 7 * max(0, writes - 1))
    assert len(computed) == 40 - done.resumed  # nobody is computed twice
    assert path.read_bytes() == whole.read_bytes()
    assert not parts_of(path).exists()


def test_parts_of_another_run_are_refused(
    tmp_path: Path, model: Recommender, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "all.parquet"

    def stop(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(everybody._Parts, "join", stop)
        with pytest.raises(Killed):
            write(path, model, data)
    other = random_model("rq-transformer", random_ids(90, (6, 5, 4)))
    with torch.no_grad():
        other.start += 1  # type: ignore[operator]
    changed = {
        "model was": (other, data, {}),
        "data was": (model, small_dataset(lambda items: items[::-1]), {}),
        "users was": (model, data, {"users": np.arange(39)}),
        "k was 5, and is 4 now": (model, data, {"k": 4}),
        "beams was": (model, data, {"beams": 13}),
        "temperature was": (model, data, {"temperature": 2.0}),
        "max_per_prefix was": (model, data, {"max_per_prefix": 3}),
        "allowed was": (model, data, {"allowed": torch.arange(80)}),
        "users_per_part was": (model, data, {"users_per_part": 8}),
    }
    for says, (one, dataset, options) in changed.items():
        with pytest.raises(ValueError, match="holds the parts of another run") as refused:
            write(path, one, dataset, resume=True, **options)
        assert says in str(refused.value)
    description = parts_of(path) / "run.json"
    good = description.read_text()
    for spoilt in ("", "[]", "[" * 10**5, "{"):
        description.write_text(spoilt)
        with pytest.raises(ValueError, match=r"run.json does not describe a run"):
            write(path, model, data, resume=True)
    description.write_text(good)
    assert write(path, model, data, resume=True).resumed == 40


def test_parts_of_an_unknown_run_are_never_taken(
    tmp_path: Path, model: Recommender, data: Dataset
) -> None:
    folder = everybody.parts_of(tmp_path / "all.csv")
    folder.mkdir()
    (folder / "000000.parquet").write_bytes(b"of a run that nobody knows")
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"holds parts of a run, but no run\.json"):
            write(tmp_path / "all.csv", model, data, resume=resume)


def test_a_damaged_part_is_named(
    tmp_path: Path, model: Recommender, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, join = tmp_path / "all.parquet", everybody._Parts.join

    def spoil_and_join(parts: everybody._Parts, schema: pa.Schema) -> int:
        part = parts.folder / "000001.parquet"
        part.write_bytes(part.read_bytes()[:-40])
        return join(parts, schema)

    with monkeypatch.context() as patched:
        patched.setattr(everybody._Parts, "join", spoil_and_join)
        with pytest.raises(ValueError, match=r"/000001\.parquet is damaged .*: delete this file"):
            write(path, model, data)
    assert not path.exists()
    (parts_of(path) / "000001.parquet").unlink()
    write(path, model, data, resume=True)
    write(tmp_path / "straight.parquet", model, data)
    assert path.read_bytes() == (tmp_path / "straight.parquet").read_bytes()


def test_numpy_settings_are_as_good_as_plain_ones(
    tmp_path: Path, model: Recommender, data: Dataset
) -> None:
    write(tmp_path / "plain.csv", model, data, k=4, temperature=0.5, max_per_prefix=2)
    numpy = {"k": np.int64(4), "temperature": np.float64(0.5), "max_per_prefix": np.int32(2)}
    write(tmp_path / "numpy.csv", model, data, **numpy)
    assert (tmp_path / "plain.csv").read_bytes() == (tmp_path / "numpy.csv").read_bytes()


def test_a_strange_file_among_the_parts_stays_and_does_no_harm(
    tmp_path: Path, model: Recommender, data: Dataset
) -> None:
    folder = everybody.parts_of(tmp_path / "all.csv")
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert write(tmp_path / "all.csv", model, data).rows == 200
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_what_does_not_fit_is_refused(tmp_path: Path, model: Recommender, data: Dataset) -> None:
    with pytest.raises(ValueError, match=r"ends in '\.txt'"):
        write(tmp_path / "all.txt", model, data)
    with pytest.raises(ValueError, match="the model recommends from 30 items"):
        write(tmp_path / "all.csv", random_model("decoder-only"), data)
    with pytest.raises(ValueError, match="users_per_part is 0"):
        write(tmp_path / "all.csv", model, data, users_per_part=0)
    with pytest.raises(ValueError, match="k is 0"):
        write(tmp_path / "all.csv", model, data, k=0)
    assert not list(tmp_path.iterdir())


def test_other_files_are_not_taken_for_outputs(tmp_path: Path) -> None:
    for name, text in {"a.parquet": "x", "b.csv": "user_id,rank\n", "c.jsonl": "1\n"}.items():
        (tmp_path / name).write_text(text)
        assert not is_output(tmp_path / name)
    assert not is_output(tmp_path / "none.csv")
