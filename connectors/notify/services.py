"""Sends messages to the services that apprise knows. Blocking. This module wraps apprise, which takes long to load.

Apprise says only whether a service accepted a message, so what was not accepted is tried again. It keeps nothing on
the disk, follows no redirect, and its log lines go nowhere: they may contain addresses.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

from connectors.notify.message import Message
from connectors.notify.outcome import Delivered, Outcome, TryAgain, one_line

if TYPE_CHECKING:
    from apprise import AppriseAsset, NotifyBase

_LOGGER: Final = "apprise"


@dataclass(frozen=True)
class Service:
    """A service of apprise.

    Attributes:
        url: the address as apprise has it, such as `ntfys://TOPIC`. It contains secrets.
        picture: whether the picture is attached, if the service takes attachments.
        timeout_s: seconds in which the service must accept the message.
    """

    url: str = field(repr=False)
    picture: bool = False
    timeout_s: float = 15.0

    def send(self, message: Message) -> Outcome:
        """Send the subject and the text of a message.

        Raises:
            ValueError: Apprise cannot use the address.
        """
        from apprise import Apprise, NotifyFormat  # noqa: PLC0415 - takes long
        from apprise.attachment.memory import AttachMemory  # noqa: PLC0415

        plugin = _plugin(self.url)
        apprise = Apprise(asset=_asset())
        apprise.add(plugin)
        picture = None
        if self.picture and message.picture is not None and plugin.attachment_support:
            data = message.picture
            # apprise has no types for it
            picture = AttachMemory(data, name="chart.png", mimetype="image/png")  # type: ignore[no-untyped-call]
        result = apprise.notify(
            message.chat,
            title=message.chat_subject,
            body_format=NotifyFormat.TEXT,
            attach=picture,
            timeout=self.timeout_s,
            log_level=logging.WARNING,
        )
        if result:
            return Delivered(f"{plugin.service_name} accepted the message")
        said = [one_line(entry.message) for entry in result.logs()]
        return TryAgain(f"{plugin.service_name} did not accept the message" + (f": {said[-1]}" if said else ""))


def is_encrypted(url: str) -> bool:
    """Returns whether a service is reached with TLS.

    Raises:
        ValueError: Apprise cannot use the address.
    """
    plugin = _plugin(url)
    plain = plugin.protocol or ()
    return plugin.schema not in ((plain,) if isinstance(plain, str) else plain)


def host_of(url: str) -> str:
    """Returns the host in the address of a service; an empty text if it has none.

    Raises:
        ValueError: Apprise cannot use the address.
    """
    return str(_plugin(url).host or "")


def _plugin(url: str) -> NotifyBase:
    _asset()  # silences the log before apprise reads the address
    from apprise import Apprise  # noqa: PLC0415 - takes long

    plugin = Apprise.instantiate(url, asset=_asset(), suppress_exceptions=True)
    if plugin is None:
        raise ValueError("apprise does not know this kind of address, or it is incomplete")
    return plugin


@cache
def _asset() -> AppriseAsset:
    logger = logging.getLogger(_LOGGER)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    from apprise import AppriseAsset  # noqa: PLC0415 - takes long

    asset = AppriseAsset(storage_mode="memory", allow_templates=False)
    asset.app_id, asset.app_desc, asset.app_url = "emostream", "emostream", ""
    asset.http_redirects = False
    asset.async_mode = False
    return asset
