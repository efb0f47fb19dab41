#!/usr/bin/env bash
# Kills a run of a tiny cohort at random moments, resumes it, and compares every table with those of a run left alone,
# byte for byte. Not among the tests: it takes two runs and a start for each kill.
#   KILLS=5 SEED=1 tests/kills.sh        the whole book
#   UNTIL=dependence tests/kills.sh      up to a rule of the Snakefile
set -euo pipefail
cd "$(dirname "$0")/.."
KILLS=${KILLS:-3} RANDOM=${SEED:-1} UNTIL=${UNTIL:-}
house=$(mktemp -d)
git ls-files -z | xargs -0 cp --parents -t "$house"
ln -s "$PWD/.venv" "$house/.venv"
cd "$house"
cat > config/kills.yaml <<'CONFIG'
cohort: kills
title: Tiny cohort
layout: her2st
root: build/kills/raw
simulation: {seed: 0, coupling: 1.0}
sections: [A1, A2, B1]
panel: {size: 50}
backbones: [ridge]
k: 20
n_random_maps: 32
n_ceiling_splits: 1
CONFIG

# The copy's own code, and an environment that is never set up anew.
make_() { make -s -o .venv/ready PYTHONPATH="$house/src" COHORT=kills CORES="${CORES:-2}" "$@"; }
book() {
    make_ book ${UNTIL:+FLAGS="--cores ${CORES:-2} --rerun-incomplete --quiet rules --until $UNTIL --config file=config/kills.yaml"}
}
tables() { (cd build/kills && find . \( -name '*.csv*' -o -name '*.parquet' \) -not -path './book*' -not -path './html/*' |
    sort | xargs sha256sum); }
below() { for child in $(ps -o pid= --ppid "$1"); do below "$child"; echo "$child"; done; }

started=$SECONDS
book > alone.log 2>&1
whole=$((SECONDS - started))
tables > alone.txt
mv build/kills alone
echo "left alone: $whole s, $(wc -l < alone.txt) tables"

for ((kill_number = 1; kill_number <= KILLS; kill_number++)); do
    moment=$((1 + RANDOM % (whole * 2 / (KILLS + 1) + 1)))
    book > killed.log 2>&1 &
    run=$!
    for ((waited = 0; waited < moment; waited++)); do
        kill -0 "$run" 2> /dev/null || break
        sleep 1
    done
    # Every process of the run, as a power cut would; kernels have a process group of their own.
    # shellcheck disable=SC2046
    kill -9 $(below "$run") "$run" 2> /dev/null || true
    wait "$run" 2> /dev/null || true
    echo "kill $kill_number: after $waited s, $(find build/kills -type f 2> /dev/null | wc -l) files"
    if [ -n "$(ls .snakemake/locks 2> /dev/null)" ]; then
        book > locked.log 2>&1 && { echo "a lock was left and not seen"; exit 1; }
        grep -q "make unlock COHORT=kills" locked.log || { echo "$house/locked.log does not say make unlock"; exit 1; }
        make_ unlock > /dev/null 2>&1
    fi
done

book > resumed.log 2>&1 || { echo "it did not go on: $house/resumed.log"; exit 1; }
tables > resumed.txt
diff alone.txt resumed.txt || { echo "tables differ, see $house"; exit 1; }
if find build/kills -name '.partial-*' | grep .; then echo "half-written files in $house"; exit 1; fi
echo "after $KILLS kills: the same $(wc -l < resumed.txt) tables"
rm -rf "$house"
