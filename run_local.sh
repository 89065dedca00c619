#!/usr/bin/env bash
# The example, end to end on this machine: derives events from real purchases, starts fake vendors, and keeps them in
# step: first the whole history, then the two weeks after it, in a second run or (--serve) as they happen.
# usage: ./run_local.sh [--serve] [--keep-state] [--destinations all|NAME,…] [options of `profilecast run`, for both runs]
# --destinations: 6,000 customers into these instead, an audience and a trait, at 100 times the vendors' caps
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
here=$root/
if [ "$PWD" = "$root" ]; then here=; fi
out=${here}out
workspace=${here}examples/cdnow/workspace.yaml

keep_state=
serve=
destinations=
job_options=()
while [ $# -gt 0 ]; do
    case $1 in
    --keep-state) keep_state=yes ;;
    --serve) serve=yes ;;
    --destinations) destinations=${2:?"--destinations: expected all, or names with commas"} && shift ;;
    --destinations=*) destinations=${1#*=} ;;
    *) job_options+=("$1") ;;
    esac
    shift
done
if [ -n "$serve" ] && [ -n "$destinations" ]; then
    echo "--serve plays the example's own workspace: leave out one of --serve and --destinations" >&2
    exit 1
fi

"$root/scripts/setup.sh"
bin=$root/.venv/bin

# Any value will do for the sandbox. These replace what may be set: real secrets have no business here.
export BRAZE_API_KEY=sandbox-only-braze HUBSPOT_ACCESS_TOKEN=sandbox-only-hubspot \
    ZENDESK_CLIENT_SECRET=sandbox-only-zendesk ITERABLE_API_KEY=sandbox-only-iterable \
    FACEBOOK_ACCESS_TOKEN=sandbox-only-facebook WEBHOOK_SHARED_SECRET=sandbox-only-webhook

sandbox_options=()
customers=()
if [ -n "$destinations" ]; then
    out=$out/everywhere # with a state of its own
    workspace=$out/everywhere.yaml
    "$bin/python" -P -m examples.cdnow.everywhere make --destinations "$destinations" --out "$out"
    # shellcheck source=/dev/null
    source "$out/everywhere.env"
    customers=(--customers 6000) # evenly spread
    while IFS= read -r option; do sandbox_options+=("$option"); done <"$out/everywhere.caps"
fi

mkdir -p "$out"
if [ -z "$keep_state" ]; then rm -rf "$out/state" "$out/gateway"; fi
rm -rf "$out/events" "$out/sandbox.url"

echo "Deriving events from the purchases of ${customers[1]:-all 23,570} customers"
"$bin/python" -P -m examples.cdnow.derive --out "$out/events/history" --until 1998-03-31 ${customers[@]+"${customers[@]}"} | tail -n 1
"$bin/python" -P -m examples.cdnow.derive --out "$out/events/news" --since 1998-04-01 --until 1998-04-14 ${customers[@]+"${customers[@]}"} | tail -n 1

sandbox=
service=
stop_all() {
    for process in $service $sandbox; do
        kill "$process" 2>/dev/null || true
        wait "$process" || true
    done
    service=
    sandbox=
}
trap stop_all EXIT
set -m # a process group of its own: Ctrl-C is for the run, which still needs the sandbox while it ends
# A free port. A state that is kept belongs to its gateway, which then needs the port that it had.
port=0
if [ -e "$out/gateway" ]; then
    port=$(cat "$out/gateway")
    port=${port##*:}
fi
"$bin/profilecast" sandbox --workspace "$workspace" --port "$port" --ready-file "$out/sandbox.url" \
    --record "$out/requests.jsonl" ${sandbox_options[@]+"${sandbox_options[@]}"} >"$out/sandbox.log" 2>&1 &
sandbox=$!
set +m
while [ ! -e "$out/sandbox.url" ]; do
    if ! kill -0 "$sandbox" 2>/dev/null; then
        echo "The sandbox did not start:" >&2
        cat "$out/sandbox.log" >&2
        if [ "$port" != 0 ]; then echo "The state that is kept needs port $port: free it, or leave out --keep-state" >&2; fi
        exit 1
    fi
    sleep 0.1
done
gateway=$(cat "$out/sandbox.url")
echo "$gateway" >"$out/gateway"

run() {
    local code=0
    "$bin/profilecast" run --workspace "$workspace" --state "$out/state" --gateway "$gateway" "$@" \
        ${job_options[@]+"${job_options[@]}"} || code=$?
    # Among all destinations is one that requires what nobody in the example has (2: done, with rejections), and one that
    # works for hours on what it was sent (4: its calls wait). The table at the end says of each how it stands.
    case $code$destinations in
    0*) ;;
    [24]?*) ;;
    *) exit $code ;;
    esac
}
takes="At the vendors' real caps it takes about a minute"
if [ -n "$destinations" ]; then takes="With all destinations it takes about five minutes: most are told one call in a request"; fi
new=
if [ ! -e "$out/state" ]; then new=--new-state; fi
echo
echo "First sync: everything up to 1998-03-31. $takes; what is told already takes none."
run --now 1998-04-01T00:00:00Z $new --events "$out/events/history/*"
echo
if [ -z "$serve" ]; then
    echo "Incremental run: the two weeks after it."
    run --now 1998-04-15T00:00:00Z --events "$out/events/news/*"
else
    echo "The two weeks after it, played in a minute to a service that watches the folder."
    mkdir -p "$out/events/live"
    "$bin/profilecast" serve --workspace "$workspace" --state "$out/state" --gateway "$gateway" --status-port 0 \
        --events "$out/events/live/*.jsonl" >"$out/serve.log" 2>&1 &
    service=$!
    status=
    until [ -n "$status" ]; do # its first line says where it is
        if ! kill -0 "$service" 2>/dev/null; then
            echo "The service did not start:" >&2
            cat "$out/serve.log" >&2
            exit 1
        fi
        sleep 0.1
        status=$(sed -n 's/.* serving .* status=//p' "$out/serve.log" 2>/dev/null || true)
    done
    "$bin/python" -P -m examples.cdnow.play "$out"/events/news/*.jsonl --into "$out/events/live/news.jsonl" \
        --seconds 60 --status "$status"
    kill "$service"
    wait "$service" || true
    service=
    tail -n 3 "$out/serve.log"
fi
if [ -n "$destinations" ]; then
    echo
    "$bin/python" -P -m examples.cdnow.everywhere check --out "$out" --gateway "$gateway"
    exit
fi
stop_all
echo
cat "$out/sandbox.log"

cat <<END

What happened: the purchase history of a shop became events, and six marketing tools (stood in for by the sandbox, with
their real rate caps) were told what those events say about each customer. First they were told everything that is
wanted; of the two weeks after it only what changed, which is why that is so much shorter.

To look at:
  $workspace
      what is sent where
  $out/requests.jsonl
      every request as the vendors saw it, one JSON object per line
  $out/state/runs/
      a folder for each run: summary.json, and dead_letters.jsonl for what was rejected and why
  $out/state/state.db, $out/state/sent/
      what profilecast keeps: who is known, what was asked and told; SQLite, to be read with any client

Run it again with --keep-state: the same events say nothing new, so not one request is sent.
END
