"""The embedded S3: moto's server in a process of its own, in memory."""

from __future__ import annotations

import sys
from importlib.metadata import version

import httpx

from connectors.local.endpoints import S3_ACCESS_KEY_ID, S3_REGION
from connectors.local.ports import HOST
from connectors.local.process import Launch
from connectors.local.server import NotAnsweringError, Ports, Server, package_directory
from connectors.local.state import StackState

# moto routes a request by the service named in its credential scope; it checks no signature.
_AUTHORIZATION = (
    f"AWS4-HMAC-SHA256 Credential={S3_ACCESS_KEY_ID}/20250101/{S3_REGION}/s3/aws4_request, "
    "SignedHeaders=host, Signature=none"
)


class S3Server(Server):
    """moto forgets its buckets when it stops; `emostream init` fills them again."""

    name = "s3"
    title = "S3 (moto)"

    def check(self) -> None:
        """Find moto, and what its extra `server` adds."""
        package_directory("moto")
        package_directory("flask")

    def launch(self, ports: Ports, state: StackState) -> Launch:
        """Run with this interpreter; `-P` keeps files in the working directory from shadowing modules."""
        argv = (sys.executable, "-P", "-m", "moto.server", "-H", HOST, "-p", str(ports["port"]))
        return self.marked(argv)

    def probe(self, ports: Ports, state: StackState, timeout_s: float) -> str:
        """List the buckets (in plain HTTP: boto3 takes longer to import than moto to start)."""
        # To load the certificates takes longer than the rest, and plain HTTP needs none.
        client = httpx.Client(timeout=timeout_s, trust_env=False, verify=False)  # noqa: S501
        try:
            with client:
                answer = client.get(f"http://{HOST}:{ports['port']}/", headers={"Authorization": _AUTHORIZATION})
        except httpx.HTTPError as exc:
            raise NotAnsweringError(str(exc)) from exc
        if answer.status_code != httpx.codes.OK or b"ListAllMyBucketsResult" not in answer.content:
            raise NotAnsweringError(f"answered {answer.status_code}, not a list of buckets")
        return version("moto")
