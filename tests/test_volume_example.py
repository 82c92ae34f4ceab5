"""Maps of coefficient images on disk, as a user makes them."""

import nibabel as nib
import numpy as np
from scripts import run_fast


def test_files(tmp_path):
    done = run_fast("plot_04_volume_files.py", "--output", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/volume_files.png").stat().st_size > 10_000
    T1 = np.asarray(nib.load(tmp_path / "results/maps/T1map.nii.gz").dataobj)
    inside = np.asarray(nib.load(tmp_path / "results/tissue.nii.gz").dataobj) > 0
    assert np.array_equal(np.isfinite(T1), inside)
    assert 1.1 < np.median(T1[inside]) < 1.4
