#!/usr/bin/env bash
# Prints the report as the text of an issue or comment: under a line by which it is found again, and no longer than GitHub takes.
set -euo pipefail

jq --raw-input --slurp --raw-output --arg mark "$1" --argjson most 60000 \
  '$mark + "\n" + .[:$most] + if length > $most then "\n\n… the rest stands in the report, an artifact of the run." else "" end' \
  slipway-report/report.md
