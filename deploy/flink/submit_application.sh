#!/usr/bin/env bash
# The streaming job as a Flink application: a cluster of its own for this one job. First a jar, then the application.
# usage: submit_application.sh jar OUT [OPTION…]      publishes the workspace, and writes the job into the file OUT
#        submit_application.sh start TARGET JAR [-D…] starts it; TARGET is kubernetes-application or yarn-application
# reads: for `jar` JOB_SERVER_JAR (Beam's job server for Flink, in one file; it needs Java), WORKSPACE LOG EVENTS
#        PARALLELISM WORKERS, and KAFKA_OPTIONS if there are any
#        for `start` FLINK_HOME; JAR is local:///… in the application's image for Kubernetes, a path for YARN
#
# The jar has the starting places of the topics in it, and the number of the job, by which a log has one job: an older
# jar is refused where a newer one was started. So it is made when it is to be started, not before. A job that
# goes on from a savepoint needs its place twice: `jar … --savepoint_path=PLACE`, so that it is made as one that has its
# state, and `start … -Dexecution.savepoint.path=PLACE`, since Flink does not look into the jar for it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

jar() {  # OUT [OPTION…]
    local out=${1:?the jar to write}
    shift
    # shellcheck source=options.sh
    source "$here/options.sh"
    local kafka=() events
    [ -z "${KAFKA_OPTIONS:-}" ] || kafka=(--kafka-options "$KAFKA_OPTIONS")
    read -ra events <<<"${EVENTS:?kafka://HOST:PORT/TOPIC, several with blanks between them}"
    profilecast run --streaming \
        --workspace "${WORKSPACE:?the workspace file}" --log "${LOG:?kafka://HOST:PORT/PREFIX}" \
        --events "${events[@]}" ${kafka[@]+"${kafka[@]}"} \
        --runner=FlinkRunner --flink_version="${FLINK_VERSION:-1.19}" \
        --flink_job_server_jar="${JOB_SERVER_JAR:?where the jar of Beam is that takes jobs}" \
        --output_executable_path="$out" "${flink_options[@]}" "$@"
}

start() {  # TARGET JAR [-D…]
    local target=${1:?kubernetes-application or yarn-application} application=${2:?the jar}
    shift 2
    "${FLINK_HOME:?where Flink is}/bin/flink" run-application --target "$target" "$@" "$application"
}

case ${1:-} in
    jar | start) "$@" ;;
    *) sed -n '3,4s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 1 ;;
esac
