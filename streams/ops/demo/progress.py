"""Counts how many posts of the demo have arrived in Kafka, Redis and Postgres."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.kafka.offsets import OffsetReader
from connectors.postgres import connect, postgres_errors
from streams.records import ALL_KEYWORDS, EmotionWindow
from streams.settings import Settings
from streams.windows.store import WindowStore


@dataclass(frozen=True)
class Counts:
    """Posts that have arrived: classified, dead-lettered, in the windows in Redis, and in Postgres."""

    classified: int = 0
    dead: int = 0
    in_windows: int = 0
    in_postgres: int = 0


class ProgressReader:
    """Reads windows from Redis, and counts posts in Kafka and Postgres."""

    def __init__(self, settings: Settings, store: WindowStore, reader: OffsetReader) -> None:
        self._settings = settings
        self._store = store
        self._reader = reader

    async def windows(self) -> list[EmotionWindow]:
        """Returns all windows of the shortest size in Redis."""
        return await self._store.read(size=self._settings.window_sizes[0].seconds)

    def produced(self) -> int:
        """Returns the number of posts in the raw topic."""
        return self._records(self._settings.topic_raw, self._settings.partitions)

    def counts(self, windows: list[EmotionWindow]) -> Counts:
        """Returns the counts. `windows` are what the method `windows` has returned."""
        dsn = self._settings.postgres_dsn.get_secret_value()
        with connect(dsn, application_name="emostream-demo") as connection, postgres_errors("counting rows"):
            row = connection.execute("SELECT count(*) FROM posts").fetchone()
        return Counts(
            classified=self._records(self._settings.topic_classified, self._settings.partitions),
            dead=self._records(self._settings.topic_dead, 1),
            in_windows=sum(w.count + w.unsupported for w in windows if w.keyword == ALL_KEYWORDS),
            in_postgres=int(str(row[0])) if row else 0,
        )

    def _records(self, topic: str, partitions: int) -> int:
        return sum(self._reader.bounds(topic, partition)[1] for partition in range(partitions))
