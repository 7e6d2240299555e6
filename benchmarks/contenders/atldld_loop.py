"""atldld, unmodified, in the loop of its own getting-started page; runs in atldld's environment.

Its address cannot be set, so that requests to it are sent to the replica by a hook under ``requests``; they travel in
plain HTTP, which can only make atldld faster than it is against the real service.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests.adapters
from PIL import Image

from benchmarks.contenders.job import Job
from benchmarks.contenders.meter import metered


class ToReplica(requests.adapters.HTTPAdapter):
    """An adapter that sends every request to one host, whatever host it names."""

    base_url = ""

    def send(self, request, *args, **kwargs):  # noqa: ANN001, ANN002, ANN003, ANN201 - as its base
        """Send it."""
        request.url = urlunsplit(urlsplit(request.url)._replace(**self._place()))
        return super().send(request, *args, **kwargs)

    def _place(self) -> dict[str, str]:
        parts = urlsplit(self.base_url)
        return {"scheme": parts.scheme, "netloc": parts.netloc}


def main(job: Job) -> None:
    """Download a data set, register it, and save what comes out as PNG."""
    ToReplica.base_url = job.base_url
    # requests.get makes a session, and a session its adapters, for every call
    requests.sessions.HTTPAdapter = ToReplica
    folder = Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(folder)
    from atldld.sync import DatasetDownloader
    from atldld.utils import get_image

    wanted = set(job.image_ids)
    with metered(job) as figures:
        pitch = int(float(job.um)) if job.does("registered") else 25
        downloader = DatasetDownloader(job.data_set_id, downsample_ref=pitch)
        downloader.fetch_metadata()
        images = downloader.metadata["images"]
        images[:] = [image for image in images if not wanted or image["id"] in wanted]
        if job.does("registered"):
            for image_id, _, img, _, df in downloader.run():
                img_reg = df.warp(img)
                if job.save:
                    Image.fromarray(img_reg).save(folder / f"{image_id}.png")
        else:
            for image in images:
                get_image(image["id"])
        figures["n_images"] = len(images)


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
