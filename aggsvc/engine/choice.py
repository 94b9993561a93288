"""Which readings of a file are asked for."""

from dataclasses import dataclass

from aggsvc.engine.fields import FIRST_US, LAST_US


@dataclass(frozen=True, slots=True)
class Choice:
    """Readings of a sensor (None: of any), from one moment up to, not including, another.

    Moments are microseconds since the epoch.
    """

    sensor_id: str | None = None
    first_us: int = FIRST_US
    end_us: int = LAST_US + 1

    @property
    def is_all(self) -> bool:
        """Whether every reading is chosen."""
        return self == ALL


ALL = Choice()
