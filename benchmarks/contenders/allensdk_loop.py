"""AllenSDK, unmodified: ImageDownloadApi in a loop over the images of a data set; runs in AllenSDK's environment."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from allensdk.api.queries.image_download_api import ImageDownloadApi

from benchmarks.contenders.job import Job
from benchmarks.contenders.meter import metered


def main(job: Job) -> None:
    """Download the images of a data set, one after another; AllenSDK does no more than that."""
    # a line for each download would hide the harness's own
    logging.disable(logging.INFO)
    folder = Path(job.out)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = set(job.image_ids)
    with metered(job) as figures:
        api = ImageDownloadApi(job.base_url)
        images = [
            image for image in api.section_image_query(job.data_set_id) if not wanted or image["id"] in wanted
        ]
        for image in images:
            api.download_section_image(image["id"], file_path=str(folder / f"{image['id']}.jpg"))
        figures["n_images"] = len(images)


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
