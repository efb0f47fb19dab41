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
# Processes below one, parents first: none is left to say or to tidy up what ends the next.
below() {
    local child
    for child in $(ps -o pid= --ppid "$1"); do echo "$child"; below "$child"; done
}
unlocked() {
    grep -q "make unlock COHORT=kills" "$1" || { echo "it does not go on: $house/$1"; exit 1; }
    make_ unlock > /dev/null 2>&1
    echo "unlocked"
}

started=$SECONDS
book > alone.log 2>&1
whole=$((SECONDS - started))
tables > alone.txt
mv build/kills alone
echo "left alone: $whole s, $(wc -l < alone.txt) tables"

kills=0
while ((kills < KILLS)); do
    moment=$((1 + RANDOM % (whole * 2 / (KILLS + 1) + 1)))
    book > killed.log 2>&1 &
    run=$!
    for ((waited = 0; waited < moment; waited++)); do
        kill -0 "$run" 2> /dev/null || break
        sleep 1
    done
    if kill -0 "$run" 2> /dev/null; then
        # Every process of the run, as a power cut would; kernels have a process group of their own.
        # shellcheck disable=SC2046
        kill -9 "$run" $(below "$run") 2> /dev/null || true
        wait "$run" 2> /dev/null || true
        kills=$((kills + 1))
        echo "kill $kills: after $waited s, $(find build/kills -type f 2> /dev/null | wc -l) files"
    else
        wait "$run" && break
        unlocked killed.log
    fi
done

book > resumed.log 2>&1 || { unlocked resumed.log; book > resumed.log 2>&1; }
tables > resumed.txt
diff alone.txt resumed.txt || { echo "tables differ, see $house"; exit 1; }
if find build/kills -name '.partial-*' | grep .; then echo "half-written files in $house"; exit 1; fi
echo "after $kills kills: the same $(wc -l < resumed.txt) tables"
rm -rf "$house"
