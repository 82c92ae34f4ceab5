import sys

import numpy as np
import pytest

from crbestim.io import map_volume, open_volume


def test_library_that_is_not_installed_is_told(tmp_path, draw_images, in_memory, monkeypatch):
    (tmp_path / "image.zarr").mkdir()
    monkeypatch.setitem(sys.modules, "zarr", None)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"zarr is not installed; pip install 'crbestim\[cluster\]' brings it"):
        open_volume(tmp_path / "image.zarr")
    with pytest.raises(ImportError, match=r"distributed is not installed; pip install 'crbestim\[cluster\]'"):
        map_volume(np.abs, in_memory(draw_images()), scheduler="tcp://127.0.0.1:1", verbose=0)
