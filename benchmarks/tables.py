"""Figures as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["columns", "report"]

_HEADER = ("", "s/image", "CPU s", "MPix/s/core", "peak MiB", "MB stored", "at once", "runs", "ours over it")


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Line up rows of text: the first column to the left, the others to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if k == 0 else text.rjust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def report(results: Sequence[dict[str, Any]]) -> str:
    """Return the results of whole runs as a table a kind."""
    lines: list[str] = []
    for result in results:
        served = result["served_s_per_image"]
        lines += [
            "",
            f"{result['name']}: {result['title']}",
            f"  {result['work']}; bodies alone {served:.3f} s",
        ]
        rows = [_HEADER]
        for name, figures in result["medians"].items():
            rows.append(_row(name, figures, result["ratios"].get(name)))
        lines += [f"  {line}" for line in columns(rows)]
        for name, ratio in result["ratios"].items():
            if "no_conclusion" in ratio:
                lines.append(f"  no conclusion about {name}: {ratio['no_conclusion']}")
        lines += [f"  left out: {line}" for line in result["left_out"]]
    return "\n".join(lines[1:])


def _row(name: str, figures: dict[str, Any], ratio: dict[str, Any] | None) -> tuple[str, ...]:
    rate = figures.get("megapixels_per_cpu_s")
    return (
        name,
        f"{figures['s_per_image']:.3f}",
        f"{figures['cpu_s_per_image']:.3f}",
        "–" if rate is None else f"{rate:.0f}",
        f"{figures['peak_mib']:.0f}",
        f"{figures['disk_mb']:.0f}",
        f"{figures.get('most_at_once', 0):.0f}",
        f"{figures['n_runs']}",
        _ratio(ratio),
    )


def _ratio(ratio: dict[str, Any] | None) -> str:
    if ratio is None:
        return ""
    if "no_conclusion" in ratio:
        return "no conclusion"
    text = f"{ratio['wall']:.2f}"
    if ratio["cpu"] is not None:
        text += f" (CPU {ratio['cpu']:.2f})"
    if ratio["bar"] is not None:
        text += f", bar {ratio['bar']:g} {'met' if ratio['bar_met'] else 'MISSED'}"
    return text
