"""Writes tests/slow.txt, the tests that the fast lane leaves out, from a measured run.

    python -m pytest --junitxml=run.xml; python tests/helpers/slow_tests.py run.xml

On an idle machine with 2 cores: a test is slow if one of its cases took more than 0.3 s, or all of
them together more than 1 s. The fast lane then takes less than two minutes.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
LIST = ROOT / "tests" / "slow.txt"
OF_A_CASE, OF_ALL = 0.3, 1.0  # seconds


def slow(report: Path) -> list[str]:
    """Return the slow tests of a report as file::name, sorted."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        file = case.attrib["classname"].replace(".", "/") + ".py"
        name = case.attrib["name"].split("[")[0]
        seconds[f"{file}::{name}"].append(float(case.attrib["time"]))
    return sorted(k for k, v in seconds.items() if max(v) > OF_A_CASE or sum(v) > OF_ALL)


if __name__ == "__main__":
    LIST.write_text("\n".join(slow(Path(sys.argv[1]))) + "\n", encoding="utf-8")
