"""Model families by name and by the class that a model folder names.

Families are found among the entry points `tridentserve.families`: a third one is a module and a
line in some package's metadata, and nothing of this project changes.
"""

from importlib.metadata import entry_points

from tridentserve.errors import InvalidFieldError
from tridentserve.families.folder import INDEX, ModelFolder
from tridentserve.families.protocol import Family

GROUP = "tridentserve.families"


def family_names() -> tuple[str, ...]:
    """Names of all that are installed, sorted."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def family_by_name(name: str) -> Family:
    """The family of that name.

    Raises:
        InvalidFieldError: none is installed.
    """
    for entry in entry_points(group=GROUP, name=name):
        family: Family = entry.load()
        return family
    raise InvalidFieldError("family", f"{name!r} is not installed; use {_list()}")


def family_of(folder: ModelFolder) -> Family:
    """The family that serves a model folder.

    Raises:
        InvalidFieldError: none that is installed does.
    """
    served: dict[str, Family] = {}
    for name in family_names():
        family = family_by_name(name)
        served[family.class_name] = family
    if folder.class_name not in served:
        raise InvalidFieldError(
            f"{INDEX}: _class_name",
            f"no installed family serves {folder.class_name}; served are {', '.join(served)}",
        )
    return served[folder.class_name]


def _list() -> str:
    return ", ".join(family_names())
