#!/usr/bin/env bash
# A scheduler and two executors on loopback: runs a query on them and on one process, and compares
# the rows.
#
#   cluster.sh CROPS.parquet             both executors stay
#   cluster.sh CROPS.parquet kill 10     one executor is killed with -9 after 10 seconds
#
# CROPS has the columns id and image. BIN is the folder of svtrv2-ballista and svtrv2-datafusion, PORT
# the first of six ports, CORES the tasks of an executor, PARTITIONS the parts of the query, SETTINGS
# are statements before it. EXECUTOR_TIMEOUT is the time in seconds after which a silent executor's
# tasks are run again.
set -euo pipefail
crops=$1
mode=${2:-stay}
after=${3:-10}
bin=${BIN:-$(dirname "$0")/../../target/release}
port=${PORT:-50050}
cores=${CORES:-1}
timeout=${EXECUTOR_TIMEOUT:-20}
settings=${SETTINGS:-}
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

# Waits for a port: of the process $2, whose log is $3.
wait_for() {
    for _ in $(seq 600); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        kill -0 "$2" 2>/dev/null || break
        sleep 0.1
    done
    echo "nothing listens at port $1"
    cat "$3"
    exit 1
}

export RUST_LOG=${RUST_LOG:-warn}
"$bin/svtrv2-ballista" scheduler --port "$port" --executor-timeout "$timeout" >"$work/scheduler.log" 2>&1 &
pids+=($!)
wait_for "$port" $! "$work/scheduler.log"
for number in 1 2; do
    own=$((port + 2 * number))
    mkdir "$work/executor$number"
    "$bin/svtrv2-ballista" executor --port "$own" --scheduler-port "$port" --cores "$cores" \
        --heartbeat $((timeout / 4 + 1)) --work-dir "$work/executor$number" \
        >"$work/executor$number.log" 2>&1 &
    pids+=($!)
    wait_for "$own" $! "$work/executor$number.log"
done
last=${pids[-1]}

query="SELECT id, read_text(image) AS result FROM '$crops'"
start=$SECONDS
if [ "$mode" = kill ]; then
    (sleep "$after" && kill -9 "$last" && echo "killed an executor after $after s") &
fi
if "$bin/svtrv2-ballista" sql --scheduler "df://127.0.0.1:$port" \
    "SET datafusion.execution.target_partitions = ${PARTITIONS:-8}; $settings $query" \
    >"$work/rows.json" 2>"$work/client.log"; then
    echo "the query ended after $((SECONDS - start)) s"
else
    echo "the query failed after $((SECONDS - start)) s: $(cat "$work/client.log")"
    exit 3
fi
wait_for $((port + 2)) "${pids[1]}" "$work/executor1.log"
if [ "$mode" = kill ] && kill -0 "$last" 2>/dev/null; then
    echo "the query was over before the executor was killed"
    exit 1
fi

"$bin/svtrv2-datafusion" sql "$settings $query" --format json 2>/dev/null | sort >"$work/expected.json"
sort "$work/rows.json" | cmp - "$work/expected.json"
echo "$(wc -l <"$work/expected.json") rows are those of one process"
