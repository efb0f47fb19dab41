#!/usr/bin/env bash
# Kills runs of a tiny cohort at random moments, resumes them, and compares every table with those of a run left alone,
# byte for byte. In turns the whole run is killed, and one kernel of it. A book that is done is made anew until there
# were so many kills. Not among the tests: it takes a run, and about a sixth of one for each kill.
#   KILLS=50 MINUTES=30 SEED=1 tests/kills.sh    the whole book; no more kills after so many minutes
#   UNTIL=dependence tests/kills.sh              up to a rule of the Snakefile
set -euo pipefail
cd "$(dirname "$0")/.."
KILLS=${KILLS:-4} MINUTES=${MINUTES:-60} RANDOM=${SEED:-1} UNTIL=${UNTIL:-}
house=$(mktemp -d)
git ls-files -z | xargs -0 cp --parents -t "$house"
ln -s "$PWD/.venv" "$house/.venv"
cd "$house"
cat > config/kills.yaml <<'CONFIG'
cohort: kills
title: Tiny cohort
layout: her2st
root: build/kills/raw
simulation: {seed: 0, coupling: 1.0, lattice: [8, 7], n_genes: 200}
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

kills=0 books=0 again=0
touch pages.txt
kill_all() {
    # Every process of the run, as a power cut would; kernels have a process group of their own.
    # shellcheck disable=SC2046
    kill -9 "$run" $(below "$run") 2> /dev/null || true
}
kill_one() {
    local kernels
    mapfile -t kernels < <(below "$run" | xargs -r ps -o pid=,args= -p | awk '/warm kernel/ {print $1}')
    ((${#kernels[@]})) || return 1
    kill -9 "${kernels[RANDOM % ${#kernels[@]}]}"
}
ended() {
    # Of the pages that were there at the last kill, those made again.
    find build/kills/pages build/kills/runs -name '*.ipynb' -printf '%T@ %p\n' 2> /dev/null | sort > now.txt || true
    again=$((again + $(comm -23 pages.txt now.txt | wc -l)))
    cp now.txt pages.txt
}
compared() {
    tables > resumed.txt
    diff alone.txt resumed.txt || { echo "tables differ, see $house"; exit 1; }
    if find build/kills -name '.partial-*' | grep .; then echo "half-written files in $house"; exit 1; fi
    books=$((books + 1))
    echo "book $books, after $kills kills: the same $(wc -l < resumed.txt) tables"
}

while ((kills < KILLS && SECONDS < started + 60 * MINUTES)); do
    moment=$((1 + RANDOM % (whole / 3 + 1)))
    book > killed.log 2>&1 &
    run=$!
    for ((waited = 0; waited < moment; waited++)); do
        kill -0 "$run" 2> /dev/null || break
        sleep 1
    done
    how= status=0
    if kill -0 "$run" 2> /dev/null; then
        kills=$((kills + 1))
        if ((kills % 2 == 0)) && kill_one; then how="a kernel"; else kill_all; how="the run"; fi
    fi
    wait "$run" 2> /dev/null || status=$?
    ended
    test -z "$how" ||
        echo "kill $kills, of $how: after $waited s, $(wc -l < pages.txt) pages are there, $again were made again"
    if ((status == 0)); then  # a kernel killed before it said anything is started again
        compared
        rm -rf build/kills
        : > pages.txt
    elif [ -z "$how" ]; then
        unlocked killed.log
    elif [ "$how" = "a kernel" ]; then
        grep -q 'notebooks/.* failed' killed.log || { echo "what failed is not said: $house/killed.log"; exit 1; }
    fi
done

book > resumed.log 2>&1 || { unlocked resumed.log; book > resumed.log 2>&1; }
ended
compared
echo "$kills kills, $books books, $again pages were made again"
rm -rf "$house"
