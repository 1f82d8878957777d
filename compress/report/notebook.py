"""A report in a few lines of HTML, for the output cell of a notebook."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from compress.report.model.report import Report, parse
from compress.report.page import environment, style

TABLE = """\
<p><b>{{ report.headline }}</b></p>
<table>
<thead><tr><th></th><th>top-1</th><th>95 % CI</th><th>file</th><th>p50</th><th>speed-up</th>\
<th>params</th></tr></thead>
<tbody>
{% for row in rows -%}
<tr><th>{{ row.model }}{% if row.mark %} (ships){% endif %}</th><td>{{ row.top1 }}</td>\
<td>{{ row.ci95 }}</td><td>{{ row.size }}</td><td>{{ row.p50 }}</td><td>{{ row.speedup }}</td>\
<td>{{ row.params }}</td></tr>
{% endfor -%}
</tbody>
</table>
{% if picture %}<img src="{{ picture }}" width="760" alt="Accuracy against latency">{% endif %}
"""


def as_html(report: Mapping[str, object]) -> str:
    """Headline, results and the picture of accuracy against latency of report.json."""
    from compress.report.sections import summary

    known = parse(report)
    template = environment(autoescape=True).from_string(TABLE)
    rows = summary.summary_rows(known, summary.ROWS)
    return template.render(report=known, rows=rows, picture=_picture(known))


def _picture(report: Report) -> str:
    """The plot as an image of its own, whose style no notebook sees; "" without one."""
    from compress.report.sections import summary

    plots = summary.accuracy_plots(report)
    if not plots:
        return ""
    start, rest = plots[0].split(">", 1)
    named = start.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    drawing = f"{named}><style>{style()}</style>{rest}"
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"
