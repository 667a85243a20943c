"""What architectures there are and which options they have, from their docstrings.

It is here so that a new architecture is on the site without being written down again.
"""

import re

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from numpydoc.docscrape import ClassDoc

from sk_payne.networks import NETWORKS


def options(network):
    """Name, type and description of what `arch_params` may have.

    >>> from sk_payne.networks import Payne
    >>> [name for name, _, _ in options(Payne)]
    ['n_hidden', 'n_layers', 'activation', 'output']
    """
    found = []
    for parameter in ClassDoc(network)["Parameters"]:
        for name in parameter.name.split(", "):
            if name not in ("n_labels", "n_wavelengths"):
                found.append((name, parameter.type, _without_links(parameter.desc)))
    return found


def summary(network):
    """First line of the docstring, without references.

    >>> from sk_payne.networks import Cannon
    >>> summary(Cannon)
    'The Cannon: a quadratic polynomial for each wavelength.'
    """
    return re.sub(r" \[\d+\]_", "", " ".join(ClassDoc(network)["Summary"]))


def _without_links(lines):
    # of a class, which the reader of this page has not before him
    return [re.sub(r":\w+:`~?([^`]*)`", r"``\1``", line) for line in lines]


class Architectures(Directive):
    """A table of all architectures."""

    def run(self):
        """Make the table."""
        lines = [".. list-table::", "   :header-rows: 1", ""]
        lines += ["   * - ``arch``", "     - what it is"]
        for name, network in NETWORKS.items():
            lines += [f'   * - ``"{name}"``', f"     - {summary(network)}"]
        return _parsed(self, lines)


class ArchitectureOptions(Directive):
    """The options of all architectures."""

    def run(self):
        """Make a list for each."""
        lines = []
        for name, network in NETWORKS.items():
            lines += [f'.. rubric:: ``"{name}"``', ""]
            rows = options(network)
            if not rows:
                lines += ["No options.", ""]
            for option, kind, description in rows:
                lines += [f"``{option}`` : {kind}"]
                lines += [f"    {line}".rstrip() for line in description] + [""]
        return _parsed(self, lines)


def _parsed(directive, lines):
    source = directive.state_machine.get_source(directive.lineno)
    node = nodes.container()
    content = StringList(lines, source=source)
    directive.state.nested_parse(content, directive.content_offset, node)
    return node.children


def setup(app):
    """Make the directives known to Sphinx."""
    app.add_directive("architectures", Architectures)
    app.add_directive("architecture-options", ArchitectureOptions)
    return {"parallel_read_safe": True}
