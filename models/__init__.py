"""Models: the classifier protocol, model packages and their registry in S3, serving and training."""

import os

# ONNX Runtime would otherwise send events about its use to its maker, and write them to the home folder until it can.
# It reads this when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
