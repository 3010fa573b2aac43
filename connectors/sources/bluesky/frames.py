"""Decompresses the frames of Jetstream. A server that does not compress sends JSON as it is."""

from __future__ import annotations

import zstandard

from connectors.errors import RejectedError

_MAGIC = b"\x28\xb5\x2f\xfd"


class FrameDecoder:
    """Decompresses zstd frames that were made with a dictionary."""

    def __init__(self, dictionary: bytes, *, max_bytes: int) -> None:
        """Load a dictionary.

        Raises:
            RejectedError: This is not a zstd dictionary.
        """
        data = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_AUTO)
        if data.dict_id() == 0:
            raise RejectedError("the zstd dictionary has no id, so it is not that of Jetstream")
        self._decompressor = zstandard.ZstdDecompressor(dict_data=data)
        self._max_bytes = max_bytes

    def decoded(self, frame: bytes) -> bytes | None:
        """Returns the JSON of a frame; None if it is damaged, too long, or made with another dictionary."""
        if not frame.startswith(_MAGIC):
            return frame
        try:
            size = zstandard.get_frame_parameters(frame).content_size
            # A frame that tells its size is decompressed as a whole, whatever the limit.
            if size != zstandard.CONTENTSIZE_UNKNOWN and size > self._max_bytes:
                return None
            return self._decompressor.decompress(frame, max_output_size=self._max_bytes)
        except zstandard.ZstdError:
            return None
