#!/usr/bin/env bash
# Loads the HTTP service at a steady rate, and writes a chart of the latencies. A wrapper of `emostream stress`.
set -euo pipefail

usage() {
  cat <<'END'
Usage: scripts/stress_test.sh [RATE [SECONDS]] [OPTION…]

Sends RATE requests a second (default 100) for SECONDS (default 30) to the HTTP service, and writes stress.png.
Further options are those of `emostream stress`; `emostream stress --help` lists them.

Environment:
  EMOSTREAM_API_URL  address of the service; http://127.0.0.1:8000 by default
  EMOSTREAM_API_KEY  API key; needed as soon as the service has one
  STRESS_PLOT        file of the chart; stress.png by default

Example:
  scripts/stress_test.sh 500 60 --workload predict --connections 128
END
}

if [[ ${1-} == -h || ${1-} == --help ]]; then
  usage
  exit 0
fi
rate=100 seconds=30
if [[ ${1-} =~ ^[0-9.]+$ ]]; then rate=$1 && shift; fi
if [[ ${1-} =~ ^[0-9.]+$ ]]; then seconds=$1 && shift; fi
if ! command -v emostream >/dev/null; then
  echo "stress_test.sh: emostream is not on the PATH; activate its environment first" >&2
  exit 1
fi
exec emostream stress --rate "$rate" --duration "$seconds" --plot "${STRESS_PLOT-stress.png}" "$@"
