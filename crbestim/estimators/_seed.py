"""A seed from scikit-learn's `random_state`."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state


def drawn_seed(random_state: int | np.random.RandomState | None) -> int:
    """Draw one seed, the same for the same int."""
    return int(check_random_state(random_state).randint(2**31 - 1))
