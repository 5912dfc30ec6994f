"""How one call uses its devices. An integer is not a strategy."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """Ways of splitting one call over devices; each is a factor of the degree."""

    cfg: int = 1
    """Halves of classifier-free guidance on separate devices: 1 or 2."""
    ulysses: int = 1
    """Sequence parallelism by heads."""
    ring: int = 1
    """Sequence parallelism by blocks of the sequence."""
    vae_tiles: int = 1
    """Tiles of the decoder on separate devices."""

    @property
    def degree(self) -> int:
        """Number of devices that one call uses."""
        return self.cfg * self.ulysses * self.ring * self.vae_tiles


SINGLE = Strategy()
"""One device: the only strategy that needs no communication."""
