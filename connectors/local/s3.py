"""The embedded S3: the server of moto in a process of its own, with its data in memory."""

from __future__ import annotations

import sys
from importlib.metadata import version

import httpx

from connectors.local.endpoints import S3_ACCESS_KEY_ID, S3_REGION
from connectors.local.ports import HOST
from connectors.local.process import Launch
from connectors.local.server import NotAnsweringError, Ports, Server, package_directory
from connectors.local.state import StackState

# moto finds the service of a request in the scope of its credentials. It does not check the signature.
_AUTHORIZATION = (
    f"AWS4-HMAC-SHA256 Credential={S3_ACCESS_KEY_ID}/20250101/{S3_REGION}/s3/aws4_request, "
    "SignedHeaders=host, Signature=none"
)


class S3Server(Server):
    """The S3 server of moto. It loses its buckets when it stops; `emostream init` creates and fills them again."""

    name = "s3"
    title = "S3 (moto)"

    def check(self) -> None:
        """Find moto, and flask, which its extra `server` installs."""
        package_directory("moto")
        package_directory("flask")

    def launch(self, ports: Ports, state: StackState) -> Launch:
        """Returns the command, which runs `connectors.local.moto_server` with this Python interpreter."""
        # -P: files in the working directory do not shadow modules.
        argv = (sys.executable, "-P", "-m", "connectors.local.moto_server", HOST, str(ports["port"]))
        return self.marked(argv)

    def probe(self, ports: Ports, state: StackState, timeout_s: float) -> str:
        """List the buckets over plain HTTP, because importing boto3 takes longer than moto's start."""
        # verify=False saves loading the certificates, which plain HTTP does not need.
        client = httpx.Client(timeout=timeout_s, trust_env=False, verify=False)  # noqa: S501
        try:
            with client:
                answer = client.get(f"http://{HOST}:{ports['port']}/", headers={"Authorization": _AUTHORIZATION})
        except httpx.HTTPError as exc:
            raise NotAnsweringError(str(exc)) from exc
        if answer.status_code != httpx.codes.OK or b"ListAllMyBucketsResult" not in answer.content:
            raise NotAnsweringError(f"it answered {answer.status_code}, not a list of buckets")
        return version("moto")
