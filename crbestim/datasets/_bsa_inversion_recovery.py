"""A public NMR measurement: inversion recovery of bovine serum albumin for pulses of ten durations."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pooch
from numpy.typing import NDArray
from sklearn.utils import Bunch

from .._files import checked_path
from .._validation import ComplexArray, check_finite

COLUMNS = ("pulse_duration", "inversion_time", "signal_real", "signal_imag")
FILE_NAME = "bsa_inversion_recovery.csv"
BASE_URL = (
    "https://github.com/JakobAsslaender/MRIgeneralizedBloch_NMRData/raw/e62c659aa98808921b678abdcd249e62d49c4bc7"
)
SHORTEST_PULSE = 22.8e-6  # s
INVERSION_TIMES = np.exp(np.linspace(np.log(3e-3), np.log(5), 20)) + 12 * SHORTEST_PULSE + (13 * 15.065 - 5) * 1e-6
# SHA-256 of the values (see _digest) for each pulse duration in units of the shortest.
CHECKSUMS = {
    1: "c89600da0c283bafb873338118329a455bca85e210deeccdadcd275a6cd61f9a",
    2: "1b92d79633a3b352b594ac5827a49e45abab5c2a796479fa4b56d6454c50c066",
    5: "8c1c0270528550bf717f71e5b5249e0c23e9cbfc544ec73252b07b225230ac19",
    10: "8ba1759aa2826b458fd0f6a562a709b0e108039d670275fa7e536fe61998a016",
    15: "e5b53d516925de04a90c192c038632d426bae17a658993cd26c1b1cb3173930a",
    20: "0a0d16e996109f8d6668dbce3f974ebdf799eaf79d37e131af54dab9d9d96783",
    25: "c868c1f653fbb0bf43c1a93e6d29dda25f4b1112aeec05fee5c63f12f921aa75",
    30: "43c9531608d4805d4e39ec3b2400eefd89d3632704049dba46dd8dc596676f78",
    35: "fc9eff22b6e28a90c8aa385061d6e9db207119d735a44f346bf7d1bbc3f4c74a",
    40: "cdf7af8bb38c5c7092ad11bf907e4dfac7d8f31d94485088e1d8f11ec3d9559d",
}
DESCR = """NMR inversion recovery of 15 % bovine serum albumin, thermally cross-linked

The first useful point of the free induction decay after a rectangular pi pulse and an inversion time, for each of 10
pulse durations (22.8 us to 912 us) and 20 inversion times (3.5 ms to 5 s, from the middle of the pulse). Complex, in
arbitrary units; the phase of the receiver is not removed.

Source: https://github.com/JakobAsslaender/MRIgeneralizedBloch_NMRData, folder 20210416_15%BSA_2ndBatch, MIT licence.
Reference: J. Assländer et al., Generalized Bloch model: a theory for pulsed magnetization transfer, Magn. Reson. Med.
87, 2022, doi:10.1002/mrm.29071.
"""
CSV_HEADER = f"""\
# NMR inversion recovery of 15 % thermally cross-linked bovine serum albumin after rectangular pi pulses; seconds,
# arbitrary units, phase of the receiver not removed. Source: MRIgeneralizedBloch_NMRData (GitHub), MIT licence.
{",".join(COLUMNS)}"""


def fetch_bsa_inversion_recovery(
    path: str | os.PathLike[str] | None = None,
    *,
    data_home: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Bunch:
    r"""Load an NMR inversion-recovery measurement of bovine serum albumin; download it if need be.

    15 % bovine serum albumin, thermally cross-linked, has a free and a semi-solid spin pool. It was inverted by
    rectangular :math:`\pi` pulses of 10 durations, and the first useful point of the free induction decay was taken at
    20 inversion times [1]_. The data are published under the MIT licence [2]_; they are downloaded once and kept as
    ``bsa_inversion_recovery.csv``. Checksums are those of the values, which the raw files and this one have in common.

    Parameters
    ----------
    path : str or path-like, optional
        CSV file that is read instead, of this measurement or of another one: columns ``pulse_duration``,
        ``inversion_time``, ``signal_real`` and ``signal_imag``, comments after ``#``. No checksum is verified.
    data_home : str or path-like, optional
        Folder where the CSV file is kept; by default the environment variable ``CRBESTIM_DATA`` or else the user's
        cache. It may be read-only if it holds the file.
    progress : bool, default=True
        Show progress bars of the download.

    Returns
    -------
    Bunch
        ``signal`` : complex ndarray of shape (200,), in arbitrary units, the phase of the receiver not removed;
        ``pulse_duration`` : ndarray of shape (200,), in s;
        ``inversion_time`` : ndarray of shape (200,), in s, from the middle of the pulse;
        ``frame`` : DataFrame of shape (200, 4), the columns of the CSV file;
        ``DESCR`` : str, source, licence and meaning.
        With `path`, the number of rows is that of the file.

    Raises
    ------
    TypeError
        If `path` or `data_home` is not a path.
    FileNotFoundError
        If there is no file at `path`.
    ValueError
        If a file is not of the format described, or does not hold the values that were published.
    OSError
        If the measurement cannot be downloaded or written into `data_home`.

    References
    ----------
    .. [1] J. Assländer et al., Generalized Bloch model: a theory for pulsed magnetization transfer, Magn. Reson. Med.
       87, 2022, doi:10.1002/mrm.29071.
    .. [2] https://github.com/JakobAsslaender/MRIgeneralizedBloch_NMRData

    Examples
    --------
    >>> from crbestim.datasets import fetch_bsa_inversion_recovery
    >>> data = fetch_bsa_inversion_recovery()  # doctest: +SKIP
    >>> data.signal.shape  # doctest: +SKIP
    (200,)
    """
    file = None if path is None else checked_path(path, "path").expanduser()
    if data_home is None:
        data_home = os.environ.get("CRBESTIM_DATA") or Path(pooch.os_cache("crbestim"))
    home = checked_path(data_home, "data_home").expanduser()
    frame = _load(home / FILE_NAME, progress) if file is None else _read_csv(file)
    times = {name: frame[name].to_numpy() for name in COLUMNS[:2]}
    return Bunch(signal=_signal(frame), **times, frame=frame, DESCR=DESCR)


def _load(file: Path, progress: bool) -> pd.DataFrame:
    """Return the published measurement out of a CSV file, which is downloaded if it does not exist."""
    if not file.exists():
        _download(file, progress)
    try:
        frame = _read_csv(file)
        _check_published(frame)
    except ValueError as error:
        raise ValueError(
            f"{file} does not hold the published measurement: {error} Delete the file, and it is downloaded again."
        ) from error
    return frame


def _read_csv(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise FileNotFoundError(f"path must be a CSV file; there is no file {file}.")
    types = dict.fromkeys(COLUMNS, "float64")
    try:
        frame = pd.read_csv(file, comment="#", dtype=types, skipinitialspace=True)
    except ValueError as error:  # the errors of pandas' parser are ValueErrors, too
        raise ValueError(f"{file} must be a CSV file of numbers: {str(error).strip()}.") from error
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise ValueError(f"{file} must have the columns {list(COLUMNS)}; {missing} are missing.")
    if frame.empty:
        raise ValueError(f"{file} has no rows of data.")
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too many for row names
        raise ValueError(f"{file} has more values in a row than columns.")
    frame = frame[list(COLUMNS)]
    check_finite(frame.to_numpy(), str(file), COLUMNS)
    for name in COLUMNS[:2]:
        row = int(frame[name].argmin())
        if frame[name][row] <= 0:
            raise ValueError(f"{file} must have positive times; {name} is {frame[name][row]} in row {row}.")
    return frame


def _signal(frame: pd.DataFrame) -> ComplexArray:
    return frame["signal_real"].to_numpy() + 1j * frame["signal_imag"].to_numpy()


def _published_times() -> NDArray[np.float64]:
    """Return pulse durations and inversion times in s, shape (200, 2), in the order of the CSV file."""
    return np.array([(scale * SHORTEST_PULSE, time) for scale in CHECKSUMS for time in INVERSION_TIMES])


def _check_published(frame: pd.DataFrame) -> None:
    times, published = frame[list(COLUMNS[:2])].to_numpy(), _published_times()
    if times.shape != published.shape or not np.allclose(times, published, rtol=1e-6, atol=0):
        raise ValueError("pulse durations or inversion times differ.")
    for scale, values in zip(CHECKSUMS, _signal(frame).reshape(len(CHECKSUMS), -1), strict=True):
        _check_digest(values, scale)


def _check_digest(values: ComplexArray, scale: int) -> None:
    if _digest(values) != CHECKSUMS[scale]:
        raise ValueError(f"the checksum of the signal for the pulse duration {scale * SHORTEST_PULSE:.3g} s differs.")


def _digest(values: ComplexArray) -> str:
    """Return the SHA-256 of a signal with six decimals, as it stands in the CSV file, in single precision.

    The values are hashed, not the files, so that one checksum serves the raw file and the CSV file. They are rounded
    first, because six decimals do not tell all numbers of single precision below 16 apart.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.round(np.asarray(values, dtype=np.complex128), 6).astype("<c8")
    return hashlib.sha256(rounded.tobytes()).hexdigest()


def _download(file: Path, progress: bool) -> None:
    """Make the CSV file of the raw ones; it appears at once, or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f"{file.stem}-", dir=file.parent) as folder:
        signal = np.concatenate([_download_pulse(scale, Path(folder), file, progress) for scale in CHECKSUMS])
        whole = Path(folder, file.name)
        _write_csv(whole, signal)
        os.replace(whole, file)


def _download_pulse(scale: int, folder: Path, file: Path, progress: bool) -> ComplexArray:
    """Return the signal, shape (20,), for one pulse duration."""
    name = f"{scale}.2d"
    url = f"{BASE_URL}/20210416_15%25BSA_2ndBatch/ja_IR_v2%20({scale})/1/data.2d"
    store = pooch.create(folder, base_url="", registry={name: None}, urls={name: url})
    try:
        values = _first_points(Path(store.fetch(name, progressbar=progress)).read_bytes())
        _check_digest(values, scale)
    except OSError as error:
        if (response := getattr(error, "response", None)) is not None:
            response.close()  # pooch leaves it open
        raise OSError(
            f"The measurement could not be downloaded from {url}: {error}. Without network, pass a CSV file as path=, "
            f"or put it into data_home as {file}."
        ) from error
    except ValueError as error:
        raise ValueError(f"The file {url} is not the one that is expected, and was removed: {error}") from error
    return values


def _first_points(content: bytes) -> ComplexArray:
    """Return the first useful point of each free induction decay in a two-dimensional file of Magritek's Prospa.

    The file has 12 characters, five integers (type of number, rows, columns, 1, 1), and the columns one after the
    other, one for each inversion time. The first useful row is number 6.
    """
    if len(content) < 32:
        raise ValueError(f"the file ends within its header, after {len(content)} bytes.")
    kind, n_rows, *shape = np.frombuffer(content, "<i4", count=5, offset=12).tolist()
    if kind != 501:
        raise ValueError(f"the type of number must be 501 (complex, single precision); got {kind}.")
    if n_rows <= 6 or shape != [len(INVERSION_TIMES), 1, 1]:
        raise ValueError(f"there must be 20 columns of more than 6 points; got {shape} of {n_rows}.")
    n_values = n_rows * len(INVERSION_TIMES)
    if len(content) < 32 + 8 * n_values:
        raise ValueError(f"the file is truncated: {len(content)} bytes instead of {32 + 8 * n_values}.")
    return np.frombuffer(content, "<c8", count=n_values, offset=32).reshape(-1, n_rows)[:, 6]


def _write_csv(file: Path, signal: ComplexArray) -> None:
    table = np.column_stack([_published_times(), signal.real, signal.imag])
    with open(file, "w", encoding="ascii") as stream:
        np.savetxt(stream, table, fmt="%.8g,%.8g,%.6f,%.6f", header=CSV_HEADER, comments="")
        stream.flush()
        os.fsync(stream.fileno())
