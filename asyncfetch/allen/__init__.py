"""What the API's bytes mean: records, queries, replies and image requests. Pure."""

from __future__ import annotations

from asyncfetch.allen.bounds import row_id, shown_value
from asyncfetch.allen.envelope import Page, parse_csv, parse_json, parse_xml
from asyncfetch.allen.images import COLORMAPS, ImageOptions, ImageRequest
from asyncfetch.allen.records import (
    Alignment2d,
    Alignment3d,
    Gene,
    Product,
    SectionDataSet,
    SectionImage,
    UnreadableRecord,
    parse_data_set,
    parse_section_image,
)
from asyncfetch.allen.rma import (
    Filter,
    Options,
    Pipe,
    Query,
    Service,
    Step,
    data_set_query,
    parse_criteria,
    query_url,
    section_image_query,
    section_images_query,
    text,
)
from asyncfetch.allen.services import IdsLike, Nested, SynchronizationServices
from asyncfetch.allen.sync import (
    SYNC_SERVICES,
    ImageSync,
    ReferencePoint,
    SyncRequest,
    parse_sync_json,
    parse_sync_request,
    parse_sync_xml,
    sync_json,
    sync_xml,
)

__all__ = [
    "COLORMAPS",
    "SYNC_SERVICES",
    "Alignment2d",
    "Alignment3d",
    "Filter",
    "Gene",
    "IdsLike",
    "ImageOptions",
    "ImageRequest",
    "ImageSync",
    "Nested",
    "Options",
    "Page",
    "Pipe",
    "Product",
    "Query",
    "ReferencePoint",
    "SectionDataSet",
    "SectionImage",
    "Service",
    "Step",
    "SyncRequest",
    "SynchronizationServices",
    "UnreadableRecord",
    "data_set_query",
    "parse_criteria",
    "parse_csv",
    "parse_data_set",
    "parse_json",
    "parse_section_image",
    "parse_sync_json",
    "parse_sync_request",
    "parse_sync_xml",
    "parse_xml",
    "query_url",
    "row_id",
    "section_image_query",
    "section_images_query",
    "shown_value",
    "sync_json",
    "sync_xml",
    "text",
]
