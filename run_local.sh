#!/usr/bin/env bash
# The example, end to end on this machine: derives events from real purchases, starts fake vendors, and keeps them in
# step in two runs, first the whole history and then the two weeks after it.
# usage: ./run_local.sh [--keep-state] [options of `profilecast run`, for both runs]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
here=$root/
if [ "$PWD" = "$root" ]; then here=; fi
out=${here}out
workspace=${here}examples/cdnow/workspace.yaml

keep_state=
job_options=()
for option in "$@"; do
    if [ "$option" = --keep-state ]; then keep_state=yes; else job_options+=("$option"); fi
done

"$root/scripts/setup.sh"
bin=$root/.venv/bin

# Any value will do for the sandbox. These replace what may be set: real secrets have no business here.
export BRAZE_API_KEY=sandbox-only-braze HUBSPOT_ACCESS_TOKEN=sandbox-only-hubspot \
    ZENDESK_API_TOKEN=sandbox-only-zendesk ITERABLE_API_KEY=sandbox-only-iterable \
    FACEBOOK_ACCESS_TOKEN=sandbox-only-facebook WEBHOOK_SHARED_SECRET=sandbox-only-webhook

mkdir -p "$out"
if [ -z "$keep_state" ]; then rm -rf "$out/state"; fi
rm -rf "$out/events" "$out/sandbox.url"

echo "Deriving events from the purchases of all 23,570 customers"
"$bin/python" -P -m examples.cdnow.derive --out "$out/events/history" --until 1998-03-31 | tail -n 1
"$bin/python" -P -m examples.cdnow.derive --out "$out/events/news" --since 1998-04-01 --until 1998-04-14 | tail -n 1

sandbox=
stop_sandbox() {
    if [ -n "$sandbox" ]; then
        kill "$sandbox" 2>/dev/null || true
        wait "$sandbox" || true
        sandbox=
    fi
}
trap stop_sandbox EXIT
set -m # a process group of its own: Ctrl-C is for the run, which still needs the sandbox while it ends
"$bin/profilecast" sandbox --workspace "$workspace" --port 0 --ready-file "$out/sandbox.url" \
    --record "$out/requests.jsonl" >"$out/sandbox.log" 2>&1 &
sandbox=$!
set +m
while [ ! -e "$out/sandbox.url" ]; do
    if ! kill -0 "$sandbox" 2>/dev/null; then
        echo "The sandbox did not start:" >&2
        cat "$out/sandbox.log" >&2
        exit 1
    fi
    sleep 0.1
done

run() {
    "$bin/profilecast" run --workspace "$workspace" --state "$out/state" --gateway "$(cat "$out/sandbox.url")" "$@" \
        ${job_options[@]+"${job_options[@]}"}
}
echo
echo "First sync: everything up to 1998-03-31. At the vendors' real caps it takes about a minute; what is told already takes none."
run --now 1998-04-01T00:00:00Z --events "$out/events/history/*"
echo
echo "Incremental run: the two weeks after it."
run --now 1998-04-15T00:00:00Z --events "$out/events/news/*"
stop_sandbox
echo
cat "$out/sandbox.log"

cat <<END

What happened: the purchase history of a shop became events, and two runs told six marketing tools (stood in for by
the sandbox, with their real rate caps) what those events say about each customer. The first run told everything
that is wanted. The second told only what had changed since, which is why it is so much shorter.

To look at:
  $workspace
      what is sent where
  $out/requests.jsonl
      every request as the vendors saw it, one JSON object per line
  $out/state/runs/
      a folder for each run: summary.json, and dead_letters.jsonl for what was rejected and why
  $out/state/
      what profilecast keeps between runs

Run it again with --keep-state: the same events say nothing new, so not one request is sent.
END
