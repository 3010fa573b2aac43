"""The embedded stack: Kafka, Valkey, PostgreSQL and S3 servers on loopback, from Python wheels and Java jars.

`LocalStack(Path(".emostream")).up()` starts the servers that are not running and returns the addresses. The servers
keep running when the process that started them ends. `down()` stops them, from any process. All data is kept in the
data directory, except that of S3, which is in memory. The optional packages (extra `local`) are imported only when a
server is started.

`jetstream.JetstreamServer` stands for the network Bluesky. It is not part of the stack, and runs in a thread.
"""

from connectors.local.endpoints import Endpoints
from connectors.local.server import ServerStatus
from connectors.local.stack import SERVERS, LocalStack

__all__ = ["SERVERS", "Endpoints", "LocalStack", "ServerStatus"]
