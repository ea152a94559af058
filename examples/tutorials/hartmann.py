"""Hartmann6, a function on which optimisers are tried: six parameters from 0 to 1, several valleys.

The lowest value is -3.32237, at (0.2017, 0.15, 0.4769, 0.2753, 0.3117, 0.6573).
"""

import numpy as np

ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
STEEPNESS = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
CENTRES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(x):
    """Its value at a point of six coordinates."""
    return float(-ALPHA @ np.exp(-(STEEPNESS * (np.asarray(x) - CENTRES) ** 2).sum(axis=1)))
