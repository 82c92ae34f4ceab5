"""Draw images/architecture.svg: the folders of the package, floor by floor. ``python docs/draw_architecture.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

# From the ground up: colour, what the floor hands to those above, and its rooms, name and purpose.
FLOORS = [
    (
        "#e4e4e4",
        "checked arrays, whole files",
        [("_validation, _optional, _files, _numpy_files, _array_log, _threads", "what everything stands on")],
    ),
    (
        "#cfe3f3",
        "signal, Jacobian, bound",
        [
            ("covariance", "coloured noise"),
            ("bounds", "Fisher information, CRB"),
            ("signal/", "pulse trains and models"),
        ],
    ),
    (
        "#d5ecd8",
        "fingerprints with their bounds",
        [("noise", "M0, noise and bound, drawn together"), ("datasets/", "priors, fingerprints, phantoms")],
    ),
    (
        "#fbe8c8",
        "loss, fit, network",
        [("least_squares/", "batched fit"), ("metrics/", "loss and scorer"), ("nn/", "networks and losses")],
    ),
    (
        "#f7d3b4",
        "estimates with error bars",
        [("estimators/", "compressor, network, least squares, dictionary, posterior mean, Pipeline")],
    ),
    (
        "#f5cfd3",
        "bias and variance; pulse trains",
        [("diagnostics/", "how close to the bound"), ("design/", "pulse trains by the bound")],
    ),
    (
        "#e2d5ee",
        "maps, report, network files",
        [("pretrained/", "networks as files"), ("io/", "volumes in, maps out")],
    ),
    (
        "#d9d8ef",
        "coefficient images",
        [("acquisition/", "simulated scans"), ("reconstruction/", "by BART")],
    ),
    ("#d0d0d0", "", [("cli/", "crbestim predict, fit, simulate, train, evaluate, design, info")]),
]
WIDTH, HEIGHT, GAP = 10.0, 0.78, 0.16


def main() -> None:
    """Draw all rooms, and the arrows beside them."""
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "architecture", "font.family": "sans-serif"}
    figure, axes = plt.subplots(figsize=(9, 6.4), layout="constrained")
    for level, (colour, product, rooms) in enumerate(FLOORS):
        floor = level * (HEIGHT + GAP)
        width = (WIDTH - GAP * (len(rooms) - 1)) / len(rooms)
        for place, (name, purpose) in enumerate(rooms):
            draw_room(axes, place * (width + GAP), floor, width, colour, name, purpose)
        if product:
            axes.text(WIDTH + 0.75, floor + HEIGHT + GAP / 2, product, va="center", fontsize=9, style="italic")
            arrow(axes, WIDTH + 0.5, floor + HEIGHT / 2 + 0.1, floor + HEIGHT * 1.5 + GAP - 0.1, "#777777")
    top = len(FLOORS) * (HEIGHT + GAP) - GAP
    arrow(axes, -0.4, top, 0, "#b02020")
    axes.text(-0.75, top / 2, "imports point down, never up", rotation=90, ha="center", va="center", color="#b02020")
    axes.text(WIDTH + 0.75, top - HEIGHT / 2, "what is handed up", va="center", fontsize=9, weight="bold")
    axes.set(xlim=(-1.1, WIDTH + 3.9), ylim=(-0.1, top + 0.1))
    axes.axis("off")
    figure.savefig(Path(__file__).parent / "images" / "architecture.svg", facecolor="white", metadata={"Date": None})


def draw_room(axes: Axes, left: float, floor: float, width: float, colour: str, name: str, purpose: str) -> None:
    """Draw a box with a folder's name and purpose."""
    axes.add_patch(
        FancyBboxPatch((left, floor), width, HEIGHT, boxstyle="round,pad=0,rounding_size=0.1", fc=colour, ec="#555555")
    )
    centre = left + width / 2
    axes.text(centre, floor + 0.64 * HEIGHT, name, ha="center", va="center", fontsize=10, weight="bold")
    axes.text(centre, floor + 0.27 * HEIGHT, purpose, ha="center", va="center", fontsize=8.5)


def arrow(axes: Axes, x: float, start: float, end: float, colour: str) -> None:
    """Draw a vertical arrow."""
    axes.add_patch(FancyArrowPatch((x, start), (x, end), arrowstyle="-|>", mutation_scale=14, color=colour))


if __name__ == "__main__":
    main()
