# Sourced by the other scripts: where things are, and how to say what went wrong.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
export npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false
logs=$root/build/logs
mkdir -p "$logs"

fail() {
  printf 'flagstream: %s\n' "$*" >&2
  exit 1
}

# step "building" LOG command...: runs it with output to LOG; one line for people, the log's end on failure.
step() {
  local title=$1 log=$2 began=$SECONDS
  shift 2
  printf '  %-44s' "$title" >&2
  if "$@" >"$log" 2>&1; then
    printf 'done in %d s\n' $((SECONDS - began)) >&2
  else
    printf 'failed\n' >&2
    tail -n 30 "$log" >&2
    fail "$title failed; the whole output is in $log"
  fi
}

# The same for ninja, whose "[done/all]" is shown on a terminal while it works.
step_of_ninja() {
  local title=$1 log=$2 watcher=
  if [ -t 2 ]; then
    : >"$log"
    while sleep 0.5; do
      printf '\r  %-44s%s' "$title" "$(tail -c 4096 "$log" | grep -aoE '^\[[0-9]+/[0-9]+\]' | tail -n 1)" >&2
    done &
    watcher=$!
  fi
  shift 2
  local status=0 began=$SECONDS
  [ -n "$watcher" ] || printf '  %-44s' "$title" >&2
  "$@" >"$log" 2>&1 || status=$?
  if [ -n "$watcher" ]; then
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    printf '\r  %-44s' "$title" >&2
  fi
  if [ $status -eq 0 ]; then
    printf 'done in %d s       \n' $((SECONDS - began)) >&2
  else
    printf 'failed\n' >&2
    tail -n 30 "$log" >&2
    fail "$title failed; the whole output is in $log"
  fi
}

# Compilers that fit into memory at once: about 1.2 GiB each with the heaviest sources.
build_jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/MemAvailable/ {print int($2 / 1228800)}' /proc/meminfo)
  [ "$memory" -ge 1 ] || memory=1
  [ "$memory" -lt "$cores" ] && echo "$memory" || echo "$cores"
}

# has COMMAND MAJOR.MINOR: it is here and prints at least this version.
has() {
  local command=$1 least=$2 found
  # shellcheck disable=SC2086
  found=$($command 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1) || return 1
  [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$least" "$found" | sort -V | head -n 1)" = "$least" ]
}
