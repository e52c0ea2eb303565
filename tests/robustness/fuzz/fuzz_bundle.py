"""Fuzz `load_bundle`: the manifest, and the files beside it."""

import hashlib
import json
import random
from pathlib import Path

import torch

from rqvae_lib.checkpoints.bundle import load_bundle, write_bundle
from tests.checkpoints.test_bundle import bundle
from tests.robustness.fuzz.harness import NUMBERS, Mutation, Target, main

VALUES = [
    *(None, True, -1, 1.5, 1e400, "", "x" * 2000, [], {}, [[[]]], "../../v0001/ids.parquet"),
    *("/etc/hostname", "tokenizer.safetensors", "items.parquet", "rqvae-lib bundle 2", "é\n"),
    *NUMBERS,
]


def write(path: Path) -> None:
    torch.manual_seed(0)
    write_bundle(path, bundle())


def read(path: Path) -> None:
    describe_anew(path / "v0001")
    found = load_bundle(path)
    assert len(found.ids) == len(found.items) == len(found.errors) == len(found.titles)
    assert found.recommender is None or found.recommender.ids.sha256 == found.ids.sha256


def describe_anew(folder: Path) -> None:
    """Let the manifest vouch for spoilt files, or nothing but its hashes would be tried."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        for entry in manifest["files"]:
            content = (folder / Path(entry["name"]).name).read_bytes()
            entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    except (LookupError, TypeError, ValueError, OSError, RecursionError):
        pass  # it is the manifest that is spoilt


def change_value(chance: random.Random, data: bytes) -> bytes:
    """Put another value somewhere into the manifest; leave what is no JSON as it is."""
    try:
        manifest = json.loads(data)
        part = manifest
        while True:
            keys = list(part) if isinstance(part, dict) else list(range(len(part)))
            key = chance.choice(keys)
            if not isinstance(part[key], dict | list) or not part[key] or chance.random() < 0.2:
                break
            part = part[key]
        what = chance.randrange(4)
        if what == 0:
            del part[key]
        elif what == 1 and isinstance(part, list):
            part.append(part[key])
        elif what == 2 and isinstance(part, dict):
            part[chance.choice(["more", "files", "health", "version"])] = part.pop(key)
        else:
            part[key] = chance.choice(VALUES)
        return json.dumps(manifest).encode()
    except Exception:
        return data


MUTATIONS: list[Mutation] = [change_value, change_value, change_value]


if __name__ == "__main__":
    main(Target(write, read, "", MUTATIONS))
