#!/usr/bin/env bash
# Calls one task of the module; leaves its report in report/. Everything that an event says comes in by variables.
set -euo pipefail

secrets="$RUNNER_TEMP/slipway"
link="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID"
repository="ghcr.io/$GITHUB_REPOSITORY"

call() {
  dagger --progress plain call --mod "$MODULE" --source . --path "$SERVICE" "$@" report export --path report
}

environment() {
  call environment --name "$1" --kubeconfig "file:$secrets/kubeconfig" "${@:2}"
}

case "$TASK" in
  rehearse)
    call ship
    ;;
  stage)
    call ship --registry "${REGISTRY:-${repository,,}}" \
      --username "$GITHUB_ACTOR" --password "file:$secrets/registry-password" \
      --kubeconfig "file:$secrets/kubeconfig" --link "$link"
    ;;
  promote)
    reviewers='[.[] | select(.state == "approved") | .user.login] | unique | join(", ")'
    approvals="repos/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/approvals"
    approver="${APPROVED_BY:-$(gh api "$approvals" --jq "$reviewers")}"
    environment staging proof --commit "$GITHUB_SHA" \
      promote --to production --approved-by "$approver" --link "$link" smoke
    ;;
  rollback)
    environment "$ENVIRONMENT" rollback --digest "$DIGEST" --link "$link"
    ;;
  rescan)
    environment "$ENVIRONMENT" live --username "$GITHUB_ACTOR" --password "file:$secrets/registry-password" rescan
    ;;
  *)
    echo "task '$TASK' is unknown: rehearse, stage, promote, rollback or rescan" >&2
    exit 2
    ;;
esac

# A shipment that failed still has its report; this ends the job as it ended.
jq --exit-status '.result == "passed"' report/report.json > /dev/null
