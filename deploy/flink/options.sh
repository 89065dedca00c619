# Options that the job needs on Flink, whoever submits it; to be sourced. PARALLELISM and WORKERS are read.
# shellcheck shell=bash
flink_options=(
    # Subtasks. One Python process folds some 750 facts a second: see "Capacity" in docs/streaming.md.
    --parallelism="${PARALLELISM:?how many subtasks}"
    # Parts that the state is kept in. It bounds the parallelism, and is for good: a savepoint with another is refused.
    --max_parallelism="${MAX_PARALLELISM:-512}"
    # Python processes beside each TaskManager: as many as it has slots. The default, 1, makes all slots share one.
    --sdk_worker_parallelism="${WORKERS:?as many as a TaskManager has slots}"
    # Where they are: a worker pool on the same machine or in the same pod, which has profilecast installed, and the
    # variables of Kafka's options. LOOPBACK would run them in the process that submits.
    --environment_type=EXTERNAL
    --environment_config="${WORKER_POOL:-localhost:50000}"

    # Workers have everything already. Otherwise a list of packages would be handed to them through the disk of the job
    # server, which they cannot read.
    --experiments=disable_logging_submission_environment

    # Without checkpoints there is no state after a crash, and offsets are never committed. What was folded since the
    # last one is folded again, so a shorter interval means fewer calls that go twice.
    --checkpointing_interval="${CHECKPOINT_MILLIS:-10000}"
    # Flink commits a bundle when it is full, or after so long. With checkpoints, and without these two, what is
    # written waits for a large bundle: seconds, where there are few events.
    --max_bundle_size=5000
    --max_bundle_time_mills=100
    # The last checkpoint stays when the job is cancelled or fails: with it, the next job begins. The cluster's
    # configuration has this too, but Beam's job server does not read that.
    --externalized_checkpoints_enabled
    --retain_externalized_checkpoints_on_cancellation
)
