#!/usr/bin/env python3
"""Counts GoogleTest cases and names the skipped ones with their reasons.

Usage: skip_report.py FOLDER, where test programs left their XML (GTEST_OUTPUT=xml:FOLDER/).
"""

import pathlib
import re
import sys
import xml.etree.ElementTree


def main():
    cases, skipped = 0, []
    for file in sorted(pathlib.Path(sys.argv[1]).glob("*.xml")):
        for case in xml.etree.ElementTree.parse(file).iter("testcase"):
            cases += 1
            if case.get("result") == "skipped":
                note = case.find("skipped")
                reason = note.get("message", "") if note is not None else ""
                reason = re.sub(r"^\S+:\d+\s*", "", reason).strip() or "no reason given"
                skipped.append(f"{case.get('classname')}.{case.get('name')}: {reason}")
    print(f"{cases} test cases, {len(skipped)} skipped")
    for line in skipped:
        print(f"  skipped {line}")


if __name__ == "__main__":
    main()
