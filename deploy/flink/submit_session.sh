#!/usr/bin/env bash
# Gives the streaming job to a Flink cluster that is there (a session cluster), and ends; the job goes on.
# usage: submit_session.sh [OPTION…]      further options of `profilecast run`, such as --bootstrap or
#                                         --savepoint_path=s3://…; see "Upgrades" in docs/streaming.md
# reads: JOB_ENDPOINT (HOST:PORT of Beam's job server, which runs in front of the cluster) WORKSPACE LOG EVENTS
#        PARALLELISM WORKERS, and KAFKA_OPTIONS if there are any
#
# A job server is needed. Beam can also hand its jar to Flink itself (--flink_submit_uber_jar), but then Flink begins
# without its state, whatever --savepoint_path says.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=options.sh
source "$here/options.sh"

kafka=()
[ -z "${KAFKA_OPTIONS:-}" ] || kafka=(--kafka-options "$KAFKA_OPTIONS")
read -ra events <<<"${EVENTS:?kafka://HOST:PORT/TOPIC, several with blanks between them}"

exec profilecast run --streaming --detach \
    --workspace "${WORKSPACE:?the workspace file}" --log "${LOG:?kafka://HOST:PORT/PREFIX}" \
    --events "${events[@]}" ${kafka[@]+"${kafka[@]}"} \
    --runner=PortableRunner --job_endpoint="${JOB_ENDPOINT:?HOST:PORT of the job server}" "${flink_options[@]}" "$@"
