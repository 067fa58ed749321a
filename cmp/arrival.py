"""Run in a spawned child or a fork server by the path of this file, before anything else of its parent's arrives (see
launchers).

The child knows its parent's sys.path only afterwards, so the place where cmp lies comes along. As a module this is
empty.
"""

__all__ = ()

if "arriving_from" in globals():  # what the parent put in: the folder of cmp, the start method, is the alias on
    import sys

    sys.path.append(arriving_from)  # noqa: F821
    from cmp import _core, context

    sys.path.remove(arriving_from)  # noqa: F821
    if "names" in globals():  # the server's preloads
        _core._be_server()
    if with_alias:  # noqa: F821
        from cmp import alias

        alias.install()
    if start_method is not None:  # noqa: F821
        context._force_start_method(start_method)  # noqa: F821
