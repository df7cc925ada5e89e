"""One run as a table: in Markdown for people, in JSON for programs.

Responsible for medians, spreads, ratios and their format. Not for measuring (`running`).
"""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.case import Benchmark, Comparison, Target

HEADER = ("benchmark", "unit", "ours", "figure", "peer", "figure", "peer / ours", "target")


def lines(benchmark: Benchmark, figures: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return the comparisons of a benchmark.

    Args:
        benchmark: what was run.
        figures: of each side that could run, one per round.

    Returns:
        One dict per comparison: benchmark, unit, ours, peer (names), ours_figures, peer_figures and
        ratio (median, min, max; or None), target (text or None), met (bool or None).
    """
    return [_line(benchmark, comparison, figures) for comparison in benchmark.comparisons]


def _line(
    benchmark: Benchmark, comparison: Comparison, figures: dict[str, list[float]]
) -> dict[str, Any]:
    ours = figures.get(comparison.ours)
    peer = None if comparison.peer is None else figures.get(comparison.peer)
    # one ratio per round, so that the machine's drift between rounds cancels out
    ratios = None
    if ours and peer and min(*ours, *peer) > 0:
        ratios = [b / a for a, b in zip(ours, peer, strict=True)]
    complete = ours is not None and (comparison.peer is None or peer is not None)
    return {
        "benchmark": benchmark.title,
        "unit": benchmark.unit,
        "ours": comparison.ours,
        "peer": comparison.peer,
        "ours_figures": _spread(ours),
        "peer_figures": _spread(peer),
        "ratio": _spread(ratios),
        "target": None if comparison.target is None else str(comparison.target),
        "met": _met(comparison.target, ours, peer, ratios) if complete else None,
    }


def _met(
    target: Target | None,
    ours: list[float] | None,
    peer: list[float] | None,
    ratios: list[float] | None,
) -> bool | None:
    if target is None or ours is None:
        return None
    return target.met(
        median(ours),
        None if peer is None else median(peer),
        None if ratios is None else median(ratios),
    )


def _spread(values: list[float] | None) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": median(values), "min": min(values), "max": max(values)}


def markdown(report: dict[str, Any]) -> str:
    """Format a report made by `benchmarks.__main__` as a Markdown document."""
    machine = report["machine"]
    body = [
        "# Benchmarks",
        "",
        f"Command: `{report['command']}`. Each figure is the median of up to {report['rounds']} "
        "rounds, in brackets the least and the greatest. The sides take turns, each in a process "
        "of its own, on the CPU; peer / ours is the median of the rounds' own ratios, and above 1 "
        "ours is better.",
        "",
        "Machine: " + ", ".join(f"{name} {value}" for name, value in machine.items()) + ".",
        "",
        f"Load of the machine before the run: {report['load']:.1f} processes; the run took "
        f"{report['minutes']:.0f} minutes.",
        "",
    ]
    if report["quick"]:
        body += ["Tiny data: these figures show that the programs run, and nothing else.", ""]
    body += ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    body += [row(line) for line in report["lines"]]
    if report["failed"]:
        body += ["", "Failed:", ""]
        body += [f"- {what}" for what in report["failed"]]
    return "\n".join(body) + "\n"


def row(line: dict[str, Any]) -> str:
    """Format a comparison as a row of the table."""
    target = line["target"] or ""
    if line["met"] is not None:
        target += ": yes" if line["met"] else ": **no**"
    absent = "" if line["peer"] is None else "not installed"
    cells = [
        line["benchmark"],
        line["unit"],
        line["ours"],
        _shown(line["ours_figures"]) or "not measured",
        line["peer"] or "",
        _shown(line["peer_figures"]) or absent,
        _shown(line["ratio"], "×"),
        target,
    ]
    return "| " + " | ".join(cells) + " |"


def _shown(spread: dict[str, float] | None, sign: str = "") -> str:
    if spread is None:
        return ""
    middle, least, most = (_number(spread[k]) for k in ("median", "min", "max"))
    return f"{middle}{sign} ({least}–{most})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == 0 else f"{value:.3g}"
