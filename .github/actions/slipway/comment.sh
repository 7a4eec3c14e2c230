#!/usr/bin/env bash
# One comment for each service on the pull request, updated in place.
set -euo pipefail

test -f slipway-report/report.md || exit 0
mark="<!-- slipway: ${SERVICE//[<>]/} -->"
"$GITHUB_ACTION_PATH/body.sh" "$mark" > slipway-report/body.md

comments="repos/$GITHUB_REPOSITORY/issues/$NUMBER/comments"
id="$(gh api --paginate --slurp "$comments" |
  jq --raw-output --arg mark "$mark" 'add | map(select(.user.type == "Bot" and (.body | startswith($mark))))[0].id // empty')"
if [ -n "$id" ]; then
  gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$id" --field body=@slipway-report/body.md
else
  gh api --silent --method POST "$comments" --field body=@slipway-report/body.md
fi
