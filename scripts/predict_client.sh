#!/usr/bin/env bash
# Classifies texts with the HTTP service, by curl and python3 alone.
set -euo pipefail

usage() {
  cat <<'END'
Usage: scripts/predict_client.sh TEXT…

Classifies each TEXT with POST /v1/predict/batch, and prints the answer as JSON.

Environment:
  EMOSTREAM_API_URL  address of the service; http://127.0.0.1:8000 by default
  EMOSTREAM_API_KEY  API key; needed as soon as the service has one

Exit code: 0; 1 if the service refuses or does not answer; 2 without a TEXT.

Example:
  scripts/predict_client.sh "what a lovely day" "I am so angry about this"
END
}

case ${1-} in
  -h | --help)
    usage
    exit 0
    ;;
  "")
    usage >&2
    exit 2
    ;;
esac

url=${EMOSTREAM_API_URL:-http://127.0.0.1:8000}
# curl reads the key from a file descriptor, because every user of the machine sees the arguments of a process.
headers() {
  printf 'Content-Type: application/json\n'
  if [[ -n ${EMOSTREAM_API_KEY-} ]]; then printf 'X-API-Key: %s\n' "$EMOSTREAM_API_KEY"; fi
}
body=$(python3 -c 'import json, sys; print(json.dumps({"texts": sys.argv[1:]}))' "$@")
if ! answer=$(curl --silent --show-error --fail-with-body --max-time 60 --header @<(headers) --data-binary @- \
  "${url%/}/v1/predict/batch" <<<"$body"); then
  [[ -z $answer ]] || echo "$answer" >&2
  exit 1
fi
echo "$answer"
