"""The peers' study without the peers: what they are handed, what comes back, and what is kept."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import peer_cornac
import peer_files
import peer_rectools
import peers_study
from peer_files import PeerAnswers, PeerData, lists_of, read_answers, read_data, write_answers
from peers_study import CORNAC, RECTOOLS, measured
from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from tables import read_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def data() -> PeerData:
    return peers_study.data_of(leave_one_out(load_dataset()), torch.zeros(9066, 4))


def test_a_split_arrives_as_it_was_sent(tmp_path: Path) -> None:
    split = leave_one_out(load_dataset())
    peer_files.write_data(tmp_path / "split.npz", data())
    arrived = read_data(tmp_path / "split.npz")
    histories, targets = split.histories_and_targets(split.test)
    assert arrived.num_items == split.num_items
    np.testing.assert_array_equal(arrived.target_items("test"), targets)
    for found, expected in zip(arrived.histories("test"), histories, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert len(arrived.train) == len(split.train)
    np.testing.assert_array_equal(arrived.train[3], split.train[3])


def test_answers_arrive_as_they_were_sent(tmp_path: Path) -> None:
    sent = [
        PeerAnswers(5, 7, 1.5, {"test": lists_of([[3, 1], []])}, {"NDCG@10": 0.5}),
        PeerAnswers(50, 7, 15.0, {"test": lists_of([[2], list(range(60))])}, {}),
    ]
    write_answers(tmp_path / "answers.npz", sent)
    for found, expected in zip(read_answers(tmp_path / "answers.npz"), sent, strict=True):
        np.testing.assert_array_equal(found.lists["test"], expected.lists["test"])
        assert found._replace(lists={}) == expected._replace(lists={})
    assert sent[0].lists["test"][0, :3].tolist() == [3, 1, -1]
    assert sent[1].lists["test"].shape == (2, 50)


def test_lists_are_measured_as_ours_are_and_wrong_ones_refused() -> None:
    split = leave_one_out(load_dataset())
    histories, targets = split.histories_and_targets(split.test)
    lists = lists_of([[] for _ in targets])
    lists[0, 0] = targets[0]
    evaluation = measured(lists, split, "test")
    assert evaluation.of_people("Recall", 10).sum() == 1
    with pytest.raises(ValueError, match="for 671 targets"):
        measured(lists[:5], split, "test")
    for wrong, message in (
        ([int(targets[0])] * 2, "list 0 names an item twice"),
        ([split.num_items], "list 0 names item 9066 of 9066"),
        ([int(histories[0][0])], "list 0 names an item of its own history"),
    ):
        lists[0] = lists_of([wrong])
        with pytest.raises(ValueError, match=message):
            measured(lists, split, "test")
    lists[0] = -1
    assert len(measured(lists[::5], split, "test", every=5).targets) == 135


def test_windows_hold_every_item_and_every_pair_of_neighbours() -> None:
    history = np.arange(107)
    pieces = peer_rectools.windows_of([history, np.arange(7)], 20)
    assert all(len(piece) == 20 for piece in pieces[:-1])
    assert pieces[-1].tolist() == list(range(7))
    pairs = {(a, b) for piece in pieces for a, b in pairwise(piece)}
    assert pairs == {(a, a + 1) for a in range(106)}


def test_samples_are_each_target_once_with_what_came_before() -> None:
    train = SimpleNamespace(
        uir_tuple=(None, np.array([5, 6, 7, 8, 9])), sessions={0: [0, 1, 2], 1: [3, 4]}
    )
    batches = peer_cornac.shuffled_samples(
        train, pad_index=0, batch_size=2, max_len=2, rng=np.random.default_rng(0)
    )
    found = [
        (tuple(h), t) for _, windows, nexts in batches for h, t in zip(windows, nexts, strict=True)
    ]
    assert sorted(found) == [((0, 5), 6), ((0, 8), 9), ((5, 6), 7)]


def test_training_ends_after_steps_and_keeps_some() -> None:
    kept: list[int] = []
    of_epochs = peer_cornac.counted(lambda: iter("abc"), [0, 2, 7], kept.append)
    assert "".join(of_epochs()) == "abcabca"  # three epochs of a peer that knows of one
    assert kept == [0, 2, 7]


def test_a_study_is_written_and_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake peer, which finds more people the longer it has trained, up to a thousand steps."""
    asked: list[dict[str, Any]] = []

    def fake(command: list[str], **_: Any) -> None:
        source, target, said = command[2:]
        settings = json.loads(said)
        asked.append(settings)
        got = read_data(Path(source))
        answers = []
        for steps in settings["checkpoints"]:
            lists = {}
            for part in settings["parts"]:
                items = got.target_items(part)[:: settings.get("every", 1)]
                good = 300 - abs(steps - 1000) // 10 if settings.get("lr") == 0.003 else 10
                lists[part] = lists_of([[i] if row < good else [] for row, i in enumerate(items)])
            own = {"NDCG@10": 0.1} if settings.get("own") else {}
            answers.append(PeerAnswers(steps, 11, 2.0, lists, own))
        write_answers(Path(target), answers)

    monkeypatch.setattr(peers_study.subprocess, "run", fake)
    monkeypatch.setattr(peers_study, "STEPS", {RECTOOLS: (500, 1000, 1500), CORNAC: (1000, 2000)})
    options = ["--output", str(tmp_path), "--runs", str(tmp_path / "runs")]
    options += ["--rectools", sys.executable, "--cornac", sys.executable]
    monkeypatch.setattr(sys, "argv", ["", *options, "--splits", "leave-one-out"])
    peers_study.main()
    trials = read_rows(tmp_path / "11_peers_tuning.csv", peers_study.TUNING_COLUMNS)
    assert len(trials) == 2 * 3 + 2 * 2
    rows = read_rows(tmp_path / "11_peers.csv", peers_study.COLUMNS)
    assert [(row["peer"], row["settings"], row["seed"]) for row in rows] == [
        *((RECTOOLS, settings, seed) for settings in ("default", "tuned") for seed in "012"),
        (CORNAC, "default", "0"),  # no more than what a step costs
        *((CORNAC, "tuned", seed) for seed in "012"),
    ]
    best = rows[3]
    assert (best["learning_rate"], best["dropout"], best["steps"]) == ("0.003", "0.2", "1000")
    assert float(best["recall_10"]) == pytest.approx(300 / 671, abs=1e-5)
    assert rows[6]["recall_10"] == ""
    people = read_rows(tmp_path / "11_peers_people.csv", peers_study.PEER_PEOPLE_COLUMNS)
    assert len([row for row in people if row["peer"] == RECTOOLS and row["seed"] == "1"]) == 310
    own = read_rows(tmp_path / "11_peers_own.csv", peers_study.OWN_COLUMNS)
    assert {(row["peer"], row["settings"], row["value"]) for row in own} == {
        (RECTOOLS, "default", "0.10000"),
        (RECTOOLS, "tuned", "0.10000"),
        (CORNAC, "tuned", "0.10000"),
    }
    calls = len(asked)
    peers_study.main()
    assert len(asked) == calls


def a_study(folder: Path) -> peers_study.Study:
    peer = peers_study.Peer(RECTOOLS, Path(sys.executable), folder / "split.npz", folder)
    return peers_study.Study(peer, "leave-one-out", leave_one_out(load_dataset()), folder)


def test_weights_are_of_what_trains_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = a_study(tmp_path)
    first = study.settings(0, 0, (1000, 2000), "validation")["weights"]
    assert study.settings(0, 0, (2000,), "test")["weights"] == first
    assert study.settings(0, 1, (2000,), "test")["weights"] != first
    changed = {RECTOOLS: ({"lr": 0.003, "dropout_rate": 0.3},)}
    monkeypatch.setattr(peers_study, "TRIALS", changed)
    assert study.settings(0, 0, (1000, 2000), "validation")["weights"] != first


def test_an_answer_is_of_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(command: list[str], **_: Any) -> None:
        asked.append(json.loads(command[-1]))
        lists = {"test": lists_of([[len(asked)]])}
        write_answers(Path(command[3]), [PeerAnswers(1, 1, 1.0, lists, {})])

    monkeypatch.setattr(peers_study.subprocess, "run", fake)
    peer = a_study(tmp_path).peer
    for lr, expected in ((0.1, 1), (0.2, 2), (0.1, 1), (0.2, 2)):
        [found] = peer.answers("trial-0", {"lr": lr, "weights": f"somewhere {len(asked)}"})
        assert found.lists["test"][0, 0] == expected
    assert len(asked) == 2


def test_a_part_of_a_file_has_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed while it writes leaves no answers that count as done."""

    def killed(path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(peer_files.np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        write_answers(tmp_path / "answers.npz", [])
    assert [path.name for path in tmp_path.iterdir()] == ["answers.part.npz"]


def test_a_missing_environment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--rectools", sys.executable, "--cornac", str(tmp_path / "python")]
    monkeypatch.setattr(sys, "argv", ["", *options])
    with pytest.raises(SystemExit):
        peers_study.main()
    said = " ".join(capsys.readouterr().err.split())
    assert f"{tmp_path / 'python'}, the Python of cornac TIGER, does not exist" in said
    assert "--cornac" in said


def test_a_peer_answers_what_the_command_line_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "split.npz", tmp_path / "answers.npz"
    peer_files.write_data(source, data())
    monkeypatch.setattr(sys, "argv", ["", str(source), str(target), '{"seed": 3}'])
    peer_files.run_peer(
        lambda data, settings: [
            PeerAnswers(settings["seed"], data.num_items, 1.0, {"test": lists_of([[1]])}, {})
        ]
    )
    [answer] = read_answers(target)
    assert answer[:2] == (3, 9066)
    assert {path.name for path in tmp_path.iterdir()} == {"split.npz", "answers.npz"}
