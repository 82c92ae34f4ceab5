"""RF pulses and gradient moments of a Pulseq file."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import FloatArray

_SAME_TIME = 1e-9  # s
_NO_GRADIENT = 1.0  # Hz/m; amplitudes are rounded to six digits
_LEAST_COHERENCE = 1 - 1e-4  # of a pulse's phase: a linear one may turn by 0.05 rad
_RASTERS = ("BlockDurationRaster", "RadiofrequencyRasterTime", "GradientRasterTime")


@dataclass(frozen=True)
class Timeline:
    """The n rectangular RF pulses of a file, and the gradients' moments.

    Attributes
    ----------
    block, time, flip_angle, duration, phase : ndarray of shape (n,)
        Number of a pulse's block; its centre and duration, in s; its flip angle and phase, in rad.
    moments : ndarray of shape (n + 1, 3)
        Zeroth moments of the gradients before, between and after the pulses, in 1/m.
    length : float
        Of the file, in s.
    """

    block: NDArray[np.int64]
    time: FloatArray
    flip_angle: FloatArray
    duration: FloatArray
    phase: FloatArray
    moments: FloatArray
    length: float

    def place(self, index: int) -> str:
        """Name a pulse."""
        return f"RF pulse {index + 1} (block {self.block[index]}, {self.time[index]:.6g} s)"


@np.errstate(invalid="ignore")  # of numbers in a damaged file that are not finite, and refused
def read_timeline(path: str | PathLike[str]) -> Timeline:
    """Read a Pulseq file; raise ValueError if it is damaged or plays what is no train of rectangular pulses.

    Raises
    ------
    ImportError
        If pypulseq is missing.
    OSError
        If the file cannot be opened.
    ValueError
        If the content is damaged, or no Pulseq file; if an RF pulse is shaped, off-resonant or slice-selective, or the
        timing is not fixed.
    """
    try:
        import pypulseq
    except ImportError as error:
        raise ImportError("Pulseq files are read by pypulseq: pip install crbestim[pulseq]") from error
    _check_whole(Path(path).read_bytes().replace(b"\r\n", b"\n"))
    sequence = pypulseq.Sequence(use_block_cache=False)
    _fill(sequence, path)
    rf_raster, gradient_raster = sequence.rf_raster_time, sequence.grad_raster_time
    numbers, pulses, moments, start = [], [], [np.zeros(3)], 0.0
    for number, block in _blocks(sequence):
        where = f"block {number} ({start:.6g} s)"
        _check_fixed(block, where)
        if block.rf is None:
            moments[-1] += _moments(block, gradient_raster).sum(axis=0)
        else:
            first, last, *properties = _rectangle(block, rf_raster, where)
            numbers.append(number)
            pulses.append((start + (first + last) / 2, *properties))
            before, after = _moments(block, gradient_raster, (first, last), where)
            moments[-1] += before
            moments.append(after)
        if not np.isfinite(np.hstack([*moments[-2:], *pulses[-1:]])).all():
            raise ValueError(f"{where} holds NaN or infinity; the file is damaged.")
        start += block.block_duration
    if not pulses:
        raise ValueError("there is no RF pulse in the file.")
    time, flip_angle, duration, phase = np.array(pulses).T
    return Timeline(np.array(numbers), time, flip_angle, duration, phase, np.array(moments), start)


def _check_whole(content: bytes) -> None:
    missing = [section for section in ("[VERSION]", "[BLOCKS]") if section.encode() not in content]
    if missing:
        raise ValueError(f"no Pulseq file, as it has no section {' and no '.join(missing)}.")
    signed, mark, signature = content.partition(b"\n[SIGNATURE]")
    if mark:
        kind = re.search(rb"^Type (\w+)$", signature, re.MULTILINE)
        digest = re.search(rb"^Hash (\w+)$", signature, re.MULTILINE)
        if not (kind and digest) or hashlib.new(kind[1].decode(), signed).hexdigest() != digest[1].decode():
            raise ValueError("the content does not match the signature; the file is damaged or was edited.")
    elif not content.endswith(b"\n\n") or re.search(rb"num_samples[^\n]*\s*\Z", content):
        # pypulseq would take the rest of a number for the number, and read a shape at the end of the file for ever.
        raise ValueError(
            "the file has neither a signature nor whole shapes and an empty line at its end; it seems to be cut short."
        )


def _fill(sequence: Any, path: str | PathLike[str]) -> None:
    failure = ""
    with warnings.catch_warnings():
        # Where pypulseq warns, it guesses: a newer format, rasters that are missing, half a line.
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", r"Loading older Pulseq format file \(version 1\.4")
        # It leaves a file that it cannot read open; that is closed as the error, and its traceback, go.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            sequence.read(str(path), remove_duplicates=False)
        except Exception as error:  # of any kind
            failure = f"{type(error).__name__}: {error}"
    if failure:
        raise ValueError(f"pypulseq cannot read the file ({failure}).")
    missing = [name for name in _RASTERS if not isinstance(sequence.definitions.get(name), float)]
    if missing:
        raise ValueError(f"the file does not define {', '.join(missing)}.")


def _blocks(sequence: Any) -> Iterator[tuple[int, Any]]:
    for number in sequence.block_events:
        try:
            yield int(number), sequence.get_block(number)
        except (LookupError, TypeError, ValueError, AssertionError) as error:
            raise ValueError(f"block {number} refers to what is not in the file; it is damaged.") from error


def _check_fixed(block: Any, where: str) -> None:
    """Raise if what a block plays is decided at the scanner."""
    if block.soft_delay is not None:
        raise ValueError(f"{where} has a soft delay; expected fixed times.")
    if any(trigger.type == "trigger" for trigger in getattr(block, "trigger", {}).values()):
        raise ValueError(f"{where} waits for a trigger; expected fixed times.")
    if any(label.label == "ONCE" and label.value for label in (block.label or {}).values()):
        raise ValueError(f"{where} is played in one repetition alone (label ONCE); expected a periodic train.")


def _rectangle(block: Any, raster: float, where: str) -> tuple[float, float, float, float, float]:
    """Return start and end in the block, flip angle, duration and phase of its pulse; raise if it is not rectangular.

    The duration is the pulse's area over its peak, so that edges of one step of the raster may be anything.
    """
    rf = block.rf
    for name, unit in {"freq_offset": "Hz", "freq_ppm": "ppm", "phase_ppm": "rad/MHz"}.items():
        if getattr(rf, name):
            raise ValueError(
                f"the RF pulse in {where} has a frequency offset ({name} = {getattr(rf, name):g} {unit}); "
                "expected a pulse on resonance."
            )
    times, weights = _quadrature(rf, raster)
    first, last = rf.delay + times
    if last > block.block_duration + _SAME_TIME:
        raise ValueError(f"the RF pulse in {where} outlasts its block; the file is damaged.")
    area, size, peak = rf.signal @ weights, abs(rf.signal) @ weights, abs(rf.signal).max()
    duration = size / peak if peak else last - first
    if duration < last - first - 2 * raster - _SAME_TIME or abs(area) < _LEAST_COHERENCE * size:
        raise ValueError(
            f"the RF pulse in {where} is shaped: it lasts {(last - first) * 1e3:.4g} ms, and a rectangle of its peak "
            f"and area would last {abs(area) / peak * 1e3:.4g} ms; expected a rectangular pulse."
        )
    phase = float(np.angle(area) + rf.phase_offset)
    return float(first), float(last), float(2 * np.pi * abs(area)), round(float(duration), 9), phase


def _quadrature(rf: Any, raster: float) -> tuple[FloatArray, FloatArray]:
    """Start and end of a pulse, and the time that each sample stands for."""
    middles = (np.arange(len(rf.t)) + 0.5) * raster
    if np.allclose(rf.t, middles, rtol=0, atol=_SAME_TIME):
        return np.array([0.0, len(rf.t) * raster]), np.full(len(rf.t), raster)
    half_steps = np.diff(rf.t) / 2
    return rf.t[[0, -1]], np.append(half_steps, 0.0) + np.append(0.0, half_steps)


def _moments(block: Any, raster: float, pulse: tuple[float, float] = (np.inf, np.inf), where: str = "") -> FloatArray:
    """Gradient moments of a block before and after its pulse, (2, 3); raise if a gradient is on during the pulse."""
    moments = np.zeros((2, 3))
    for axis, gradient in enumerate((block.gx, block.gy, block.gz)):
        if gradient is None:
            continue
        edges, areas, peaks = _segments(gradient, raster)
        during = (edges[1:] > pulse[0] + _SAME_TIME) & (edges[:-1] < pulse[1] - _SAME_TIME)
        if (peaks[during] > _NO_GRADIENT).any():
            raise ValueError(
                f"the RF pulse in {where} is slice-selective, with a gradient of {peaks[during].max():.4g} Hz/m on "
                f"axis {'xyz'[axis]}; expected a pulse without gradients."
            )
        late = edges[:-1] >= pulse[1] - _SAME_TIME
        moments[:, axis] = areas[~late].sum(), areas[late].sum()
    return moments


def _segments(gradient: Any, raster: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Edges (n + 1) of a gradient's pieces in the block, in s, their areas (n) in 1/m, their peaks (n) in Hz/m."""
    if gradient.type == "trap":
        steps = [gradient.delay, gradient.rise_time, gradient.flat_time, gradient.fall_time]
        edges, corners = np.cumsum(steps), gradient.amplitude * np.array([0, 1, 1, 0])
    elif gradient.time_id > 0:
        edges, corners = gradient.delay + gradient.tt, gradient.waveform
    else:
        # Samples in the middles of the raster; time_id = -1 has further ones in between.
        samples = gradient.waveform[::2] if gradient.time_id else gradient.waveform
        edges = gradient.delay + np.arange(len(samples) + 1) * raster
        return edges, samples * raster, abs(samples)
    areas = np.diff(edges) * (corners[1:] + corners[:-1]) / 2
    return edges, areas, np.maximum(abs(corners[1:]), abs(corners[:-1]))
