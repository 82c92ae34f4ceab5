import functools
import http.server
import os
import shutil
import socket
import struct
import tempfile
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from crbestim.datasets import _bsa_inversion_recovery as module
from crbestim.datasets._bsa_inversion_recovery import fetch_bsa_inversion_recovery

SCALES = (1, 2, 5, 10, 15, 20, 25, 30, 35, 40)
COLUMNS = ["pulse_duration", "inversion_time", "signal_real", "signal_imag"]
CSV_NAME = "bsa_inversion_recovery.csv"
REAL_DATA = Path(os.environ.get("CRBESTIM_DATA") or "nowhere") / CSV_NAME

# Large and small values: those of the second half have more digits than the CSV file.
SIGNAL = np.random.default_rng(0).standard_normal((10, 20, 2)) * np.repeat([700, 0.7], 10)[:, None]
SIGNAL = SIGNAL.astype("<f4").view("<c8")[..., 0]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def raw_file(values, kind=501, n_rows=9, shape=(20, 1, 1), useful=6):
    """A file in the format of the spectrometer, with other numbers around the useful row."""
    data = np.full((len(values), n_rows), 3 + 4j, dtype="<c8")
    data[:, useful] = values
    return b"SORPATAD1.1V" + struct.pack("<5i", kind, n_rows, *shape) + data.tobytes()


def raw_path(root, scale):
    return root / "20210416_15%BSA_2ndBatch" / f"ja_IR_v2 ({scale})" / "1" / "data.2d"


@pytest.fixture(autouse=True)
def fabricated(monkeypatch, tmp_path):
    """Checksums of the fabricated signal, and no way to the real measurement, by network or environment."""
    monkeypatch.setattr(
        module, "CHECKSUMS", {scale: module._digest(values) for scale, values in zip(SCALES, SIGNAL, strict=True)}
    )
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setattr(module, "BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("CRBESTIM_DATA", str(tmp_path / "default"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def served(monkeypatch, tmp_path):
    """The folder of a server that has the fabricated raw files."""
    root = tmp_path / "served"
    for scale, values in zip(SCALES, SIGNAL, strict=True):
        file = raw_path(root, scale)
        file.parent.mkdir(parents=True)
        file.write_bytes(raw_file(values))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=root)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(module, "BASE_URL", f"http://127.0.0.1:{server.server_port}")
        yield root
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "new" / "home"


@pytest.fixture
def cached(home):
    """The CSV file of the fabricated measurement in its folder."""
    home.mkdir(parents=True)
    module._write_csv(home / CSV_NAME, SIGNAL.ravel())
    return home / CSV_NAME


@pytest.fixture
def own_csv(tmp_path):
    """A function that writes lines into a CSV file of the user's."""

    def write(*lines, header=",".join(COLUMNS)):
        file = tmp_path / "own.csv"
        file.write_text("\n".join(["# a comment", header, *lines]) + "\n")
        return file

    return write


def fetch(home, **options):
    return fetch_bsa_inversion_recovery(data_home=home, progress=False, **options)


def assert_fabricated(data):
    assert isinstance(data, Bunch)
    np.testing.assert_allclose(data.signal, SIGNAL.ravel(), rtol=0, atol=0.51e-6 * np.sqrt(2))
    assert data.signal.dtype == np.complex128
    np.testing.assert_allclose(data.pulse_duration, np.repeat(SCALES, 20) * 22.8e-6, rtol=1e-9)
    assert data.inversion_time.reshape(10, 20).std(axis=0) == pytest.approx(0, abs=1e-12)
    assert list(data.frame.columns) == COLUMNS
    assert data.frame.shape == (200, 4)


def test_download(served, home):
    data = fetch(home)
    assert_fabricated(data)
    assert [file.name for file in home.iterdir()] == [CSV_NAME]
    shutil.rmtree(served)
    again = fetch(str(home))
    pd.testing.assert_frame_equal(data.frame, again.frame, check_exact=True)
    np.testing.assert_array_equal(data.signal, again.signal)


def test_inversion_times_of_the_measurement(cached, home):
    time = fetch(home).inversion_time[:20]
    correction = 464.445e-6
    assert time[[0, -1]] == pytest.approx([3e-3 + correction, 5 + correction], rel=1e-7)
    ratios = (time[1:] - correction) / (time[:-1] - correction)
    np.testing.assert_allclose(ratios, (5 / 3e-3) ** (1 / 19), rtol=1e-6)


def test_description_names_source_and_licence(cached, home):
    description = fetch(home).DESCR
    for words in ("MRIgeneralizedBloch_NMRData", "MIT licence", "10.1002/mrm.29071", "phase"):
        assert words in description


def test_progress_bar(served, home, capsys):
    fetch_bsa_inversion_recovery(data_home=home)
    assert "100%" in capsys.readouterr().err


def test_no_progress_bar(served, home, capsys):
    fetch(home)
    assert "%|" not in capsys.readouterr().err


def test_cached_file_is_enough(cached, home):
    assert_fabricated(fetch(home))


def test_cached_file_may_be_read_only(cached, home):
    cached.chmod(0o444)
    home.chmod(0o555)
    changed = home.stat().st_mtime_ns
    try:
        assert_fabricated(fetch(home))
    finally:
        home.chmod(0o755)
    assert home.stat().st_mtime_ns == changed


def test_environment_variable(cached, home, monkeypatch):
    monkeypatch.setenv("CRBESTIM_DATA", str(home))
    assert_fabricated(fetch(None))


@pytest.mark.parametrize("variable", [None, ""])
def test_cache_of_the_user(cached, home, monkeypatch, variable):
    if variable is None:
        monkeypatch.delenv("CRBESTIM_DATA")
    else:
        monkeypatch.setenv("CRBESTIM_DATA", variable)
    monkeypatch.setattr(module.pooch, "os_cache", {"crbestim": home}.__getitem__)
    assert_fabricated(fetch(None))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"{SIGNAL[3, 4].real:.6f}", "12.5"),
        (f"{SIGNAL[9, 19].imag:.6f}", "1e300"),
        ("\n0.000912,", "\n0.000911,"),
        ("0.003464445", "0.00346443"),
        ("\n0.000912,", "\n# 0.000912,"),
        ("signal_real", "real"),
        ("\n0.000912,", "\nlong,"),
    ],
)
def test_tampered_cached_file(cached, home, old, new):
    text = cached.read_text()
    assert old in text
    cached.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match="does not hold the published measurement.* Delete the file") as caught:
        fetch(home)
    assert str(cached) in str(caught.value)
    assert cached.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends within its header, after 0 bytes"),
        (raw_file(SIGNAL[4])[:31], "ends within its header, after 31 bytes"),
        (raw_file(SIGNAL[4])[:-1], "truncated: 1471 bytes instead of 1472"),
        (raw_file(SIGNAL[4], kind=500), "type of number must be 501 .*; got 500"),
        (b"<!DOCTYPE html>" + b" " * 100, "type of number must be 501"),
        (raw_file(SIGNAL[4], n_rows=6, useful=5), "more than 6 points"),
        (raw_file(SIGNAL[4], shape=(21, 1, 1)), "must be 20 columns"),
        (raw_file(SIGNAL[4], shape=(20, 2, 1)), "must be 20 columns"),
        (raw_file(SIGNAL[3]), "checksum of the signal for the pulse duration 0.000342 s"),
        (raw_file(SIGNAL[4], useful=5), "checksum"),
        (raw_file(np.full(20, np.nan)), "checksum"),
    ],
)
def test_bad_raw_file(served, home, content, message):
    raw_path(served, 15).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        fetch(home)
    assert f"{module.BASE_URL}/20210416_15%25BSA_2ndBatch/ja_IR_v2%20(15)/1/data.2d" in str(caught.value)
    assert list(home.iterdir()) == []


def test_missing_raw_file(served, home):
    raw_path(served, 40).unlink()
    with pytest.raises(OSError, match=r"could not be downloaded from http://127.*\(40\)/1/data.2d: .*404") as caught:
        fetch(home)
    assert "path=" in str(caught.value)
    assert str(home / CSV_NAME) in str(caught.value)
    assert list(home.iterdir()) == []
    assert caught.value.__cause__.response.raw.closed  # no socket is left open


def test_no_server(home):
    with pytest.raises(OSError, match=r"could not be downloaded from http://127.*\(1\)/1/data.2d: .*refused"):
        fetch(home)
    assert list(home.iterdir()) == []


def test_server_that_breaks_off(served, home, monkeypatch):
    monkeypatch.setattr(QuietHandler, "copyfile", lambda self, source, target: target.write(source.read(100)))
    with pytest.raises(OSError, match="could not be downloaded"):
        fetch(home)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_interruption_leaves_nothing(served, home, monkeypatch, function, interruption):
    def interrupt(*args):
        raise interruption

    with monkeypatch.context() as patch, pytest.raises(interruption):
        patch.setattr(module.os, function, interrupt)
        fetch(home)
    assert list(home.iterdir()) == []
    assert_fabricated(fetch(home))


def test_digest_is_that_of_the_text():
    """Rounding gives the bits that come from reading six decimals, and an unrounded value other ones."""
    text = [[f"{part:.6f}" for part in (value.real, value.imag)] for value in SIGNAL.ravel()]
    read = np.array(text, dtype="f4").view("c8")[:, 0]
    assert module._digest(SIGNAL.ravel()) == module._digest(read)
    assert (read != SIGNAL.ravel()).any()
    changed = read.copy()
    changed[7] += 2e-4
    assert module._digest(changed) != module._digest(read)


def test_checksums_are_of_all_pulses(monkeypatch):
    monkeypatch.undo()
    assert tuple(module.CHECKSUMS) == SCALES
    assert len(set(module.CHECKSUMS.values())) == len(SCALES)
    assert all(len(bytes.fromhex(digest)) == 32 for digest in module.CHECKSUMS.values())


def test_own_file(own_csv, home):
    header = "pulse_duration, inversion_time, note, signal_imag, signal_real"
    file = own_csv("1e-3, 0.5, 7, 1, -2  # spaces", "2e-3, 1.5, 8, 3, 4", header=header)
    for path in (file, str(file)):
        data = fetch(home, path=path)
        np.testing.assert_allclose(data.signal, [-2 + 1j, 4 + 3j], rtol=1e-14)
        np.testing.assert_allclose(data.pulse_duration, [1e-3, 2e-3], rtol=1e-14)
        np.testing.assert_allclose(data.inversion_time, [0.5, 1.5], rtol=1e-14)
        assert list(data.frame.columns) == COLUMNS
    assert not home.exists()


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        (["1,1,1,1"], "pulse_duration,inversion_time,real,imag", r"\['signal_real', 'signal_imag'\] are missing"),
        ([], ",".join(COLUMNS), "no rows"),
        (["1,1,nan,1"], ",".join(COLUMNS), "NaN or infinity, first in signal_real in row 0"),
        (["1,1,1,1", "1,1,1"], ",".join(COLUMNS), "NaN or infinity, first in signal_imag in row 1"),
        (["1,inf,1,1"], ",".join(COLUMNS), "NaN or infinity, first in inversion_time in row 0"),
        (["1,1,one,1"], ",".join(COLUMNS), "CSV file of numbers: .*one"),
        (["1,1,1,1", "1,1,1,1,1"], ",".join(COLUMNS), "CSV file of numbers: .*Expected 4 fields"),
        (["1,1,1,1,1"], ",".join(COLUMNS), "more values in a row than columns"),
        (["1,1,1,1", "0,1,1,1"], ",".join(COLUMNS), r"positive times; pulse_duration is 0\.0 in row 1"),
        (["1,-1,1,1"], ",".join(COLUMNS), r"positive times; inversion_time is -1\.0 in row 0"),
        ([], "", "CSV file of numbers: No columns"),
    ],
)
def test_bad_own_file(own_csv, lines, header, message):
    file = own_csv(*lines, header=header)
    with pytest.raises(ValueError, match=message) as caught:
        fetch_bsa_inversion_recovery(file)
    assert str(file) in str(caught.value)


def test_binary_own_file(tmp_path):
    file = tmp_path / "data.2d"
    file.write_bytes(b"\xff\xfe\x00" * 50)
    with pytest.raises(ValueError, match="data.2d must be a CSV file"):
        fetch_bsa_inversion_recovery(file)


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_missing_own_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="path must be a CSV file; there is no file"):
        fetch_bsa_inversion_recovery(tmp_path / name)


@pytest.mark.parametrize("name", ["path", "data_home"])
@pytest.mark.parametrize("value", [3, b"folder", ["folder"]])
def test_wrong_type_of_path(name, value):
    with pytest.raises(TypeError, match=f"{name} must be a path; got {type(value).__name__}"):
        fetch_bsa_inversion_recovery(**{name: value})


@pytest.mark.skipif(not REAL_DATA.is_file(), reason="CRBESTIM_DATA is no folder with the measurement")
def test_real_measurement(monkeypatch):
    monkeypatch.undo()
    data = fetch(None)
    assert data.signal.shape == data.pulse_duration.shape == data.inversion_time.shape == (200,)
    np.testing.assert_allclose(data.pulse_duration, np.repeat(SCALES, 20) * 22.8e-6, rtol=1e-9)
    time = np.exp(np.linspace(np.log(3e-3), np.log(5), 20)) + 12 * 22.8e-6 + (13 * 15.065 - 5) * 1e-6
    np.testing.assert_allclose(data.inversion_time, np.tile(time, 10), rtol=1e-7)
    assert data.signal[0] == pytest.approx(729.474854 + 3.58955j, rel=1e-12)
    with tempfile.TemporaryDirectory() as folder:
        module._write_csv(Path(folder, CSV_NAME), data.signal)
        pd.testing.assert_frame_equal(fetch(folder).frame, data.frame, check_exact=True)
