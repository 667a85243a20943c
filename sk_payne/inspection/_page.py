"""Pages of HTML without scripts and links: headings, tables and pictures."""

import base64
import html
import io

from sk_payne.inspection._axes import import_pyplot

__all__ = ["heading", "page", "picture", "table_of", "text"]

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; color: #222; max-width: 62em; margin: 2em auto;
  padding: 0 1em; }}
h1 {{ font-size: 1.6em; }}
h2 {{ font-size: 1.2em; border-bottom: 1px solid #ccc; margin-top: 2em; }}
img {{ max-width: max(100%, 42em); }}
div {{ overflow-x: auto; }} /* tables and pictures scroll on a narrow screen */
table {{ border-collapse: collapse; font-size: 0.9em; margin: 1em 0;
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.15em 0.8em; text-align: right; border-bottom: 1px solid #eee; }}
th:first-child, td:first-child {{ text-align: left; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title, parts):
    """Page of HTML with a title and parts, which the functions below make."""
    return _PAGE.format(title=html.escape(title), body="\n".join(parts))


def heading(words):
    """Heading of plain text, as HTML."""
    return f"<h2>{html.escape(words)}</h2>"


def text(words):
    """Paragraph of plain text, as HTML."""
    return f"<p>{html.escape(words)}</p>"


def table_of(names, rows):
    """Table as HTML, from names of the columns (or None) and rows of cells."""

    def line(cells, tag):
        inner = "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells)
        return f"<tr>{inner}</tr>"

    head = [line(names, "th")] if names else []
    body = [line(row, "td") for row in rows]
    return "\n".join(["<div><table>", *head, *body, "</table></div>"])


def picture(draw, alt):
    """Picture as HTML, embedded in the page.

    The function `draw` returns a figure of matplotlib, which is closed; `alt` describes
    the picture for readers who cannot see it.
    """
    figure = draw()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    import_pyplot().close(figure)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    image = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'
    return f"<div>{image}</div>"
