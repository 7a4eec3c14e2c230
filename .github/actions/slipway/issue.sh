#!/usr/bin/env bash
# One issue for each environment: opened when a scan of what runs there fails, updated while it does, closed when it passes.
set -euo pipefail

test -f report/report.json || exit 0
title="Slipway: findings in what runs in $ENVIRONMENT"
number="$(gh issue list --repo "$GITHUB_REPOSITORY" --state open --limit 1000 --json number,title |
  jq --raw-output --arg title "$title" 'map(select(.title == $title))[0].number // empty')"

if jq --exit-status '.result == "passed"' report/report.json > /dev/null; then
  test -z "$number" || gh issue close "$number" --repo "$GITHUB_REPOSITORY" --comment "The scan of today passed."
elif test -n "$number"; then
  gh issue edit "$number" --repo "$GITHUB_REPOSITORY" --body-file report/report.md
else
  gh issue create --repo "$GITHUB_REPOSITORY" --title "$title" --body-file report/report.md
fi
