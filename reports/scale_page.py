"""What is reported across models as HTML: a section that a page can take, and a page of its own."""

from __future__ import annotations

from html import escape

from reports.ladder import SKILL
from reports.scale_figures import panels
from reports.scale_tables import Scale, parts

STYLE = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
figure { margin: 1.5rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; margin: 1rem 0; }
th, td { padding: .25rem .6rem; text-align: left; white-space: nowrap; border-bottom: 1px solid #8888; }
"""


def figures(found: Scale) -> dict[str, str]:
    """Return the inline SVG figures by what they show: the claims about scale, and skill across scale."""
    chosen = {
        "The claims about scale, model by model, with the fitted line": [line for line in found.lines if line.claim != SKILL],
        "Skill of every family across scale, with the interval of each model": [line for line in found.lines if line.claim == SKILL],
    }
    drawn = {title: panels(lines, title) for title, lines in chosen.items()}
    return {title: text for title, text in drawn.items() if text}


def section(found: Scale) -> str:
    """Return the report as a piece of HTML that a page can take: headings, tables and inline figures, all text escaped."""
    lines = []
    drawn = figures(found)
    for number, part in enumerate(parts(found)):
        lines += [f"<h2>{escape(part.heading)}</h2>"] if part.heading else []
        lines += [f"<p>{escape(line)}</p>" for line in part.before]
        if part.rows:
            head = "".join(f'<th scope="col">{escape(key)}</th>' for key in part.rows[0])
            body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row.values()) + "</tr>" for row in part.rows)
            lines.append(
                f'<div class="wide" tabindex="0" role="region" aria-label="table {number}"><table>'
                f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
            )
        lines += [f"<p>{escape(line)}</p>" for line in part.after]
        if number == 0:
            lines += [f"<figure>{text}<figcaption>{escape(title)}</figcaption></figure>" for title, text in drawn.items()]
    return "\n".join(lines)


def page(found: Scale) -> str:
    """Return the report as one self-contained page."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Across models</title><style>\n{STYLE}</style></head>",
            f"<body><main>\n<h1>Emotion steering</h1>\n{section(found)}\n</main></body></html>\n",
        ]
    )
