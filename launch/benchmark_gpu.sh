#!/usr/bin/env bash
# Runs every benchmark on a machine with one GPU, and says how the numbers stand to what is aimed at.

usage() {
    cat <<'END'
Runs every benchmark on a machine with one GPU.

  launch/benchmark_gpu.sh OUT             all parts
  launch/benchmark_gpu.sh OUT PART...     some of them: store step vit_base end_to_end input inference text growth
  launch/benchmark_gpu.sh -h              shows this

OUT gets a JSON file and a log of each part, growth.png, and compiled programs. A part that fails is said and does not
stop the others; the status is then 1. In the end comes a table of what was found so far beside what is aimed at: also
alone, with the part "aims". A part that is run again takes the place of its last result; the store is made once.

Environment:
  STORE    folder of the store, default OUT/store; its simulated files are beside it, 120 KB a record and as much again
  RECORDS  how many are simulated, default 50000
  BATCH    ECGs a step, default 512, which leaves memory for PyTorch; growth has its own
  WORKERS  processes that read the store (data.workers), default 8
  SMALL    1: tiny sizes everywhere, to see in minutes, also without a GPU, that all of it runs
  PYTHON   interpreter, default python: activate the environment first
END
}

fail() {
    echo "error: $1; launch/benchmark_gpu.sh -h shows how" >&2
    exit 2
}

prepare() {
    [[ -e $store/manifest.json ]] ||
        "$python" -m kmerl_jax.prepare --cohort=demo --records="$records" --out="$store"
}

# The last of two flags of one name counts: the small sizes come after a part's own.
benchmark() { # NAME CONFIG ARGUMENTS...
    local name=$1 config=$2
    shift 2
    "$python" -m kmerl_jax.benchmark --config="configs/$config.py:mimic" --config.data.store="$store" \
        --config.text.encoder=lexical --config.train.batch_size="$batch" --json="$out/$name.json" "$@" "${small[@]}" \
        2>&1 | tee "$out/$name.log"
}

# JAX takes most of a GPU's memory when it starts, used or not: nothing would be left for PyTorch in the same process.
race() { # NAME ARGUMENTS...
    XLA_PYTHON_CLIENT_PREALLOCATE=false benchmark "$1" vit_tiny --what="$1" --peer "${@:2}"
}

run() { # PART
    case $1 in
        store) prepare ;;
        step) race step ;;
        vit_base) benchmark vit_base vit_base --what=step ;;
        end_to_end) prepare && benchmark end_to_end vit_tiny --what=end_to_end --seconds=70 --repeats=3 "${reading[@]}" ;;
        input) prepare && race input "${reading[@]}" ;;
        inference) race inference --seconds=2 ;;
        text) prepare && race text ;;
        growth)
            # Compilations are kept, so that one that was interrupted is soon where it was.
            prepare && JAX_COMPILATION_CACHE_DIR="$out/compilations" benchmark growth vit_tiny --what=growth \
                --seconds=2 --repeats=3 --picture="$out/growth.png" "${reading[@]}" "${growth[@]}"
            ;;
        aims) ;; # follow in any case
    esac
}

[[ ${1:-} != -h ]] || { usage && exit; }
[[ ${1:-} && ${1:-} != -* ]] || fail "no folder for the results"
parts=("${@:2}")
((${#parts[@]})) || parts=(store step vit_base end_to_end input inference text growth)
for part in "${parts[@]}"; do
    [[ " store step vit_base end_to_end input inference text growth aims " == *" $part "* ]] || fail "no part $part"
done

set -uo pipefail
mkdir -p "$1" || exit
out=$(cd "$1" && pwd)
store=$(realpath -m "${STORE:-$out/store}")
python=${PYTHON:-python}
records=${RECORDS:-50000} batch=${BATCH:-512}
reading=(--config.data.workers="${WORKERS:-8}")
small=() growth=()
# Growth is to find out what fits; 0.75 is what JAX takes otherwise.
export XLA_CLIENT_MEM_FRACTION="${XLA_CLIENT_MEM_FRACTION:-0.9}"
if [[ ${SMALL:-} == 1 ]]; then
    records=${RECORDS:-150} batch=${BATCH:-8}
    reading=(--config.data.workers="${WORKERS:-0}")
    small=(--seconds=0.1 --repeats=2 --queries=9 --config.model.depth=1 --config.model.query_depth=1
        --config.data.min_positives=5 --config.evaluation.batch_size=1)
    growth=("--batches=4,8" "--sizes=vit_tiny,vit_small")
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

failed=()
for part in "${parts[@]}"; do
    echo "== $part, $(date +%T)"
    run "$part" || failed+=("$part")
done
echo "== aims"
"$python" -m launch.aims "$out" || failed+=(aims)
if ((${#failed[@]})); then
    echo "failed: ${failed[*]}; what was wrong is above, and in $out" >&2
    exit 1
fi
