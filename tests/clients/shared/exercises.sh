# What the programs of command line clients share: a line of JSON for each thing that was exercised.
failed=0

# exercise "what" function: it passes when the function ends with 0, with every command in it under `set -e`.
exercise() {
  local passed=true
  if ! bash -euo pipefail -c "$(declare -f); $2"; then
    passed=false
    failed=1
  fi
  printf '\n{"exercised": "%s", "passed": %s}\n' "$1" "$passed"
}

# The file is a PNG that is not empty.
is_png() {
  [ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ]
}
