"""Pulse trains, tissues and settings of the tests of the design."""

import numpy as np
from tissues import TR

from crbestim import PulseSequence, paper_prior
from crbestim.design import SequenceConstraints

LIMITS = {
    "default": SequenceConstraints(),
    "least flip angle": SequenceConstraints(flip_angle=(0.1, 1.2), pulse_duration=(2e-4, 6e-4)),
    "angle, not amplitude": SequenceConstraints(flip_angle=(0.0, 0.5)),
    "one duration": SequenceConstraints(pulse_duration=(3e-4, 3e-4), rf_power=1e5, hybrid_state_error=None),
    "any power": SequenceConstraints(rf_power=None, rf_amplitude=1e4),
}
SETTINGS = {
    "n_tissues": 12,
    "n_starts": 2,
    "n_hops": 2,
    "max_iter": 8,
    "refine_iter": 40,
    "random_state": 3,
    "progress": False,
}


def template(n_pulses=80):
    phase = np.linspace(0, 1, n_pulses)
    return PulseSequence(0.3 + 0.25 * np.sin(7 * phase), np.full(n_pulses, 3e-4), TR, 5e-4)


def tissues(n=12, seed=5):
    return paper_prior(TR).sample(n, random_state=seed)
