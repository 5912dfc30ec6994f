"""What holds of one caption in one picture, and what does not."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What holds; tuples are in the order of the caption, None is what was not asked for."""

    background: bool | None
    count: bool
    colors: tuple[bool, ...]
    forms: tuple[bool, ...]
    relation: bool | None
    sizes: tuple[bool | None, ...]

    @property
    def holds(self) -> bool:
        """Whether the picture shows all that its caption says, sizes included."""
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """The names of the parts that do not hold."""
        parts = {
            "background": self.background is not False,
            "count": self.count,
            "colors": all(self.colors),
            "forms": all(self.forms),
            "relation": self.relation is not False,
            "sizes": False not in self.sizes,
        }
        return tuple(name for name, good in parts.items() if not good)

    def __str__(self) -> str:
        """As in "holds" or "wrong: forms, relation"."""
        return f"wrong: {', '.join(self.failures)}" if self.failures else "holds"
