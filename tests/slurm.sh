#!/usr/bin/env bash
# Sets Slurm up on this machine alone, makes a tiny cohort's book on it with profiles/slurm, kills a job, resumes, takes
# Slurm down, and prints what the jobs asked for and used. Not among the tests: Debian, root, and half an hour.
#   tests/slurm.sh                   three small simulated sections
#   COHORT=toy tests/slurm.sh        a cohort of config/, with ridge
#   UNTIL=controls tests/slurm.sh    up to a rule of the Snakefile
set -euo pipefail
cd "$(dirname "$0")/.."
COHORT=${COHORT:-tiny} UNTIL=${UNTIL:-}
conf=/etc/slurm/slurm.conf
test ! -e "$conf" || { echo "$conf: this machine has a Slurm; the script is for one without"; exit 2; }
house=$(mktemp -d)
mkdir -p "$house"/{book,plugin,state,spool}

down() {
    # shellcheck disable=SC2046
    test -z "${run:-}" || kill -9 "$run" $(ps -o pid= --ppid "$run") 2> /dev/null || true
    scancel --user root 2> /dev/null || true
    for ((i = 0; i < 30; i++)); do squeue -h 2> /dev/null | grep -q . || break; sleep 1; done
    for daemon in slurmctld slurmd munged sampler; do
        test ! -f "$house/$daemon.pid" || kill "$(cat "$house/$daemon.pid")" 2> /dev/null || true
    done
    rm -f "$conf"
    test -z "${finished:-}" || rm -rf "$house"
}
trap down EXIT

# Slurm, of one node: this machine. The plugin drops SLURM_CONF, so its file lies where Slurm looks for it.
command -v slurmctld munged > /dev/null ||
    { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends slurm-wlm munge; }
node=$(hostname -s)
cat > "$conf" <<CONF
ClusterName=alone
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
StateSaveLocation=$house/state
SlurmdSpoolDir=$house/spool
SlurmctldPidFile=$house/slurmctld.pid
SlurmdPidFile=$house/slurmd.pid
SlurmctldLogFile=$house/slurmctld.log
SlurmdLogFile=$house/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# A job that takes more than it asked for is killed; memory that processes share counts once.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=UsePss,OverMemoryKill
JobAcctGatherFrequency=task=2
# The machine may be a slow one, and pages may wait for each other's core.
OverTimeLimit=60
JobCompType=jobcomp/filetxt
JobCompLoc=$house/jobs.txt
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc --all) RealMemory=$(free -m | awk '/Mem:/ {print $2}') State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
install -d -o munge -g munge /run/munge
pgrep -x munged > /dev/null || { runuser -u munge -- munged; cp /run/munge/munged.pid "$house/munged.pid"; }
slurmctld
slurmd
for ((i = 0; i < 30; i++)); do sinfo -h -o %T 2> /dev/null | grep -q idle && break; sleep 1; done
sinfo -h -o '%n: %T, %c cores, %m MB' || { cat "$house"/slurm*.log; exit 1; }

# The highest memory of each job, of every step of it, while it runs: nothing keeps it without a database.
while sleep 1; do
    squeue -h -t R -o '%i|%k|%m' 2> /dev/null | while read -r job; do
        sstat -a -n -P -o JobID,MaxRSS "${job%%|*}" 2> /dev/null | sed "s/^/$job|/" >> "$house/used.txt"
    done
done &
echo $! > "$house/sampler.pid"

git ls-files -z | xargs -0 cp --parents -t "$house/book"
ln -s "$PWD/.venv" "$house/book/.venv"
grep -o 'snakemake-executor-plugin-slurm[^"]*' pyproject.toml |
    xargs .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --target "$house/plugin" \
        snakemake-executor-plugin-slurm-jobstep==0.6.1
cd "$house/book"
cat > config/tiny.yaml <<'CONFIG'
cohort: tiny
title: Tiny cohort
layout: her2st
root: build/tiny/raw
simulation: {seed: 0, coupling: 1.0, lattice: [8, 7], n_genes: 200}
sections: [A1, A2, B1]
panel: {size: 50}
k: 20
n_random_maps: 32
n_ceiling_splits: 1
CONFIG
export PYTHONPATH="$house/book/src:$house/plugin"
book() {
    .venv/bin/snakemake book ${UNTIL:+--until $UNTIL} --profile profiles/slurm --slurm-status-command squeue \
        --slurm-no-account --config "file=config/$COHORT.yaml" 'backbones=[ridge]'
}

started=$SECONDS
book > killed.log 2>&1 &
run=$!
# Not the first jobs: what they made has to be kept.
until (($(wc -l < "$house/jobs.txt") >= 3)) && job=$(squeue -h -t R -o %i | head -1) && test -n "$job"; do
    kill -0 "$run" || { cat killed.log; exit 1; }
    sleep 2
done
scancel "$job"
wait "$run" && { echo "job $job was killed, and the run does not say so"; exit 1; }
run=
echo "job $job killed; after $((SECONDS - started)) s the run ended: $(grep -m1 '^ *Error in' killed.log)"

pages() { find "build/$COHORT" \( -path '*/pages/*' -o -path '*/runs/*' \) -name '*.ipynb' -printf '%T@ %p\n' | sort; }
pages > before.txt
started=$SECONDS
book > resumed.log 2>&1 || { cat resumed.log; exit 1; }
echo "resumed: $((SECONDS - started)) s"
if comm -23 before.txt <(pages) | grep .; then echo "pages that were there were made again"; exit 1; fi

echo
awk '{for (i = 1; i <= NF; i++) if ($i ~ /^JobState=/) n[$i]++} END {for (state in n) print n[state], "jobs", state}' \
    "$house/jobs.txt"
echo "MB asked, MB used (the larger of its runs, with Snakemake around it), used / asked, job"
awk -F'[|]' '
    {
        sub(/_wildcards.*/, "", $2); asked[$1] = $3 + 0; name[$1] = $2
        mb = $5 / 1024; of = $4 ~ /batch/ ? "around" : "run"  # runs of a group are one after another
        if (mb > used[$1, of]) used[$1, of] = mb
    }
    END {
        for (job in asked) {
            sum = used[job, "around"] + used[job, "run"]
            printf "%6d %6d %5.2f  %s\n", asked[job], sum, sum / asked[job], name[job]
        }
    }' "$house/used.txt" | sort -k3,3nr

echo "rule, MB, seconds: the most that a run of it took, for profiles/needs.csv"
find "build/$COHORT/benchmarks" -name '*.tsv' | while read -r file; do
    rule=${file#"build/$COHORT/benchmarks/"}
    rule=${rule%%/*}
    printf '%s\t%s\n' "${rule%.tsv}" "$(tail -1 "$file")"
done | awk -F'\t' '
    {if ($4 > mb[$1]) mb[$1] = $4; if ($2 > seconds[$1]) seconds[$1] = $2}
    END {for (rule in mb) printf "%s,%d,%d\n", rule, mb[rule] + 0.5, seconds[rule] + 0.5}' | sort
finished=yes
