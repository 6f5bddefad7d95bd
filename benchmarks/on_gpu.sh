#!/usr/bin/env bash
# Everything worth doing on a GPU within eight minutes, ordered by value. Each phase has a limit of
# its own and never stops the next; results lie in $OUT as they come.
#
#     OUT=results bash benchmarks/on_gpu.sh               # on a machine with a GPU
#     REHEARSE=1 OUT=/tmp/r bash benchmarks/on_gpu.sh     # without one: CuPy on the CPU, small
#     PHASES="1 2" bash benchmarks/on_gpu.sh              # these phases alone
#
# The report takes them from benchmarks/results: rows.jsonl as cpu_vs_gpu.jsonl, curve.json as
# baby-gpt-curve.json, summary.txt as on_gpu.txt.
cd "$(dirname "$0")/.." || exit 1
OUT=${OUT:-benchmarks/results}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
PHASES=${PHASES:-0 1 2 3 4 5}
PYTHON=${PYTHON:-python3}
export PYTHONPATH="$PWD:$PWD/tests:$PYTHONPATH" PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
SUMMARY="$OUT/summary.txt"
: > "$SUMMARY"
BENCH="$PYTHON benchmarks/cpu_vs_gpu.py --devices cuda --append --out $OUT/rows.jsonl"
TESTS=(tests/fast/test_cuda*.py)
WORKERS=12 QUICK="" FULL="--full" TEXT=shakespeare WRITER="gpt2 --batch 1 --repeats 3"
if [ -n "$REHEARSE" ]; then
    export TINYGRAD_LM_CUPY_ON_CPU=1 REHEARSE_WITH=cupy_on_cpu
    TESTS=(tests/fast/test_cuda_kernels.py -k gelu)
    WORKERS=1 QUICK="--quick" FULL="" TEXT=builtin WRITER="gpt-cpu --batch 1 --prompt 2 --tokens 2 --repeats 1" # needs no download
fi

# phase NUMBER NAME LIMIT COMMAND...: runs the command for at most LIMIT seconds, all of its output
# in NAME.log, and writes a line about it.
phase() {
    local number=$1 name=$2 limit=$3 start=$SECONDS
    shift 3
    case " $PHASES " in *" $number "*) ;; *) return 0 ;; esac
    timeout -k 5 "$limit" "$@" >> "$OUT/$name.log" 2>&1
    local rc=$?
    local last
    last=$(grep -v '^ *$' "$OUT/$name.log" | tail -n 1 | cut -c 1-160)
    echo "[$number] $name: rc $rc, $((SECONDS - start)) s: $last" | tee -a "$SUMMARY"
}

build() {
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    $PYTHON -c "
import importlib.metadata as m
print(*(f'{d.name} {d.version}' for d in m.distributions() if d.name and d.name.lower().split('-')[0]
    in ('numpy', 'cupy', 'torch', 'triton', 'pytest', 'nvidia', 'ml_dtypes')), sep=', ')"
    $PYTHON setup.py -q build_ext --inplace
}
export PYTHON
export -f build

phase 0 log 60 bash -c build
phase 1 tests 90 $PYTHON -m pytest -p xdist.plugin -n $WORKERS -q -W default "${TESTS[@]}"
phase 2 log 120 $BENCH --only gpt2 $FULL $QUICK --budget 80
phase 2 log 60 $BENCH --only mlp $QUICK --budget 40
phase 2 log 80 $BENCH --only baby $QUICK --budget 60
phase 3 log 80 $PYTHON benchmarks/shakespeare.py --device cuda --dtype bfloat16 --data $TEXT \
    --seconds 65 --curve "$OUT/curve.json" $QUICK
phase 3 generate 40 $PYTHON benchmarks/generate.py --device cuda --dtype bfloat16 --work $WRITER
if [ -z "$REHEARSE" ]; then
    for tool in memcheck racecheck; do
        phase 4 sanitizer 40 compute-sanitizer --tool $tool --error-exitcode 9 \
            $PYTHON benchmarks/every_kernel.py
    done
else
    phase 4 sanitizer 40 $PYTHON benchmarks/every_kernel.py
fi
phase 5 log 120 $BENCH $QUICK --devices cuda cpu --budget 100 --only mlp gpt-cpu matmul attention \
    rnn moons gpt2-short generation transfer op
echo "all: $SECONDS s" | tee -a "$SUMMARY"
[ -f "$OUT/generate.log" ] && cat "$OUT/generate.log" >> "$SUMMARY"
