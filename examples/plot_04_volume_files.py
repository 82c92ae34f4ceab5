r"""
From a NIfTI file to maps
=========================

Coefficient images come out of a reconstruction, and maps with error bars are wanted. This example writes coefficient
images of a simulated slab of tissue to a NIfTI file, as a reconstruction would, maps them with the command line, once
with the network that ships with the package and in a few rows by least squares, and looks at the files. ::

    python examples/plot_04_volume_files.py --output results
"""

import argparse
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np

from crbestim import NoiseModel, load_pretrained
from crbestim.cli import main

parser = argparse.ArgumentParser(description="Coefficient images on disk to maps on disk.")
parser.add_argument("--output", type=Path, help="directory for the files (default: a temporary one)")
parser.add_argument("--fast", action="store_true", default="CRBESTIM_FAST" in os.environ, help="a trial run")
options = parser.parse_args()
folder = Path(tempfile.mkdtemp()) if options.output is None else options.output
folder.mkdir(parents=True, exist_ok=True)
nx, ny, nz = (24, 20, 3) if options.fast else (96, 80, 5)

# %%
# Coefficient images
# ------------------
# A disc of two tissues, an inner ring of long T1 and a gradient of T2f from left to right; a smooth field of B1; air
# around it. The noise is 1/50 of the amplitude in each real channel.

x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in (nx, ny, nz)], indexing="ij")
radius = np.hypot(x, y)
inside = radius < 0.85
theta = np.empty((nx, ny, nz, 7))
theta[..., 0] = np.where(radius < 0.5, 0.08, 0.18)
theta[..., 1] = np.where((radius > 0.25) & (radius < 0.4), 2.2, 1.2)
theta[..., 2] = 0.08 + 0.03 * x
theta[..., 3:] = 40.0, 1e-5, 0.0, 1.0
theta[..., 6] = 1 - 0.2 * radius**2

network = load_pretrained("mt-hybrid-state")
clean = np.zeros((nx, ny, nz, network[0].n_components_), dtype=np.complex64)
clean[inside] = network.model_.signal(theta[inside], basis=network[0].basis_)
rows = NoiseModel.at_snr(50).add_to(clean.reshape(-1, clean.shape[-1]), 0, np.ones(clean[..., 0].size))

affine = np.diag([2.0, 2.0, 4.0, 1.0])
for name, values in (
    ("coefficients", rows.reshape(clean.shape)),
    ("tissue", inside.astype(np.uint8)),
    ("air", (radius > 0.95).astype(np.uint8)),
    ("line", (inside & (np.abs(y) < 2 / ny) & (np.arange(nz) == nz // 2)).astype(np.uint8)),
):
    nib.save(nib.Nifti1Image(values, affine), folder / f"{name}.nii.gz")

# %%
# Maps, on the command line
# -------------------------
# In a shell this is ``crbestim predict coefficients.nii.gz --model mt-hybrid-state ...``.

coefficients, maps, fits = (str(folder / name) for name in ("coefficients.nii.gz", "maps", "fits"))
common = ["--model", "mt-hybrid-state", "--overwrite", "--quiet"]
masks = ["--mask", str(folder / "tissue.nii.gz"), "--background", str(folder / "air.nii.gz")]
assert main(["predict", coefficients, *common, *masks, "--out", maps]) == 0
assert main(["fit", coefficients, *common, "--mask", str(folder / "line.nii.gz"), "--out", fits]) == 0
for path in sorted(Path(maps).iterdir()):
    print(path.name)

# %%
# The files
# ---------
# From left to right: maps, their standard deviations, and estimates along the middle row with error bars of two
# standard deviations, beside least squares.


def read(path):
    return np.asarray(nib.load(path).dataobj)


parameters = [parameter for parameter in network.model_.parameters if parameter.name in network.target_names_]
fig, axes = plt.subplots(3, 3, figsize=(9.5, 8), layout="constrained")
middle = read(folder / "line.nii.gz").astype(bool)
place = 2.0 * np.flatnonzero(middle.any(axis=(1, 2)))
for row, (parameter, limits) in enumerate(zip(parameters, [(0, 0.3), (0.8, 2.6), (0.03, 0.13)], strict=True)):
    name, scale = parameter.name, {"T2f": 1e3}.get(parameter.name, 1)
    label = parameter.label.replace("[s]", "[ms]") if scale == 1e3 else parameter.label
    estimate, std = (scale * read(f"{maps}/{part}{name}map.nii.gz") for part in ("", "desc-std_"))
    low, high = scale * np.array(limits)
    for ax, image, window, cmap, text in (
        (axes[row, 0], estimate, (low, high), "viridis", label),
        (axes[row, 1], std, (0, np.nanquantile(std, 0.99)), "magma", f"std of {label}"),
    ):
        shown = ax.imshow(image[:, :, nz // 2].T, origin="lower", cmap=cmap, vmin=window[0], vmax=window[1])
        fig.colorbar(shown, ax=ax, label=text, extend="both" if ax is axes[row, 0] else "max")
        ax.set(xticks=[], yticks=[])
    ax, column = axes[row, 2], network.model_.parameter_names.index(name)
    first = np.argmax(middle.any(axis=(0, 2)))
    on_line = (slice(None), first, nz // 2)
    chosen = middle[on_line]
    ax.errorbar(
        place, estimate[on_line][chosen], 2 * std[on_line][chosen], fmt=".", elinewidth=0.8, label="network ± 2 std"
    )
    ax.plot(place, scale * read(f"{fits}/{name}map.nii.gz")[on_line][chosen], "x", markersize=4, label="least squares")
    ax.plot(place, scale * theta[on_line][chosen, column], color="0.2", linewidth=1, label="truth")
    ax.set(xlabel="x [mm]", ylabel=label, ylim=(low, high))
fig.legend(*axes[0, 2].get_legend_handles_labels(), loc="outside lower right", ncols=3, fontsize="small")
if options.output is not None:
    fig.savefig(folder / "volume_files.png", dpi=150)
plt.show()
