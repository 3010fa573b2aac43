"""How far the demonstration's posts have come, read from the outside as any user could."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.kafka.offsets import OffsetReader
from connectors.postgres import connect, postgres_errors
from streams.records import ALL_KEYWORDS, EmotionWindow
from streams.settings import Settings
from streams.windows.store import WindowStore


@dataclass(frozen=True)
class Counts:
    """Posts seen at each station."""

    classified: int = 0
    dead: int = 0
    in_windows: int = 0
    in_postgres: int = 0


class ProgressReader:
    """Looks at Kafka, Redis and Postgres."""

    def __init__(self, settings: Settings, store: WindowStore, reader: OffsetReader) -> None:
        self._settings = settings
        self._store = store
        self._reader = reader

    async def windows(self) -> list[EmotionWindow]:
        """All windows in Redis of the smallest size."""
        return await self._store.read(size=self._settings.window_sizes[0].seconds)

    def counts(self, windows: list[EmotionWindow]) -> Counts:
        """What has arrived where; `windows` as `windows()` returned them."""
        dsn = self._settings.postgres_dsn.get_secret_value()
        with connect(dsn, application_name="emostream-demo") as connection, postgres_errors("counting rows"):
            row = connection.execute("SELECT count(*) FROM posts").fetchone()
        return Counts(
            classified=self._records(self._settings.topic_classified, self._settings.partitions),
            dead=self._records(self._settings.topic_dead, 1),
            in_windows=sum(window.count for window in windows if window.keyword == ALL_KEYWORDS),
            in_postgres=int(str(row[0])) if row else 0,
        )

    def _records(self, topic: str, partitions: int) -> int:
        return sum(self._reader.bounds(topic, partition)[1] for partition in range(partitions))
