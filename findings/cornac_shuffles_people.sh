#!/usr/bin/env bash
# cornac 3.0.1: `session_seq_iter(shuffle=True)` shuffles sessions, not the samples that are cut from them.
#
# Its transformers over sequences (TIGER, SASRec, …) learn from samples "what came before → the next item". All samples
# of a session follow each other in time order, and batches are cut from that row of samples.
# Common wrong guess: shuffle=True mixes everybody's samples, as one expects of a batch.
# What happens: with sessions that are longer than a batch, as where a session is a person's whole history, a batch
# holds the samples of one to three people, with histories that differ by one item. With a handful of items a session it
# makes little difference.
#
# Seen with cornac 3.0.1 and NumPy 2.4.6 on Python 3.11, 100 people with 100 items each, batches of 128:
#   people in a batch: 1 to 3; if samples were shuffled: about 72
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "cornac==3.0.1" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PY'
import numpy as np
from cornac.data import SequentialDataset
from cornac.models.seq_utils import session_seq_iter

people, length, batch_size = 100, 100, 128
draw = np.random.default_rng(0)
rows = [
    (person, person, int(item), time)  # a user, a session, an item, a time
    for person in range(people)
    for time, item in enumerate(draw.choice(1000, length, replace=False))
]
train = SequentialDataset.build(rows, fmt="USIT", seed=0)
batches = session_seq_iter(
    train, pad_index=train.num_items, batch_size=batch_size, n_sample=0,
    rng=np.random.RandomState(0), shuffle=True,
)
in_batch = [len(set(persons.tolist())) for persons, _, _ in batches]
everybody = np.repeat(np.arange(people), length - 1)
mixed = [len(set(draw.permutation(everybody)[:batch_size].tolist())) for _ in range(100)]
print(f"people in a batch: {min(in_batch)} to {max(in_batch)}; "
      f"if samples were shuffled: about {np.mean(mixed):.0f}")
assert max(in_batch) <= 3 and np.mean(mixed) > 60, "this has changed"
PY
