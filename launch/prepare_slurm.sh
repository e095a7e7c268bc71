#!/usr/bin/env bash
#SBATCH --job-name=prepare
#SBATCH --array=0-7
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
#
# Prepares a cohort on several hosts: each task of a Slurm array writes its part of one store on a shared file system,
# and the last one to end puts the store together. Submit it from the clone; array ids must start at 0:
#
#   export COHORT=mimic_iv_ecg SOURCE=/data/mimic-iv-ecg/1.0 OUT=/data/stores/mimic_iv_ecg
#   sbatch --array=0-15 launch/prepare_slurm.sh
#
# A task that was killed goes on where it was when it is submitted again: sbatch --array=3 would be another division of
# the work, so submit the whole array; tasks whose part is done end at once.
#
#   COHORT  name of the cohort                        SOURCE  folder of its files, or the CSV of a table
#   OUT     folder of the store                       PYTHON  interpreter, default python: activate the environment first
#
# Arguments are handed on: sbatch launch/prepare_slurm.sh --rate=100
set -euo pipefail
: "${COHORT:?name of the cohort}" "${SOURCE:?where the files of the cohort are}" "${OUT:?folder of the store to write}"
: "${SLURM_ARRAY_TASK_ID:?submit this with sbatch --array=0-N}" "${SLURM_ARRAY_TASK_COUNT:?submit this with sbatch --array=0-N}"

cd "${SLURM_SUBMIT_DIR:-.}"
exec "${PYTHON:-python}" -m kmerl_jax.prepare \
    --cohort="$COHORT" --source="$SOURCE" --out="$OUT" \
    --shard="$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
    --workers="${SLURM_CPUS_PER_TASK:-$(nproc)}" "$@"
