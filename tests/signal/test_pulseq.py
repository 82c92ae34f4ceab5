import hashlib
import re
import sys

import numpy as np
import pytest

from crbestim import BlochMcConnellModel, PulseSequence
from crbestim.signal import _bloch_mcconnell

pp = pytest.importorskip("pypulseq")
from pulseq_files import DURATION, FLIP_ANGLE, SLOT, TR, Recorder, write  # noqa: E402


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train.seq"


def check(sequence, flip_angle=FLIP_ANGLE, duration=DURATION):
    np.testing.assert_allclose(sequence.flip_angle, flip_angle, rtol=5e-6)  # the file has six digits
    np.testing.assert_allclose(sequence.pulse_duration, duration, rtol=1e-12)
    assert sequence.repetition_time == TR
    assert sequence.inversion_duration == 0.5e-3


@pytest.mark.parametrize("n_cycles", [1, 2, 3])
@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_round_trip_of_cycles_with_radial_gradients(path, n_cycles, as_type):
    check(PulseSequence.from_pulseq(as_type(write(path, n_cycles=n_cycles))))


def test_round_trip_of_the_built_in_sequence(path):
    builtin = PulseSequence.default()
    duration = builtin.pulse_duration.round(6)  # the RF raster
    Recorder(builtin.flip_angle, duration).play().write(path)
    check(PulseSequence.from_pulseq(path), builtin.flip_angle, duration)


def test_older_format(path):
    Recorder().play(2).write(path, v141_compat=True)
    check(PulseSequence.from_pulseq(path))


def test_lines_may_end_as_on_windows(path):
    path.write_bytes(write(path).read_bytes().replace(b"\n", b"\r\n"))
    check(PulseSequence.from_pulseq(path))


def test_file_without_signature(path):
    check(PulseSequence.from_pulseq(Recorder().play().write(path, create_signature=False)))


class Sampled(Recorder):
    """Rectangles whose first and last microsecond are ramps, as samples of the RF raster."""

    def rectangle(self, flip_angle, duration, phase=0.0, extra=()):
        signal = np.ones(round(duration * 1e6))
        signal[[0, -1]] = 0.5
        pulse = pp.make_arbitrary_rf(
            signal,
            flip_angle,
            delay=round((SLOT - duration) / 2 * 1e6) * 1e-6,
            phase_offset=phase % (2 * np.pi),
            use="excitation",
        )
        self.sequence.add_block(pulse, pp.make_delay(SLOT), *extra)


def test_edges_of_the_raster_shorten_a_pulse_by_their_area(path):
    sequence = PulseSequence.from_pulseq(write(path, Sampled))
    np.testing.assert_allclose(sequence.flip_angle, FLIP_ANGLE, rtol=5e-6)
    np.testing.assert_allclose(sequence.pulse_duration, DURATION - 1e-6, rtol=1e-12)


class Waveforms(Recorder):
    """Balanced gradients as samples, as corners and oversampled; the first is bipolar within its block."""

    def read_out(self, cycle, t):
        n = 144
        single = 1e5 * np.sin(2 * np.pi * (np.arange(n) + 0.5) / n)
        double = 1e5 * np.sin(2 * np.pi * np.arange(1, 2 * n) / (2 * n))
        self.sequence.add_block(
            pp.make_arbitrary_grad("x", single, first=0, last=0),
            pp.make_extended_trapezoid("y", [0, 1e5, 0, -1e5, 0], times=np.array([0, 2, 4, 6, 8]) * 1e-4),
            pp.make_arbitrary_grad("z", double, first=0, last=0, oversampling=True),
            pp.make_delay(self.margin),
        )


def test_gradients_of_any_shape(path):
    # pypulseq's search for duplicates fails on oversampled gradients.
    check(PulseSequence.from_pulseq(Waveforms().play().write(path, remove_duplicates=False)))


class AroundThePulse(Recorder):
    """The last lobe of a readout and the pulse share a block, and so do the pulse and the first lobe."""

    def excite(self, cycle, t):
        lobes = [
            pp.make_trapezoid("x", area=area, rise_time=2e-5, fall_time=2e-5, duration=4e-5, delay=delay)
            for area, delay in ((-2, 0), (2, SLOT - 4e-5))
        ]
        self.rectangle(self.flip_angle[t], self.duration[t], np.pi * self.n_played, [pp.add_gradients(lobes)])
        self.n_played += 1

    def crush(self, before):
        self.gradients(np.add(self.crusher, [-2 if before else 2, 0, 0]), self.margin)


def test_gradients_beside_the_pulse_of_their_block(path):
    check(PulseSequence.from_pulseq(write(path, AroundThePulse)))


@pytest.mark.parametrize("margin", [1.16e-3, 1.4e-3, TR - SLOT])
def test_inversion_may_have_up_to_an_interval_of_its_own(path, margin):
    check(PulseSequence.from_pulseq(write(path, type("Closer", (Recorder,), {"margin": margin}), 2)))


def test_time_at_the_files_ends_is_one_interval(path):
    """The crusher before the inversion at the file's start instead of its end."""

    class Turned(Recorder):
        def play(self, n_cycles):
            self.gradients(self.crusher, self.margin)
            return super().play(n_cycles)

        def crush(self, before):
            if not before:
                super().crush(before)

    check(PulseSequence.from_pulseq(write(path, Turned)))


def test_pulses_of_zero_and_of_pi_are_excitations(path):
    flip_angle = np.array([0.5, np.pi, 0.0, np.pi, 0.5])
    check(PulseSequence.from_pulseq(Recorder(flip_angle).play(2).write(path)), flip_angle)


def test_weak_ends_leave_the_spin_echo_free(path):
    """Without transversal magnetisation at the inversion, its phase and what precedes it do not matter."""
    flip_angle = np.array([0.01, 0.03, 0.5, 0.03, 0.01])

    class Spoiled(Recorder):
        inversion_phase = np.pi / 2
        n_played = 0

        def crush(self, before):
            if before:
                self.gradients([0, 0, 0], TR - SLOT - 1e-3)
            else:
                super().crush(before)

        def invert(self, cycle):
            self.n_played = 0  # every cycle starts with the same phase
            super().invert(cycle)

    check(PulseSequence.from_pulseq(Spoiled(flip_angle).play(2).write(path)), flip_angle)
    with pytest.raises(ValueError, match="the inversion"):
        PulseSequence.from_pulseq(Spoiled().play(2).write(path))


def test_an_interval_for_the_inversion_is_a_small_error():
    """What the reader neglects, in the reference model: relaxation over one more TR around the inversion."""

    class Later(BlochMcConnellModel):
        def _maps(self, theta):
            maps, inversion = super()._maps(theta)
            rest = _bloch_mcconnell._free_precession(theta, np.array([[TR / 2]]))[0]
            return maps, rest @ inversion @ rest

    theta = [[0.12, 1.6, 0.1, 44, 1e-5, 0.3 * np.pi / TR, 1]]
    expected = Later().signal(theta)
    error = np.linalg.norm(BlochMcConnellModel().signal(theta) - expected) / np.linalg.norm(expected)
    assert 1e-4 < error < 5e-3


def deviating(**overridden):
    return type("Deviating", (Recorder,), overridden)


def at(cycle, t):
    """A condition for one pulse or gap of the train."""
    return lambda *found: found == (cycle, t)


def excite_by(make, where=at(0, 2)):
    """Replace a pulse by what make(flip angle, **timing) returns."""

    def excite(self, cycle, t):
        if where(cycle, t):
            events = make(self.flip_angle[t], delay=1e-4, phase_offset=np.pi * self.n_played, use="excitation")
            self.sequence.add_block(*events, pp.make_delay(SLOT))
            self.n_played += 1
        else:
            Recorder.excite(self, cycle, t)

    return deviating(excite=excite)


def adiabatic(flip_angle, **options):
    t = np.linspace(-1, 1, 400)
    return [pp.make_arbitrary_rf(np.exp(-5j * t**2), flip_angle, **options)]


def sinc(flip_angle, **options):
    return [pp.make_sinc_pulse(flip_angle, duration=4e-4, **options)]


def gauss(flip_angle, **options):
    return [pp.make_gauss_pulse(flip_angle, duration=4e-4, **options)]


def rectangle(flip_angle, **options):
    return [pp.make_block_pulse(flip_angle, duration=4e-4, **options)]


def selective(flip_angle, **options):
    gradient = pp.make_trapezoid("y", amplitude=1e5, rise_time=5e-5, flat_time=4e-4, fall_time=5e-5)
    return [*rectangle(flip_angle, **options), gradient]


def ramp_reaches_the_pulse(flip_angle, **options):
    gradient = pp.make_trapezoid("z", amplitude=1e5, rise_time=5e-5, flat_time=2e-5, fall_time=5e-5)
    return [*rectangle(flip_angle, **options), gradient]


def with_option(**more):
    return lambda flip_angle, **options: rectangle(flip_angle, **options, **more)


def gap(where, duration=2.9e-3, moment=(0, 0, 0), extra=()):
    def read_out(self, cycle, t):
        if where(cycle, t):
            self.gradients(moment, duration, *extra)
        else:
            Recorder.read_out(self, cycle, t)

    return deviating(read_out=read_out)


def with_block(make):
    """Add an empty block after the third pulse, within its interval."""

    def read_out(self, cycle, t):
        if (cycle, t) == (0, 2):
            self.sequence.add_block(*make(self))
            self.gradients((0, 0, 0), 2.4e-3)
        else:
            Recorder.read_out(self, cycle, t)

    return deviating(read_out=read_out)


CRUSHER, NONE = Recorder.crusher, (0.0, 0.0, 0.0)


def crush_by(after=CRUSHER, before=CRUSHER, margins=(TR - SLOT, TR - SLOT)):
    def crush(self, before, moments=(after, before)):
        self.gradients(moments[before], margins[before])

    return deviating(crush=crush)


def without_alternation(self, cycle, t):
    self.rectangle(self.flip_angle[t], self.duration[t], np.pi * t)


def with_117_degrees(self, cycle, t):
    self.rectangle(self.flip_angle[t], self.duration[t], np.deg2rad(117) * t * (t + 1) / 2)


def another_pulse(where, flip_angle=None, duration=None):
    def excite(self, cycle, t):
        if where(cycle, t):
            self.rectangle(flip_angle or self.flip_angle[t], duration or self.duration[t], np.pi * self.n_played)
            self.n_played += 1
        else:
            Recorder.excite(self, cycle, t)

    return deviating(excite=excite)


def another_inversion(flip_angle, duration=0.5e-3, where=1):
    def invert(self, cycle):
        if cycle == where:
            self.rectangle(flip_angle, duration)
            self.crush(before=False)
        else:
            Recorder.invert(self, cycle)

    return deviating(invert=invert)


def cycle_of_four(self, n_cycles):
    Recorder.play(self, 1)
    self.flip_angle = self.flip_angle[:4]
    return Recorder.play(self, 1)


def rest_at_the_end(self, n_cycles):
    Recorder.play(self, n_cycles)
    self.sequence.add_block(pp.make_delay(10e-3))
    return self


def end_with_the_last_pulse(self, n_cycles):
    Recorder.play(self, n_cycles)
    self.sequence.block_events.popitem()
    return self


def gradients_alone(self, n_cycles):
    self.read_out(0, 0)
    return self


REFUSED = {
    "no RF": (deviating(play=gradients_alone), "there is no RF pulse"),
    "no inversion": (
        deviating(invert=lambda self, cycle: None),
        r"no inversion: RF pulse 1 \(block 1, 0.0003 s\).* flip angle of 1.2 rad; expected pi",
    ),
    "weak inversion": (deviating(inversion_angle=3.0), r"no inversion: RF pulse 1 \(.* 3 rad; expected pi"),
    "no crusher": (crush_by(NONE, NONE), r"no crusher after the inversion, RF pulse 1 \(block 1, .* is 0 1/m"),
    "weak crusher": (crush_by((1, 0, 0), (1, 0, 0)), "no crusher .* is 1 1/m; expected at least 100 1/m"),
    "bipolar crusher": (
        deviating(crush=lambda self, before: Recorder.read_out(self, 0, 0)),
        "no crusher after the inversion",
    ),
    "one pulse": (
        deviating(excite=lambda self, cycle, t: t or Recorder.excite(self, cycle, t), read_out=lambda *_: None),
        "RF pulse 1 .* followed by 1 excitation pulses; expected at least two",
    ),
    "sinc": (excite_by(sinc), r"RF pulse in block 11 \(0.0105 s\) is shaped: .* expected a rectangular pulse"),
    "gauss": (excite_by(gauss), r"RF pulse in block 11 \(0.0105 s\) is shaped"),
    "adiabatic": (excite_by(adiabatic), r"RF pulse in block 11 \(0.0105 s\) is shaped"),
    "slice-selective": (
        excite_by(selective),
        r"RF pulse in block 11 \(0.0105 s\) is slice-selective, with a gradient of 1e\+05 Hz/m on axis y",
    ),
    "ramp during a pulse": (excite_by(ramp_reaches_the_pulse), "slice-selective, .* on axis z"),
    "frequency offset": (
        excite_by(with_option(freq_offset=200.0)),
        r"RF pulse in block 11 \(0.0105 s\) has a frequency offset \(freq_offset = 200 Hz\); expected .* on resonance",
    ),
    "frequency offset in ppm": (excite_by(with_option(freq_ppm=-3.4)), "freq_ppm = -3.4 ppm"),
    "phase in ppm": (excite_by(with_option(phase_ppm=0.1)), "phase_ppm = 0.1 rad/MHz"),
    "late pulse": (
        gap(at(0, 2), 3.0e-3),
        r"repetition time varies: RF pulse 5 \(block 13, 0.0144 s\) .* after 3.6 ms; expected 3.5 ms",
    ),
    "late pulse of cycle 2": (gap(at(1, 2), 3.0e-3), "repetition time varies: RF pulse 11 .* 3.6 ms"),
    "omitted pulse": (
        deviating(excite=lambda self, cycle, t: t == 2 or Recorder.excite(self, cycle, t)),
        "repetition time varies: RF pulse 3 .* 3.5 ms|repetition time varies: RF pulse .* after",
    ),
    "inversion far from the pulses": (
        deviating(margin=5e-3),
        r"RF pulse 2 \(.* comes 5.6 ms after RF pulse 1 \(.* expected half a repetition time to a whole one",
    ),
    "inversion close to the pulses": (deviating(margin=1.1e-3), "RF pulse 2 .* comes 1.7 ms after RF pulse 1"),
    "inversion off the middle": (
        crush_by(margins=(2.5e-3, 2.9e-3)),
        r"the inversion, RF pulse 1 .* comes 3.5 ms after one pulse and 3.1 ms before the next; expected the middle",
    ),
    "rest at the end": (
        deviating(play=rest_at_the_end),
        r"RF pulse 1 \(.* comes 13.5 ms after RF pulse 12 \(.*, counted on from the file's end to its start; expected",
    ),
    "end with the last pulse": (
        deviating(play=end_with_the_last_pulse),
        "RF pulse 1 .* comes 0.6 ms after RF pulse 12",
    ),
    "unbalanced": (
        gap(at(0, 2), moment=(0, 1, 0)),
        r"gradients after RF pulse 4 \(block 11, 0.0108 s\) have a net moment of \(0, 1, 0\) 1/m; expected 0",
    ),
    "spoiled": (gap(at(1, 1), moment=(0, 0, 2000)), r"gradients after RF pulse 9 .* \(0, 0, 2000\) 1/m"),
    "no alternation": (
        deviating(excite=lambda self, cycle, t: self.rectangle(self.flip_angle[t], self.duration[t])),
        r"RF phase of RF pulse 3 \(.* differs from its predecessor's by 0 rad; expected pi",
    ),
    "quadratic phase": (deviating(excite=with_117_degrees), "RF phase of RF pulse 3 .* by 2.042 rad; expected pi"),
    "phases that start anew": (
        deviating(excite=without_alternation),
        r"before and after the inversion, RF pulse 7 \(.* differ by 0 rad; expected pi",
    ),
    "phase of the inversion": (
        deviating(inversion_phase=np.pi / 2),
        "the inversion, RF pulse 1 .* differs in RF phase from the pulse after it by 1.571 rad; expected 0 or pi",
    ),
    "crusher after the inversion alone": (
        crush_by(before=NONE),
        r"the inversion, RF pulse 1 .* crushers that differ: net moments of \(0, 0, 0\) 1/m before and \(0, 0, 1000\)",
    ),
    "opposite crushers": (crush_by(before=(0, 0, -1000.0)), r"crushers that differ: .* \(0, 0, -1000\) 1/m before"),
    "another flip angle": (
        another_pulse(at(1, 2), flip_angle=0.41),
        r"cycle 2 differs from cycle 1 at its pulse 3, RF pulse 10 \(.*: flip_angle 0.41 rad; expected 0.4 rad",
    ),
    "another duration": (
        another_pulse(at(1, 3), duration=0.25e-3),
        r"cycle 2 differs from cycle 1 at its pulse 4, RF pulse 11 \(.*: duration 0.00025 s; expected 0.00021 s",
    ),
    "another inversion": (
        another_inversion(np.pi, 0.4e-3),
        r"cycle 2 differs from cycle 1 at its inversion, RF pulse 7 \(.*: duration 0.0004 s; expected 0.0005 s",
    ),
    "second inversion by another angle": (another_inversion(2.5), "gradients after RF pulse 6 .* net moment"),
    "cycle of another length": (
        deviating(play=cycle_of_four),
        r"cycle 2, which RF pulse 7 \(.* opens, has 4 pulses after its inversion; expected 5",
    ),
    "flip angle above 2 pi": (another_pulse(lambda cycle, t: t == 2, flip_angle=7.0), "flip_angle must lie in"),
    "soft delay": (
        with_block(lambda self: [pp.make_soft_delay("TE", default_duration=5e-4)]),
        r"block 12 \(0.0111 s\) has a soft delay; expected fixed times",
    ),
    "trigger": (
        with_block(lambda self: [pp.make_trigger("physio1", duration=5e-4)]),
        r"block 12 \(0.0111 s\) waits for a trigger",
    ),
    "label": (
        with_block(lambda self: [pp.make_delay(5e-4), pp.make_label("ONCE", "SET", 1)]),
        r"block 12 \(0.0111 s\) is played in one repetition alone",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_models_cannot_represent_is_refused(path, name):
    recorder, message = REFUSED[name]
    write(path, recorder, 2)
    with pytest.raises(ValueError, match=message) as caught:
        PulseSequence.from_pulseq(path)
    assert str(caught.value).startswith(f"path: {path}: ")


def test_missing_file_is_an_error_of_the_file_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        PulseSequence.from_pulseq(tmp_path / "nowhere.seq")


def test_missing_pypulseq_names_the_extra(path, monkeypatch):
    write(path)
    monkeypatch.setitem(sys.modules, "pypulseq", None)
    with pytest.raises(ImportError, match=r"pip install crbestim\[pulseq\]"):
        PulseSequence.from_pulseq(path)


@pytest.mark.parametrize(
    "content", [b"", b"a text\n\n", b"\x00\xff\n[VERSION]\n\n", b"flip_angle,pulse_duration\n0.1,1e-4\n"]
)
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"path: {path}: no Pulseq file, as it has no section")):
        PulseSequence.from_pulseq(path)


@pytest.mark.parametrize("signed", [True, False])
def test_truncated_file_is_refused_wherever_it_ends(path, signed):
    content = Recorder().play().write(path, create_signature=signed).read_bytes().rstrip(b"\n")
    for length in np.linspace(0, len(content) - 1, 60).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=re.escape(f"path: {path}: ")):
            PulseSequence.from_pulseq(path)


def test_truncated_file_with_an_empty_line_at_its_end_is_refused(path):
    lines = Recorder().play().write(path, create_signature=False).read_text().rstrip().split("\n")
    shapes = lines.index("[SHAPES]")
    for n_lines in range(len(lines) - 1):
        path.write_text("\n".join(lines[:n_lines]) + "\n\n")
        if n_lines < shapes or n_lines % 3 == 0:
            with pytest.raises(ValueError, match=re.escape(f"path: {path}: ")):
                PulseSequence.from_pulseq(path)


def sign(text):
    return f"{text}\n[SIGNATURE]\nType md5\nHash {hashlib.md5(text.encode()).hexdigest()}\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("revision 0", "revision 9", "version 1.5.9 is higher"),
        ("minor 5", "minor 3", "pypulseq cannot read the file"),
        ("minor 5", "minor five", "pypulseq cannot read the file"),
        ("BlockDurationRaster", "Raster", "No BlockDurationRaster"),
        ("RadiofrequencyRasterTime", "Raster", "does not define RadiofrequencyRasterTime"),
        ("GradientRasterTime 1e-05", "GradientRasterTime ten", "does not define GradientRasterTime|cannot read"),
        ("[TRAP]", "[OTHER]", "Unknown section"),
        ("shape_id 2", "shape_id 99", "refers to what is not in the file"),
        ("num_samples 2", "num_samples 7", "refers to what is not in the file|shaped"),
    ],
)
def test_damaged_content_is_refused(path, old, new, message):
    text = Recorder().play().write(path, create_signature=False).read_text()
    assert old in text
    path.write_text(sign(text))
    check(PulseSequence.from_pulseq(path))
    path.write_text(sign(text.replace(old, new)))
    with pytest.raises(ValueError, match=message):
        PulseSequence.from_pulseq(path)


def test_edited_file_does_not_match_its_signature(path):
    text = write(path).read_text()
    path.write_text(text.replace("[RF]", "[RF] "))
    with pytest.raises(ValueError, match="does not match the signature"):
        PulseSequence.from_pulseq(path)


@pytest.mark.parametrize("section", ["TRAP", "RF"])
@pytest.mark.parametrize("number", ["nan", "inf"])
def test_amplitudes_that_are_no_numbers_are_refused(path, section, number):
    text = Recorder().play().write(path, create_signature=False).read_text()
    changed, n_changes = re.subn(rf"(\[{section}\]\n\s*\d+\s+)\S+", rf"\g<1>{number}", text)
    assert n_changes == 1
    path.write_text(sign(changed))
    with pytest.raises(ValueError, match="holds NaN or infinity|pypulseq cannot read the file"):
        PulseSequence.from_pulseq(path)
