#!/usr/bin/env bash
# One issue for each service and environment: opened when a scan of what runs there fails or warns (of an ignore that expires
# soon), updated while it does, closed when there is nothing left.
set -euo pipefail

test -f slipway-report/report.json || exit 0
title="Slipway: the scan of $SERVICE in $ENVIRONMENT"
number="$(gh issue list --repo "$GITHUB_REPOSITORY" --state open --limit 1000 --json number,title,author |
  jq --raw-output --arg title "$title" 'map(select(.title == $title and .author.is_bot))[0].number // empty')"

if jq --exit-status '.result == "passed" and (.scan.warnings | length == 0)' slipway-report/report.json > /dev/null; then
  test -z "$number" || gh issue close "$number" --repo "$GITHUB_REPOSITORY" --comment "The scan of today found nothing."
  exit
fi
"$GITHUB_ACTION_PATH/body.sh" "<!-- slipway -->" > slipway-report/body.md
if [ -n "$number" ]; then
  gh issue edit "$number" --repo "$GITHUB_REPOSITORY" --body-file slipway-report/body.md
else
  gh issue create --repo "$GITHUB_REPOSITORY" --title "$title" --body-file slipway-report/body.md
fi
