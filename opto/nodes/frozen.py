"""Values: objects that are what they hold. As frozen dataclasses, without what it costs to import `dataclasses`."""

from typing import Any, NoReturn

__all__ = ["Frozen"]


class Frozen:
    """Base of classes whose objects are compared, hashed and shown by their attributes, which never change.

    Example:
        >>> class Point(Frozen):
        ...     def __init__(self, x, y=0):
        ...         self._hold(x=x, y=y)
        >>> Point(1), Point(1) == Point(1, 0), Point(1) == Point(2)
        (Point(x=1, y=0), True, False)
    """

    def _hold(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"A {type(self).__name__} is a value: its {name} cannot be changed. Make another one.")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
