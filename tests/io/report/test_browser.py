import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from report_pages import M0S, SHAPE, make_map

from crbestim.io import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# What a browser makes of the page: images that it could not draw, and whether it has to scroll sideways.
PROBE = """<script>addEventListener("load", () => {
  const broken = [...document.images].filter(image => !(image.complete && image.naturalWidth)).length;
  const wide = document.documentElement.scrollWidth > innerWidth;
  document.body.dataset.probe = `${document.images.length} images, ${broken} broken, wide: ${wide}`;
});</script></body>"""


def browse(page, directory, *options):
    return subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb",
            f"--user-data-dir={directory / 'profile'}", *options, page.as_uri(),
        ],
        capture_output=True, text=True, timeout=300, check=True,
    ).stdout  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_browser_shows_the_page(path, tmp_path):
    write_report(
        path, [make_map(), make_map(M0S)], quality=np.ones(SHAPE, int), quality_labels={1: "far from the prior"},
        axis_codes=("R", "A", "S"), details={"command": "fit.py --input " + 300 * "a"},
    )  # fmt: skip
    probed = tmp_path / "probed.html"
    probed.write_text(path.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    dom = browse(probed, tmp_path, "--window-size=500,2000", "--dump-dom")
    assert 'data-probe="9 images, 0 broken, wide: false"' in dom
    assert "far from the prior" in dom

    browse(path, tmp_path, "--window-size=1200,2000", f"--screenshot={tmp_path / 'shot.png'}")
    with Image.open(tmp_path / "shot.png") as picture:
        shot = np.asarray(picture.convert("RGB"))
    assert shot.shape == (2000, 1200, 3)
    assert (shot[:, :20] == 255).all()
    flag, background = (230, 159, 0), (228, 228, 228)
    left, right = shot[:, 75:585], shot[:, 615:1125]
    assert (left == flag).all(axis=-1).mean() > 0.02  # the map of the flags
    assert (right == background).all(axis=-1).mean() > 0.02  # around the maps of the standard deviations
