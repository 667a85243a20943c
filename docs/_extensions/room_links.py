"""Links from docstrings to what other rooms define.

It is here because a bare ``Recipe`` is readable where it stands, in a room that is not
its own, and should lead there all the same.
"""

from sphinx.util.nodes import make_refnode


def find_in_any_room(app, env, node, contnode):
    """Link a name that only one of the documented objects ends with."""
    if node.get("refdomain") != "py":
        return None
    objects = env.get_domain("py").objects
    found = [
        name
        for name, entry in objects.items()
        if name.endswith(f".{node['reftarget']}") and not entry.aliased
    ]
    if len(found) != 1:
        return None
    entry = objects[found[0]]
    return make_refnode(
        app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, found[0]
    )


def setup(app):
    """Ask here for what Sphinx does not find."""
    app.connect("missing-reference", find_in_any_room)
    return {"parallel_read_safe": True}
