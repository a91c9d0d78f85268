# curl, with the commands of the documentation as they stand there.
. ./exercises.sh

# Configured:
curl -s "$PINXIT_SERVER/v1/models" -H "Authorization: Bearer $PINXIT_KEY"
# Used:

# The commands of a page for a route, with the address and the key of this server in them.
commands_of() {
  local found
  found=$(awk -v route="$2" '/^curl http/ && index($0, route) {inside = 1} inside {print} !/\\$/ {inside = 0}' \
    "$PINXIT_REPOSITORY/$1")
  [ -n "$found" ]
  found=${found//http:\/\/127.0.0.1:8000/$PINXIT_SERVER}
  printf '%s\n' "${found//<API_KEY>/$PINXIT_KEY}"
}

url_in() {
  grep -oE '"url": ?"http[^"]+"' "$1" | grep -oE 'http[^"]+'
}

readme() {
  commands_of README.md /v1/images/generations >generate.sh
  bash -eu generate.sh >generated.json 2>progress
  curl -sSf -o generated.png "$(url_in generated.json)"
  is_png generated.png
}
exercise "the README's" readme

edit() {
  commands_of docs/wire.md /v1/images/edits >edit.sh
  bash -eu edit.sh >edited.json 2>progress
  curl -sSf -o edited.png "$(url_in edited.json)"
  is_png edited.png
}
exercise "edit with a form" edit

stream() {
  curl -sSfN "$PINXIT_SERVER/v1/images/generations" -H "Authorization: Bearer $PINXIT_KEY" \
    -H "Content-Type: application/json" \
    -d '{"prompt": "a red apple", "size": "256x256", "stream": true, "partial_images": 2}' >events
  [ "$(grep -c '^event: image_generation.partial_image$' events)" = 2 ]
  [ "$(grep -c '^event: image_generation.completed$' events)" = 1 ]
}
exercise "stream" stream

refusal() {
  local status
  status=$(curl -sS -o refused.json -w '%{http_code}' "$PINXIT_SERVER/v1/models" -H "Authorization: Bearer sk-wrong")
  [ "$status" = 401 ]
  grep -q '"type": \?"authentication_error"' refused.json
}
exercise "errors" refusal

exit $failed
