"""The picture of Neuroglancer in a browser without a window, pixel by pixel where it was asked for, in µm."""

from __future__ import annotations

import os
import shutil
import threading

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")

CORONAL, SAGITTAL = 479, 69289763
#: Pixels of the picture for each pixel of an image of 100 µm, so that half a voxel would show.
ZOOM = 10
UM = 100.0
GREEN = 1
ARGUMENTS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)


@pytest.fixture(scope="module")
def draw(needs, address_of):
    """Return what draws the green of an image about a position (x, y, z) in µm, as (height, width) grey levels."""
    neuroglancer, playwright = needs("neuroglancer"), needs("playwright.sync_api")
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        assert "ECOSYSTEM_ALL" not in os.environ
        pytest.skip("there is no chromium")
    neuroglancer.set_server_bind_address("127.0.0.1")
    viewer = neuroglancer.Viewer()
    with (
        playwright.sync_playwright() as driver,
        driver.chromium.launch(executable_path=browser, args=ARGUMENTS) as chromium,
    ):
        page = chromium.new_page()
        page.goto(viewer.get_viewer_url())

        def get(path, position_um, shape):
            viewer.set_state(neuroglancer.ViewerState(state(f"{address_of()}/{path}/|zarr3:", position_um)))
            pictures = []
            size = [side * ZOOM for side in reversed(shape)]
            asking = threading.Thread(
                target=lambda: pictures.append(viewer.screenshot(size=size)), daemon=True
            )
            asking.start()
            while asking.is_alive():
                page.wait_for_timeout(50)
            return pictures[0].screenshot.image_pixels[..., 0]

        yield get
    neuroglancer.stop()


def state(source, position_um):
    layer = {
        "type": "image",
        "name": "green",
        "source": source,
        "localDimensions": {"c'": [1, ""]},
        "localPosition": [GREEN],
        "shader": "void main() { emitGrayscale(float(toRaw(getDataValue())) / 255.0); }",
        "opacity": 1,
        "blend": "additive",
    }
    return {
        "dimensions": {axis: [1e-6, "m"] for axis in "xyz"},
        "position": position_um,
        "crossSectionScale": UM / ZOOM,
        "layout": "xy",
        "showAxisLines": False,
        "showScaleBar": False,
        "showDefaultAnnotations": False,
        "layers": [layer],
    }


@pytest.mark.parametrize("name", ["registered", "volume"])
@pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL])
def test_every_pixel_is_drawn_where_it_lies_in_um(draw, images_of, data_set_id, name):
    image = images_of(data_set_id)[name]
    expected = image.levels[0][GREEN, image.z]
    height, width = expected.shape
    position_um = [width * UM / 2, height * UM / 2, float(image.axes_um["z"][image.z])]
    picture = draw(image.path, position_um, expected.shape)
    for corner in (0, ZOOM - 1):
        assert np.array_equal(picture[corner::ZOOM, corner::ZOOM], expected)
    # the brain is not symmetric: what is mirrored is another picture
    assert not np.array_equal(expected[:, ::-1], expected)
