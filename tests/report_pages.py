"""Maps for reports, and reports as a reader finds them."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from PIL import Image

from crbestim import Parameter
from crbestim.io import ParameterMap, write_report

T1 = Parameter("T1", "T_1", "s", (0.0, 30.0))
M0S = Parameter("m0s", "m_0^s", "1", (0.0, 1.0))
SHAPE = (12, 14, 10)


def ellipsoid(shape=SHAPE):
    """Mask of an ellipsoid that leaves the corners of a volume out."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else [0.0] for n in shape), indexing="ij")
    return x**2 + y**2 + z**2 <= 1


def make_map(parameter=T1, shape=SHAPE, std=True):
    mask, rng = ellipsoid(shape), np.random.default_rng(0)
    values = np.where(mask, rng.uniform(0.8, 2.0, shape), np.nan)
    return ParameterMap(parameter, values, np.where(mask, rng.uniform(0.02, 0.1, shape), np.nan) if std else None)


class Page(HTMLParser):
    """Text, images, and balance of the tags of a page."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.images, self.names, self.open, self.texts = [], [], [], []
        self.feed(self.source)
        self.close()
        self.text = re.sub(r"\s+", " ", "".join(self.texts))

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))
        elif tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.texts.append(" " if tag in ("td", "th", "p", "figcaption") else "")

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    def picture(self, words):
        (image,) = (image for image in self.images if words in image["alt"])
        return decoded(image)


def decoded(image):
    prefix, data = image["src"].split(",")
    assert prefix == "data:image/png;base64"
    with Image.open(BytesIO(b64decode(data, validate=True))) as picture:
        picture.load()
        return picture.convert("RGB")


def written(path, *args, **kwargs):
    write_report(path, *args, **kwargs)
    return Page(path)
