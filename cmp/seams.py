"""What other code takes from the five modules that are cmp's own, though it is not public there.

Helpers and imports that the standard library's namesake has and nobody listed are that module's own objects, fetched
when somebody asks. Classes derived from a queue or a pool are looked at when they are made (see insides).
"""

from __future__ import annotations

# `import cmp` loads this module, and need not load typing and importlib for it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["namesake", "watch_subclasses"]


def namesake(name: str) -> Callable[[str], object]:
    """A module's __getattr__."""

    def __getattr__(attribute: str) -> object:
        if not attribute.startswith("__"):
            from .kin import theirs

            if hasattr(theirs(name), attribute):
                return getattr(theirs(name), attribute)
        raise AttributeError(f"module 'cmp.{name}' has no attribute {attribute!r}")

    return __getattr__


def watch_subclasses(*classes: type) -> None:
    """Has the classes that are derived from these looked at."""
    for cls in classes:
        cls.__init_subclass__ = classmethod(_settling(cls))


def _settling(cls: type) -> Callable[..., None]:
    def __init_subclass__(derived: type, **keywords: object) -> None:
        super(cls, derived).__init_subclass__(**keywords)
        from cmp.insides import settle

        settle(cls, derived)

    return __init_subclass__
