"""A stored run as JUnit, with the same verdicts as pytest's own --junitxml gives while the run is made."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import asdict

from cases.lines import verdict_line
from reports.record import Record, Run

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
PROPERTIES = ("claim", "case", "verdict", "value", "skill", "reason")


def clean(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    return FORBIDDEN.sub("?", text)


def testcase(record: Record, model: str) -> ET.Element:
    """Return a record's test case: refuted fails, error is an error, inconclusive and not applicable are skipped with their reason."""
    case = ET.Element(
        "testcase", classname=f"benchmark.test_{record.family}", name=clean(f"test_{record.claim}[{model}-{record.case}]"), time="0"
    )
    properties = ET.SubElement(case, "properties")
    values = {**{key: getattr(record, key) for key in PROPERTIES}, "net": (record.net or {}).get("value")}
    for key, value in values.items():
        if value is not None:
            ET.SubElement(properties, "property", name=key, value=clean(str(value)))
    reason = clean(record.reason or "")
    if record.verdict == "refuted":
        line = clean(verdict_line(asdict(record), model) if record.net and record.value is not None else reason)
        ET.SubElement(case, "failure", message=line).text = line
    elif record.verdict == "error":
        ET.SubElement(case, "error", message=reason).text = reason
    elif record.verdict in ("inconclusive", "not applicable"):
        ET.SubElement(case, "skipped", type=record.verdict, message=reason)
    return case


def junit(run: Run) -> str:
    """Return the run as JUnit XML: one suite, a test case per record."""
    model = str(run.subject["model"])
    cases = [testcase(record, model) for record in run.records]
    suites = ET.Element("testsuites", name="emotion steering")
    suite = ET.SubElement(
        suites, "testsuite", name=clean(model), tests=str(len(cases)), time=f"{run.duration:.1f}", timestamp=run.start[:19]
    )
    for counted, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(counted, str(sum(case.find(tag) is not None for case in cases)))
    suite.extend(cases)
    ET.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"
