"""Single facts of the real atlas that the sample atlas stands on: ids, sizes, matrices, names.

Source: records of the Allen Brain Atlas API (data of the Allen Institute for Brain Science): the data sets
69289763, 479 and 123, their alignments and images, the planes of section, the atlases and the structure centres.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = [
    "ALIGNMENTS_3D",
    "ATLASES",
    "PLANES_OF_SECTION",
    "PRODUCTS",
    "REFERENCE_SPACES",
    "SECTIONS",
    "STRUCTURES",
    "STRUCTURE_CENTERS",
    "STRUCTURE_PATHS",
    "Section",
]


class Section(NamedTuple):
    """One section image and its alignment.

    ``tsv`` and ``tvs`` are the six numbers in the order of the API's names, 00 to 05.
    """

    image_id: int
    section_number: int
    width: int
    height: int
    alignment_id: int
    tsv: tuple[float, ...]
    tvs: tuple[float, ...]


# A row: image id, section number, width, height, alignment id, then tsv_00, tsv_01, tsv_04, tsv_05 and the same
# of tvs. Every matrix is a similarity: _03 equals _00, and _02 equals -_01.
_SECTIONS = {
    69289763: """
69177634 6 8929 6705 346488496 1.04849 -0.0328579 4156.71 2210.64 0.952821 0.0298599 -4026.61 -1982.23
69177636 14 8929 6737 346488498 1.04857 -0.0299595 3967.0 2158.86 0.9529 0.027226 -3838.93 -1949.17
69177638 22 10161 7217 346488500 1.04888 -0.016052 3212.85 1873.49 0.953177 0.0145874 -3089.74 -1738.9
69177640 30 10481 7297 346488502 1.049 -0.0023738 2989.82 1898.72 0.953286 0.00215721 -2854.25 -1803.57
69177644 38 10833 7441 346488504 1.04898 0.00628083 2752.33 1912.14 0.953272 -0.00570777 -2612.81 -1838.5
69177646 46 11041 6721 346488506 1.0487 0.0252805 2527.52 2048.96 0.953012 -0.0229739 -2361.68 -2010.75
69177648 54 10993 7361 346488508 1.04897 0.00830023 2411.02 1828.29 0.953259 -0.00754292 -2284.54 -1761.02
69177650 62 11505 7201 346488510 1.049 0.00164685 2223.61 1562.84 0.953288 -0.00149659 -2117.41 -1493.16
69177654 70 11921 7553 346488512 1.049 -0.000497103 2081.73 1594.62 0.953289 0.000451747 -1985.21 -1519.2
69177656 78 12881 7681 346488514 1.04895 -0.0103526 919.884 1648.18 0.953242 0.009408 -892.379 -1562.46
69177658 86 13985 7825 346488516 1.049 0.00104088 721.199 1400.74 0.953288 -0.000945907 -686.186 -1335.99
69177664 102 14785 7889 346488518 1.04883 -0.0188443 219.496 1166.98 0.953135 0.0171249 -229.194 -1108.53
69177668 118 14689 8337 346488520 1.04884 -0.0180471 -118.294 958.001 0.953148 0.0164004 97.0401 -915.057
69177670 126 15137 8001 346488522 1.04899 0.00462141 -132.311 1403.02 0.95328 -0.00419975 132.022 -1336.92
69177674 134 14689 9057 346488524 1.049 3.81408e-05 -52.6193 601.817 0.953289 -3.46608e-05 50.1823 -573.704
69177676 142 16049 8129 346488526 1.04822 -0.0405144 -336.861 944.598 0.952578 0.0368179 286.109 -912.205
69177678 150 14033 7665 346488528 1.04894 -0.0113185 -213.251 1344.44 0.953233 0.0102858 189.449 -1283.76
69177680 158 14529 7585 346488530 1.04846 -0.033639 243.777 1193.98 0.952799 0.0305698 -268.771 -1130.17
""",
    479: """
101349756 4 4232 3864 348273717 1.62982 0.0243755 3051.75 2776.39 0.613428 -0.0091744 -1846.56 -1731.11
101349764 12 4536 4016 348273722 1.62992 0.0163663 2800.76 2608.26 0.613466 -0.00615993 -1702.11 -1617.33
""",
    123: """
101945191 171 8992 4936 348398605 1.62929 0.0480343 406.469 2243.71 0.61323 -0.0180791 -208.695 -1383.26
""",
}


def _similarity(a: str, b: str, x: str, y: str) -> tuple[float, ...]:
    return (float(a), float(b), -float(b), float(a), float(x), float(y))


def _section(line: str) -> Section:
    image_id, number, width, height, alignment_id, *numbers = line.split()
    tsv, tvs = _similarity(*numbers[:4]), _similarity(*numbers[4:])
    return Section(int(image_id), int(number), int(width), int(height), int(alignment_id), tsv, tvs)


#: The recorded sections of each data set.
SECTIONS = {
    data_set_id: [_section(line) for line in text.strip().splitlines()]
    for data_set_id, text in _SECTIONS.items()
}

#: Data set to alignment id, tvr_00 to tvr_11 and trv_00 to trv_11 (REC-3 has the layout).
ALIGNMENTS_3D: dict[int, tuple[int, tuple[float, ...], tuple[float, ...]]] = {
    69289763: (
        346488249,
        (
            1.0283,
            0.0326282,
            -0.000652651,
            -0.0323384,
            0.990426,
            -0.0198112,
            0.0,
            0.0174272,
            0.871244,
            -1118.73,
            -1225.02,
            1743.06,
        ),
        (
            0.971471,
            -0.0320037,
            -1.57549e-19,
            0.0317067,
            1.00822,
            0.0229496,
            -0.00063422,
            -0.020167,
            1.14732,
            1047.61,
            1230.56,
            -2025.27,
        ),
    ),
    479: (
        348273183,
        (
            0.0,
            0.0,
            -0.991197,
            -0.00940617,
            0.97088,
            0.0,
            1.07512,
            0.0113814,
            0.0,
            12741.3,
            -1528.16,
            -1370.53,
        ),
        (0.0, -0.0109026, 0.930036, 0.0, 1.02989, 0.00901046, -1.00888, 0.0, 0.0, 1257.98, 1586.18, 12854.5),
    ),
    123: (
        348398583,
        (
            1.05211,
            0.0260573,
            -0.0372341,
            -0.0280098,
            0.999544,
            -0.0140134,
            0.0368521,
            0.0157867,
            1.05237,
            -1119.72,
            -2074.34,
            1692.64,
        ),
        (
            0.948631,
            -0.0252548,
            0.0332274,
            0.0261118,
            0.999551,
            0.014234,
            -0.0336111,
            -0.01411,
            0.94886,
            953.568,
            2078.55,
            -1672.98,
        ),
    ),
}

PLANES_OF_SECTION = {
    1: "coronal",
    2: "sagittal",
    4: "variable",
    5: "n/a",
    6: "transverse",
    7: "Lateral to Medial",
    8: "Medial to Lateral",
    9: "Ventral to Dorsal",
    10: "Dorsal to Ventral",
    11: "Coronal (Caudal to Rostral)",
    531107579: "Coronal (Rostral to Caudal)",
    1082279372: "Tangential",
}

PRODUCTS: list[dict[str, Any]] = [
    {
        "id": 1,
        "abbreviation": "Mouse",
        "name": "Mouse Brain",
        "resource": "Allen Mouse Brain Atlas",
        "species": "Mouse",
    },
    {
        "id": 3,
        "abbreviation": "DevMouse",
        "name": "Developing Mouse Brain",
        "resource": "Allen Developing Mouse Brain Atlas",
        "species": "Mouse",
    },
    {
        "id": 5,
        "abbreviation": "MouseConn-Projection",
        "name": "Mouse Connectivity Projection",
        "resource": "Allen Mouse Brain Connectivity Atlas",
        "species": "Mouse",
    },
]

REFERENCE_SPACES = {9: "P56 Brain", 10: "P56 Brain, L/R Flipped"}

#: Atlas id to name and structure graph.
ATLASES = {1: ("Mouse, P56, Coronal", 1), 2: ("Mouse, P56, Sagittal", 1)}

#: Structure id to acronym and name.
STRUCTURES = {1018: ("AUDv", "Ventral auditory area"), 322: ("SSp", "Primary somatosensory area")}
#: Structure id to the ids on the way from the root of the ontology.
STRUCTURE_PATHS = {
    1018: "/997/8/567/688/695/315/247/1018/",
    322: "/997/8/567/688/695/315/453/322/",
}

#: Structure id, reference space id and the centre x, y, z in µm.
STRUCTURE_CENTERS = [
    (1018, 10, 7800, 3400, 1050),
    (1018, 9, 7800, 3400, 10350),
    (322, 10, 5740, 2060, 2730),
    (322, 9, 5740, 2060, 8670),
]
