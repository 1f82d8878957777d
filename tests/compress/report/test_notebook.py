"""What a notebook shows of a run: the table of the report, and its picture as an image."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from xml.etree import ElementTree

from compress.report.artifact import ReportArtifact
from compress.report.notebook import as_html


def test_table_and_picture(smoke: Path) -> None:
    report = ReportArtifact(smoke).read()
    page = as_html(report)
    shipped = report["accuracy"][report["student"]["shipped"]]["top1"]
    assert f"{100 * shipped:.1f}\u202f%" in page and page.count("<tr>") == 4
    assert "(ships)" in page and "<script" not in page and "<style" not in page
    (uri,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    drawing = ElementTree.fromstring(base64.b64decode(uri))
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert drawing.find("{http://www.w3.org/2000/svg}style") is not None
