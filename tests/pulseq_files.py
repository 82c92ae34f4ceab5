"""Writes Pulseq files of pulse trains, right ones and, with what a test overrides, wrong ones."""

import numpy as np
import pypulseq as pp

TR = 3.5e-3
SLOT = 0.6e-3  # of the block that holds an RF pulse
FLIP_ANGLE = np.array([1.2, 0.8, 0.4, 0.3, 0.7])
DURATION = np.array([0.2, 0.3, 0.4, 0.21, 0.5]) * 1e-3
DIRECTIONS = np.random.default_rng(0).standard_normal((10, 3))


class Recorder:
    """Plays cycles: a block with an RF pulse, then blocks with gradients. What a test changes, it overrides."""

    inversion_angle = np.pi
    inversion_phase = 0.0
    crusher = (0.0, 0.0, 1000.0)  # 1/m
    margin = TR - SLOT  # between the blocks of the inversion and of its neighbours

    def __init__(self, flip_angle=FLIP_ANGLE, duration=DURATION):
        self.sequence = pp.Sequence()
        self.flip_angle, self.duration, self.n_played = flip_angle, duration, 0

    def play(self, n_cycles=1):
        for cycle in range(n_cycles):
            self.invert(cycle)
            for t in range(len(self.flip_angle)):
                self.excite(cycle, t)
                if t + 1 < len(self.flip_angle):
                    self.read_out(cycle, t)
            self.crush(before=True)
        return self

    def invert(self, cycle):
        self.rectangle(self.inversion_angle, 0.5e-3, self.inversion_phase)
        self.crush(before=False)

    def excite(self, cycle, t):
        self.rectangle(self.flip_angle[t], self.duration[t], np.pi * self.n_played)
        self.n_played += 1

    def rectangle(self, flip_angle, duration, phase=0.0, extra=(), **options):
        with np.errstate(invalid="ignore"):  # pypulseq divides by the amplitude of a pulse that may be 0
            pulse = pp.make_block_pulse(
                flip_angle,
                delay=round((SLOT - duration) / 2 * 1e6) * 1e-6,
                duration=duration,
                phase_offset=phase % (2 * np.pi),
                use="excitation",
                **options,
            )
            self.sequence.add_block(pulse, pp.make_delay(SLOT), *extra)

    def crush(self, before):
        self.gradients(self.crusher, self.margin)

    def read_out(self, cycle, t):
        """Three lobes in a direction of its own, and a readout in the middle one."""
        direction = DIRECTIONS[self.n_played % len(DIRECTIONS)]
        direction = 500 * direction / np.linalg.norm(direction)
        self.gradients(-direction / 2, 0.7e-3)
        self.gradients(direction, 1.5e-3, pp.make_adc(100, duration=1e-3, delay=0.25e-3))
        self.gradients(-direction / 2, 0.7e-3)

    def gradients(self, moment, duration, *extra):
        lobes = [
            pp.make_trapezoid(axis, area=area, duration=duration)
            for axis, area in zip("xyz", moment, strict=True)
            if area
        ]
        self.sequence.add_block(pp.make_delay(duration), *lobes, *extra)

    def write(self, path, **options):
        self.sequence.write(str(path), **options)
        return path


def write(path, recorder=Recorder, n_cycles=1):
    return recorder().play(n_cycles).write(path)
