"""The guarded network client that all sources use.

addresses   which addresses are public. Pure
dialer      resolves a name and lets through only the addresses that may be connected to
status      maps HTTP statuses to errors. Pure
endpoint    checks the address of a server that is given as an option. Pure
http        `open_http`: bounded answers and bounded lines
websocket   `open_websocket`: bounded messages

No proxy of the environment is used: a proxy would resolve the names, and the guard would check its address instead.
"""

from connectors.retry_after import http_date, retry_after_s
from connectors.sources.net.dialer import PrivateAddressError
from connectors.sources.net.endpoint import host_of_endpoint
from connectors.sources.net.http import Answer, HttpClient, TooLargeError, host_of, open_http
from connectors.sources.net.status import check_status
from connectors.sources.net.websocket import WebSocket, open_websocket

__all__ = [
    "Answer",
    "HttpClient",
    "PrivateAddressError",
    "TooLargeError",
    "WebSocket",
    "check_status",
    "host_of",
    "host_of_endpoint",
    "http_date",
    "open_http",
    "open_websocket",
    "retry_after_s",
]
