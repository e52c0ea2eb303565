"""Spoil good files in many ways, and see that a reader refuses them as it promises to.

A target names a good file, or a folder of them of which one is spoilt at a time, its reader and its
mutations. The reader may succeed, or raise what it
documents: ValueError (of which CheckpointError is one) or OSError. Anything else is a finding, and
so is a message that names no file or fills the screen, more memory than a little, or more time
than a little. The spoilt file is kept, and the exit code says so.

    python -m tests.robustness.fuzz.fuzz_rqvae --seconds 300 --seed 1
"""

import argparse
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

DOCUMENTED = (ValueError, OSError)
SECONDS = 10.0  # of the processor that one file may take; a busy machine's clock says little
MEMORY = 512 * 2**20  # bytes of address space that one file may ask for
LARGE = 2**16  # bytes from which a file is spoilt no further
LONGEST = 1500  # characters of a message, its path aside

Mutation = Callable[[random.Random, bytes], bytes]


class Target(NamedTuple):
    write: Callable[[Path], object]  # a good file, or a folder of good files
    read: Callable[[Path], object]  # and use what was read, a little
    ending: str  # of the file's name; "" for a folder
    mutations: Sequence[Mutation]  # of this format; those of any bytes are added


class Finding(Exception):
    """What a reader did that it must not do."""


# Mutations of any bytes

NUMBERS = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]


def flip_bits(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8, 64])):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def put_number(chance: random.Random, data: bytes) -> bytes:
    size = chance.choice([1, 2, 4, 8])
    number = (chance.choice(NUMBERS) % 256**size).to_bytes(size, "little")
    place = chance.choice([0, chance.randrange(len(data)), max(0, len(data) - 16)])
    return data[:place] + number + data[place + size :]


def cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data))]


def append(chance: random.Random, data: bytes) -> bytes:
    return data + chance.randbytes(chance.choice([1, 8, 1000]))


def splice(chance: random.Random, data: bytes) -> bytes:
    """Copy a piece to another place, over what is there or between."""
    start = chance.randrange(len(data))
    piece = data[start : start + chance.choice([1, 4, 32, 500])]
    place = chance.randrange(len(data))
    return data[:place] + piece + data[place + chance.choice([0, len(piece)]) :]


def leave_out(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.choice([1, 4, 32, 500]) :]


def noise(chance: random.Random, data: bytes) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 7, 8, 9, 100, 5000]))


ANY_BYTES: list[Mutation] = [flip_bits, put_number, cut, append, splice, leave_out, noise]


# Running a target


def try_file(target: Target, path: Path) -> bool:
    """Read a file; return whether it was accepted; raise Finding for what must not be."""
    began = time.process_time()
    accepted = True
    try:
        target.read(path)
    except DOCUMENTED as error:
        accepted = False
        said = str(error)
        if "allocate memory" in said or isinstance(error.__cause__, MemoryError):
            raise Finding(f"it asks for more memory than {MEMORY:,} bytes") from error
        if str(path) not in said:
            raise Finding("the message does not name the file") from error
        if len(said) > LONGEST + len(str(path)) or "\n" in said:
            raise Finding(f"the message has {len(said):,} characters, or lines") from error
    except Exception as error:
        raise Finding(f"it raises {type(error).__name__}, which is not documented") from error
    if time.process_time() - began > SECONDS:
        raise Finding(f"it takes {time.process_time() - began:.1f} seconds")
    return accepted


def limit_memory() -> None:
    """Let this process ask for no more than a little beyond what it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    _, highest = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, highest))


def spoil(target: Target, chance: random.Random, good: bytes) -> bytes:
    """Mutate a file once, or now and then more often."""
    spoilt = good
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        mutations = chance.choice([ANY_BYTES, target.mutations or ANY_BYTES])
        if 0 < len(spoilt) < LARGE:  # a row a thousand times, of that a thousand more, …
            spoilt = chance.choice(mutations)(chance, spoilt)
    return spoilt


def work(target: Target, path: Path, seconds: float, seed: int) -> int:
    """Fuzz for a while in a process of its own; return how it ended."""
    target.write(path)
    files = sorted(path.rglob("*.*")) if path.is_dir() else [path]
    good = {file: file.read_bytes() for file in files}
    if not try_file(target, path):
        raise AssertionError("the good file is refused")
    ends = time.monotonic() + seconds
    tried = accepted = 0
    while time.monotonic() < ends:
        chance = random.Random(seed * 1_000_000_007 + tried)
        file = chance.choice(files)
        file.write_bytes(spoil(target, chance, good[file]))
        limit_memory()  # for this file: what allocators keep of earlier ones is not its doing
        # What does not even return to Python is ended by this.
        signal.setitimer(signal.ITIMER_PROF, 3 * SECONDS)
        try:
            accepted += try_file(target, path)
        except Finding as finding:
            traceback.print_exception(finding)
            print(f"Found after {tried:,} files: {finding}.", file=sys.stderr)
            return 1
        signal.setitimer(signal.ITIMER_PROF, 0)
        file.write_bytes(good[file])
        tried += 1
    shutil.rmtree(path.parent)
    print(f"{tried:,} spoilt files in {seconds:.0f} seconds: {accepted:,} still good, none amiss.")
    return 0


def main(target: Target) -> NoReturn:
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", type=Path, help="read this once: what was kept, say")
    chosen = parser.parse_args()
    if chosen.file:
        print("accepted" if try_file(target, chosen.file) else "refused, as documented")
        sys.exit(0)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    path = folder / f"{Path(sys.argv[0]).stem}{target.ending}"
    child = os.fork()  # so that the file is named whatever becomes of its reader
    if child == 0:
        status = 1
        try:
            status = work(target, path, chosen.seconds, chosen.seed)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        how = f"killed by signal {-code}" if code < 0 else "see above"
        print(f"{Path(sys.argv[0]).name}: {how}. The file: {path}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
