#!/usr/bin/env bash
# Everything worth doing on a GPU within eight minutes, ordered by value: what no GPU has measured
# comes first. Each phase has a limit of its own and never stops the next; results lie in $OUT as
# they come: rows.jsonl, what was printed in log.log, a line for each phase in summary.txt. A phase
# for which no time is left is left out, and said to be.
#
#     OUT=results bash benchmarks/on_gpu.sh               # on a machine with a GPU
#     REHEARSE=1 OUT=/tmp/r bash benchmarks/on_gpu.sh     # without one: CuPy on the CPU, small
#     OUT=more PHASES="6 7 8 9" bash benchmarks/on_gpu.sh # these alone, as those that were left out
#
# Phase 8 trains on tiny Shakespeare, which is downloaded, or lies as tinyshakespeare.txt in the
# folder that TINYGRAD_LM_DATA names; nothing else needs a network.
#
# The report takes the results from benchmarks/results: rows.jsonl as cpu_vs_gpu.jsonl, summary.txt
# as on_gpu.txt (of two calls, one after the other), curve.json as baby-gpt-curve.json.
cd "$(dirname "$0")/.." || exit 1
OUT=${OUT:-benchmarks/results}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
PHASES=${PHASES:-0 1 2 3 4 5 6 7 8 9}
TOTAL=${TOTAL:-480}
PYTHON=${PYTHON:-python3}
export PYTHON PYTHONPATH="$PWD:$PWD/tests:$PYTHONPATH" PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
SUMMARY="$OUT/summary.txt"
: > "$SUMMARY"
TESTS=(tests/fast/test_cuda*.py)
WORKERS=12 QUICK="" CPU="" TEXT=shakespeare BIG="--only gpt2 --sizes 64"
WRITER="gpt2 --batch 1 --repeats 3"
MEMCHECK="compute-sanitizer --error-exitcode 9 --tool memcheck" RACECHECK=${MEMCHECK/mem/race}
if [ -n "$REHEARSE" ]; then # needs no download
    export TINYGRAD_LM_CUPY_ON_CPU=1 REHEARSE_WITH=cupy_on_cpu
    TESTS=(tests/fast/test_cuda_kernels.py -k "gelu and even")
    WORKERS=1 QUICK="--quick" CPU="--only mlp matmul gelu --threads 1" TEXT=builtin BIG="--only gpt2"
    MEMCHECK="echo" RACECHECK="echo" # tests run it
    WRITER="gpt-cpu --batch 1 --prompt 2 --tokens 3 --repeats 1"
fi
BENCH="$PYTHON benchmarks/cpu_vs_gpu.py $QUICK --append --out $OUT/rows.jsonl"

# phase NUMBER NAME LIMIT COMMAND...: runs the command for at most LIMIT seconds, all of its output
# in NAME.log, and writes a line about it. Few files, as not every machine gives many back.
phase() {
    local number=$1 name=$2 limit=$3 start=$SECONDS rc last
    shift 3
    case " $PHASES " in *" $number "*) ;; *) return 0 ;; esac
    [ -n "$REHEARSE" ] && limit=$((3 * limit)) # beside other tests, on two cores
    limit=$((limit < TOTAL - SECONDS ? limit : TOTAL - SECONDS))
    if [ "$limit" -lt 10 ]; then
        echo "[$number] $name: left out, as the time is up" | tee -a "$SUMMARY"
        return 0
    fi
    timeout -s INT -k 10 "$limit" "$@" >> "$OUT/$name.log" 2>&1 # INT: pytest then says what failed
    rc=$?
    last=$(grep -v '^ *$' "$OUT/$name.log" | tail -n 1 | cut -c 1-160)
    echo "[$number] $name: rc $rc, $((SECONDS - start)) s: $last" | tee -a "$SUMMARY"
}

build() {
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    $PYTHON -c "
import importlib.metadata as m
print(*sorted(f'{d.name} {d.version}' for d in m.distributions() if d.name and d.name.split('-')[0]
    in ('numpy', 'cupy', 'torch', 'triton', 'pytest', 'nvidia', 'ml_dtypes')), sep=', ')"
    $PYTHON setup.py -q build_ext --inplace
}
export -f build

phase 0 log 60 bash -c build
phase 1 log 140 $PYTHON -m pytest -p xdist.plugin -n $WORKERS -q -W default "${TESTS[@]}"
phase 1 log 40 $MEMCHECK $PYTHON benchmarks/every_kernel.py
phase 2 log 110 $BENCH --devices cuda --budget 100 --only mlp baby
phase 3 generate 60 $PYTHON benchmarks/generate.py --device cuda --dtype bfloat16 --work $WRITER
phase 4 log 60 $BENCH --devices cuda --budget 50 --only matmul attention ops transfers
phase 5 log 60 $BENCH --devices cuda --budget 50 --only gpt-cpu width rnn moons generation gpt2-short
phase 6 log 50 $RACECHECK $PYTHON benchmarks/every_kernel.py
phase 7 log 50 $BENCH --devices cpu --budget 40 $CPU
phase 8 log 55 $PYTHON benchmarks/shakespeare.py --device cuda --dtype bfloat16 --data $TEXT \
    --seconds 40 --curve "$OUT/curve.json" $QUICK
phase 9 log 80 $BENCH --devices cuda --budget 60 $BIG
echo "all: $SECONDS s" | tee -a "$SUMMARY"
[ -f "$OUT/generate.log" ] && cat "$OUT/generate.log" >> "$SUMMARY"
[ -f "$OUT/rows.jsonl" ] && $PYTHON benchmarks/cpu_vs_gpu.py --report --out "$OUT/rows.jsonl"
