"""The embedded stack: real Kafka, Valkey, PostgreSQL and S3 servers on loopback, out of wheels and jars.

`LocalStack(Path(".emostream")).up()` starts what is not running yet and returns the addresses. The servers outlive the
process that started them; `down()` stops them, from any process. Everything but S3 (in memory) is kept in the data
directory. The optional packages (extra `local`) are imported only when a server is started.
"""

from connectors.local.endpoints import Endpoints
from connectors.local.server import ServerStatus
from connectors.local.stack import SERVERS, LocalStack

__all__ = ["SERVERS", "Endpoints", "LocalStack", "ServerStatus"]
