"""What each reader makes of files that are cut, changed, or not what they claim to be.

Either the values are those that were written (where a checksum tells, or the change does not matter), or values of the
same kind (where no checksum can tell), or a ValueError that names the file. ``CRBESTIM_DAMAGES=1000`` tries so many
changes of each file; ``pytest -s`` prints what became of them.
"""

import io
import os
import pickle
import re
import resource
import shutil
import signal
import struct
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from readers import READERS, same

N_DAMAGES = int(os.environ.get("CRBESTIM_DAMAGES", "60"))
_LONGEST = 60  # s, for one reading, so that one without end is told
_MOST_MEMORY = 300_000  # kB, by which readings may let the process grow


class EndlessError(BaseException):
    """A reading does not end; no `except Exception` keeps it."""


@contextmanager
def ending():
    def stop(*_):
        raise EndlessError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(reader, path):
    """What was read, or None after a ValueError that names the file."""
    try:
        with ending():
            return reader.read(path)
    except ValueError as error:
        assert any(name in str(error) for name in reader.names(path)), f"no file is named: {error}"  # noqa: PT017
        return None


def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Directory with the file of each reader, made once."""
    made = {}

    def original(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("original")
            made[name] = folder, READERS[name].write(folder).relative_to(folder)
        return made[name]

    return original


@pytest.fixture
def valid(originals, tmp_path):
    """A function that copies the file of a reader to a new directory."""

    def copy(name):
        folder, path = originals(name)
        shutil.copytree(folder, tmp_path / "files")
        return tmp_path / "files" / path

    return copy


@pytest.fixture(params=READERS)
def name(request):
    return request.param


def cuts(data, n):
    rng = np.random.default_rng(1)
    lengths = {0, 1, 2, len(data) // 2, len(data) - 2, len(data) - 1, *rng.integers(0, len(data), n).tolist()}
    return [data[:length] for length in sorted(lengths) if 0 <= length < len(data)]


def changes(data, n):
    """Change a bit, a byte, a few bytes, or remove, repeat or insert some; every other time near the beginning."""
    rng = np.random.default_rng(2)
    symbols = b"0129.eE-+,:;/\\\"'[]{}()#=\n\r \x00\xff"
    for number in range(n):
        place = int(rng.integers(min(len(data), 400) if number % 2 else len(data)))
        length = int(rng.integers(1, 9))
        part = data[place : place + length]
        new = {
            0: bytes([data[place] ^ (1 << int(rng.integers(8)))]) + part[1:],
            1: bytes([int(rng.integers(256))]) + part[1:],
            2: bytes([symbols[int(rng.integers(len(symbols)))]]) + part[1:],
            3: b"",
            4: part * 2,
            5: rng.bytes(length),
            6: b"\xff" * len(part),
            7: bytes([symbols[int(rng.integers(len(symbols)))]]) * length + part,
        }[int(rng.integers(8))]
        changed = data[:place] + new + data[place + length :]
        if changed != data:
            yield changed


def test_valid_file_is_read(valid, name):
    path = valid(name)
    first = READERS[name].read(path)
    assert same(READERS[name].read(path), first)


def test_damaged_file_is_read_or_refused(valid, name):
    reader, path = READERS[name], valid(name)
    data, expected = path.read_bytes(), READERS[name].read(path)
    n = N_DAMAGES // 4 if reader.is_slow else N_DAMAGES
    counts = {"refused": 0, "as written": 0, "other values": 0}
    before = memory()
    for damaged in [*cuts(data, n // 3), *changes(data, n)]:
        path.write_bytes(damaged)
        found = outcome(reader, path)
        kind = "refused" if found is None else "as written" if same(found, expected) else "other values"
        counts[kind] += 1
        if reader.has_checksum:
            assert kind != "other values"
    assert memory() - before < _MOST_MEMORY
    assert counts["refused"]
    print(f"\n{name}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def zipped(parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return file.getvalue()


def array_of(content):
    file = io.BytesIO()
    np.save(file, np.array([content], dtype=object), allow_pickle=True)
    return file.getvalue()


def hostile_contents(data, marker, most):
    """Files of other kinds, some of which run code where pickles are read."""
    pickled = pickle.dumps(Payload(marker))
    saved, older = io.BytesIO(), io.BytesIO()
    torch.save({"format": Payload(marker), "digest": ""}, saved)
    torch.save(Payload(marker), older, _use_new_zipfile_serialization=False)
    yield from (b"", b"\n", b"T1 = 1 s\n" * 50, bytes(1000), bytes(range(256)) * 8, pickled, array_of(Payload(marker)))
    yield from (saved.getvalue(), older.getvalue())
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            parts = {name: archive.read(name) for name in names}
        for name in names[:most]:
            for part in (pickled, array_of(Payload(marker)), claiming(10**6, 10**6), b""):
                yield zipped(parts | {name: part})


def claiming(*shape):
    """A file of an array whose header tells a shape that is not in it."""
    header = repr({"descr": "<f8", "fortran_order": False, "shape": shape}).encode()
    header += b" " * (117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)


def test_other_content_is_refused_and_never_run(valid, name, tmp_path):
    reader, path, marker = READERS[name], valid(name), tmp_path / "marker"
    expected = reader.read(path)
    before = memory()
    for content in hostile_contents(path.read_bytes(), marker, 3 if reader.is_slow else None):
        path.write_bytes(content)
        found = outcome(reader, path)
        assert found is None or not reader.has_checksum or same(found, expected)
        assert not marker.exists()
    assert memory() - before < _MOST_MEMORY
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists()  # where pickles are read


def test_directory_in_place_of_the_file_is_told(valid, name):
    reader, path = READERS[name], valid(name)
    path.unlink()
    path.mkdir()
    if not reader.is_needed:  # what Zarr does not find is the fill value, or an attribute that is not there
        assert reader.read(path)["values"].shape == (3, 4, 2, 3)
        return
    with pytest.raises((ValueError, OSError), match="|".join(map(re.escape, reader.names(path)))), ending():
        reader.read(path)


CLAIMS = {
    "basis, .npy": lambda data: claiming(10**6, 10**6),
    "basis, .hdr": lambda data: b"# Dimensions\n1 1 1 1 1 1000000 1000000\n",
    "BART, .hdr": lambda data: b"# Dimensions\n10000 10000 10000 1 1 1 3\n",
    "NIfTI": lambda data: data[:42] + struct.pack("<3h", 32000, 32000, 32000) + data[48:],
    "network": lambda data: data.replace(b'"shape":[1,', b'"shape":[1000000000000,', 1),
    "Zarr 3, header": lambda data: data.replace(b'"shape": [\n    3,', b'"shape": [\n    1000000000000,'),
    "Zarr 2, header": lambda data: data.replace(b'"shape": [\n    3,', b'"shape": [\n    100000,'),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_claim_of_many_numbers_takes_no_memory(valid, name):
    reader, path = READERS[name], valid(name)
    data = path.read_bytes()
    claimed = CLAIMS[name](data)
    assert claimed != data
    path.write_bytes(claimed)
    before = memory()
    assert outcome(reader, path) is None
    assert memory() - before < _MOST_MEMORY
