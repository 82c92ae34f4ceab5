"""Every reader of the package, with a small valid file for it."""

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import zarr
from pulseq_files import Recorder as PulseqRecorder
from scipy import stats

from crbestim import (
    CRBWeightedRegressor,
    DictionaryMatcher,
    MonoExponentialModel,
    NLLSEstimator,
    NoiseModel,
    Pipeline,
    Prior,
    PulseSequence,
    SVDCompressor,
    load_estimator,
    load_pretrained,
    read_results,
    save_estimator,
    save_pretrained,
)
from crbestim.cli._config import with_config
from crbestim.cli._main import _parser
from crbestim.datasets import fetch_bsa_inversion_recovery
from crbestim.design._recorder import Recorder
from crbestim.io import (
    Volume,
    load_basis,
    load_prior,
    map_volume,
    open_coefficients,
    open_volume,
    read_mask,
    save_basis,
    save_volume,
)
from crbestim.nn import ResidualNetwork

RNG = np.random.default_rng(0)
MODEL = MonoExponentialModel(np.arange(1, 9) * 0.02)
PRIOR = Prior({"T2": stats.uniform(0.05, 0.1)})
THETA = PRIOR.sample(60, random_state=0)
SIGNALS = MODEL.signal(THETA)
BOUND = np.ones((60, 1))
BASIS = SVDCompressor(3).fit(SIGNALS).basis_
IMAGES = (RNG.standard_normal((3, 4, 2, 3)) + 1j * RNG.standard_normal((3, 4, 2, 3))).astype(np.complex64)
MASK = (RNG.random((3, 4, 2)) > 0.5).astype(np.float32)
TRAIN = PulseSequence(np.linspace(0.2, 1.1, 12), np.full(12, 2e-4), 3.5e-3, 5e-4)


@dataclass(frozen=True)
class Reader:
    """A reader and its file.

    Attributes
    ----------
    write : callable
        Makes what is read in an empty directory, and returns the file that is going to be damaged.
    read : callable
        Takes the file; returns what was read as something that `same` compares.
    has_checksum : bool
        Whether values that differ cannot come out of a damaged file.
    is_slow : bool
        Whether a reading takes so long that there are fewer of them.
    names : callable
        Texts of which an error holds one, to tell which file it is.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], Any]
    has_checksum: bool = False
    is_slow: bool = False
    is_needed: bool = True
    names: Callable[[Path], tuple[str, ...]] = field(default=lambda path: (str(path),))


def same(found: Any, expected: Any) -> bool:
    """Tell whether two readings are equal to the last bit."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[name], expected[name]) for name in expected)
    if isinstance(expected, np.ndarray):
        kinds = isinstance(found, np.ndarray) and (found.dtype, found.shape) == (expected.dtype, expected.shape)
        equal = np.array_equal if expected.dtype.hasobject else lambda one, other: one.tobytes() == other.tobytes()
        return kinds and bool(equal(found, expected))
    return bool(found == expected)


def network(folder: Path) -> Path:
    regressor = CRBWeightedRegressor(**TRAINING)
    pipeline = Pipeline([SVDCompressor(3), regressor]).fit(SIGNALS, THETA, crb=BOUND)
    save_pretrained(pipeline, folder / "it.safetensors", prior=PRIOR, card="card")
    return folder / "it.safetensors"


def read_network(path: Path) -> dict[str, Any]:
    pipeline = load_pretrained(path)
    return {"estimates": pipeline.predict(SIGNALS), "card": pipeline.card_, "names": pipeline.target_names_}


def estimator(folder: Path) -> Path:
    matcher = DictionaryMatcher(MODEL, prior=PRIOR, basis=BASIS, entries=20, verbose=0, random_state=0)
    save_estimator(Pipeline([SVDCompressor(3), matcher]).fit(SIGNALS, THETA), folder / "it.skops")
    return folder / "it.skops"


def basis(suffix: str, folder: Path) -> Path:
    save_basis(folder / f"basis.{'npy' if suffix == 'npy' else 'cfl'}", BASIS)
    return folder / f"basis.{suffix}"


def volume(suffix: str, folder: Path) -> Path:
    save_volume(folder / f"image.{'cfl' if suffix == 'hdr' else suffix}", IMAGES)
    return folder / f"image.{suffix}"


def mask(folder: Path) -> Path:
    nib.save(nib.Nifti1Image(MASK, np.eye(4)), folder / "mask.nii")
    return folder / "mask.nii"


def zarr_store(zarr_format: int, file: str, folder: Path) -> Path:
    array = zarr.create_array(folder / "image.zarr", data=IMAGES, chunks=(3, 4, 1, 3), zarr_format=zarr_format)
    array.attrs["affine"] = np.eye(4).tolist()
    return folder / "image.zarr" / file


def read_zarr(path: Path) -> dict[str, Any]:
    folder = next(parent for parent in path.parents if parent.suffix == ".zarr")
    return read_volume(folder)


def read_volume(path: Path) -> dict[str, Any]:
    opened = open_coefficients(path, 3)
    return {"values": opened.read(), "affine": opened.affine}


def name_of_zarr(path: Path) -> tuple[str, ...]:
    return (str(next(parent for parent in path.parents if parent.suffix == ".zarr")),)


def text(name: str, content: str, folder: Path) -> Path:
    (folder / name).write_text(content)
    return folder / name


PRIOR_TOML = """\
T1 = [0.3, 4]
T2 = {mean = 0.1, std = 0.1, low = 0.01, high = "T1"}
Rx = {distribution = "gamma", a = 3, scale = 10}
"""
CONFIG_TOML = """\
[predict]
model = "mt-hybrid-state"
noise-std = 0.02
quiet = true
covariate = {B1 = "b1.nii.gz"}
"""
MEASUREMENT = "# measured\npulse_duration,inversion_time,signal_real,signal_imag\n" + "".join(
    f"{1e-4 * (i + 1)},{0.01 * (i + 1)},{np.cos(i):.6f},{np.sin(i):.6f}\n" for i in range(9)
)


def read_prior(path: Path) -> dict[str, Any]:
    sample = load_prior(path).sample(8, random_state=0)
    return {str(name): sample[name].to_numpy() for name in sample}


def read_config(path: Path) -> list[str]:
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            return with_config(["predict", "--config", str(path)], _parser()[1])
    except SystemExit:
        raise ValueError(complaint.getvalue()) from None


def pulse_train(folder: Path) -> Path:
    TRAIN.to_csv(folder / "train.csv", "a comment")
    return folder / "train.csv"


def pulseq(signed: bool, folder: Path) -> Path:
    return PulseqRecorder().play().write(folder / "train.seq", create_signature=signed)


def pulses(sequence: PulseSequence) -> dict[str, Any]:
    return {entry.name: getattr(sequence, entry.name) for entry in fields(sequence)}


def finished_fit(file: str, folder: Path) -> Path:
    fit = NLLSEstimator(MODEL, prior=PRIOR, n_starts=1, verbose=0, random_state=0).fit()
    fit.estimate(SIGNALS[:6], checkpoint=folder / "fit")
    return folder / "fit" / file


def read_fit(path: Path) -> dict[str, Any]:
    found = read_results(path.parent)
    return {entry.name: getattr(found, entry.name) for entry in fields(found)}


def folder_of(path: Path) -> tuple[str, ...]:
    return (str(path.parent),)


def doubled(rows: np.ndarray) -> dict[str, np.ndarray]:
    return {"twice": 2 * rows.real}


def finished_volume(file: str, folder: Path) -> Path:
    map_computed(folder / "volume")
    return folder / "volume" / file


def map_computed(checkpoint: Path) -> dict[str, np.ndarray]:
    return map_volume(doubled, Volume.from_array(IMAGES), checkpoint=checkpoint, most_voxels=12, verbose=0)


TRAINING: dict[str, Any] = {
    "network": partial(ResidualNetwork, width=4, n_blocks=1),
    "noise": NoiseModel(1e-3),
    "max_epochs": 1,
    "verbose": 0,
    "random_state": 0,
}


def train(checkpoint: Path) -> np.ndarray:
    features = SVDCompressor(basis=BASIS).fit(SIGNALS).transform(SIGNALS)
    return CRBWeightedRegressor(**TRAINING, checkpoint=checkpoint).fit(features, THETA, crb=BOUND).predict(features)


def training(folder: Path) -> Path:
    train(folder / "state.pt")
    return folder / "state.pt"


def squared(point: np.ndarray) -> tuple[float, np.ndarray]:
    return float(point @ point), 2 * point


def design(folder: Path) -> Path:
    record = Recorder(folder / "design.npz", "digest", None)
    for point in np.eye(3):
        record.evaluate(squared, 1, point)
    record.write()
    return folder / "design.npz"


def read_design(path: Path) -> np.ndarray:
    return np.concatenate(Recorder(path, "digest", None)._rows)


READERS = {
    "network": Reader(network, read_network, has_checksum=True),
    "estimator": Reader(estimator, lambda path: load_estimator(path).predict(SIGNALS), has_checksum=True),
    "basis, .npy": Reader(partial(basis, "npy"), load_basis),
    "basis, .cfl": Reader(partial(basis, "cfl"), load_basis),
    "basis, .hdr": Reader(
        partial(basis, "hdr"), lambda path: load_basis(path.with_suffix(".cfl")), names=lambda p: (str(p.parent),)
    ),
    "NIfTI": Reader(partial(volume, "nii"), read_volume),
    "NIfTI, compressed": Reader(partial(volume, "nii.gz"), read_volume, has_checksum=True),
    "NIfTI, mask": Reader(mask, lambda path: read_mask(path, open_volume(path))),
    "BART, .cfl": Reader(partial(volume, "cfl"), read_volume),
    "BART, .hdr": Reader(partial(volume, "hdr"), read_volume, names=lambda p: (str(p.with_suffix("")),)),
    "Zarr 3, header": Reader(partial(zarr_store, 3, "zarr.json"), read_zarr, names=name_of_zarr),
    "Zarr 3, chunk": Reader(partial(zarr_store, 3, "c/0/0/0/0"), read_zarr, is_needed=False, names=name_of_zarr),
    "Zarr 2, header": Reader(partial(zarr_store, 2, ".zarray"), read_zarr, names=name_of_zarr),
    "Zarr 2, attributes": Reader(partial(zarr_store, 2, ".zattrs"), read_zarr, is_needed=False, names=name_of_zarr),
    "Zarr 2, chunk": Reader(partial(zarr_store, 2, "0.0.0.0"), read_zarr, is_needed=False, names=name_of_zarr),
    "prior": Reader(partial(text, "prior.toml", PRIOR_TOML), read_prior),
    "settings": Reader(partial(text, "settings.toml", CONFIG_TOML), read_config),
    "pulse train, CSV": Reader(pulse_train, lambda path: pulses(PulseSequence.from_csv(path))),
    "pulse train, Pulseq": Reader(
        partial(pulseq, True), lambda path: pulses(PulseSequence.from_pulseq(path)), has_checksum=True, is_slow=True
    ),
    "pulse train, Pulseq unsigned": Reader(
        partial(pulseq, False), lambda path: pulses(PulseSequence.from_pulseq(path)), is_slow=True
    ),
    "measurement": Reader(
        partial(text, "measurement.csv", MEASUREMENT), lambda path: fetch_bsa_inversion_recovery(path).signal
    ),
    "results of a fit": Reader(partial(finished_fit, "fit.json"), read_fit, names=folder_of),
    "batch of a fit": Reader(
        partial(finished_fit, "batch_000000.npz"), read_fit, has_checksum=True, names=folder_of
    ),
    "volume in work": Reader(
        partial(finished_volume, "volume.json"), lambda path: map_computed(path.parent), names=folder_of
    ),
    "block of a volume": Reader(
        partial(finished_volume, "batch_000000.npz"), lambda path: map_computed(path.parent), has_checksum=True,
        names=folder_of,
    ),
    "training": Reader(training, train, has_checksum=True, is_slow=True),
    "design": Reader(design, read_design, has_checksum=True),
}  # fmt: skip
