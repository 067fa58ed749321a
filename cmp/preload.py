"""Loaded by a fork server that is started under the alias: the server and all its children have it from the start."""

from . import alias

__all__ = ()

alias.install()
