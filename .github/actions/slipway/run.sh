#!/usr/bin/env bash
# Calls one task of the module; leaves its report in report/. Everything that an event says comes in by variables.
set -euo pipefail

secrets="$RUNNER_TEMP/slipway"
link="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID"
repository="ghcr.io/$GITHUB_REPOSITORY"

# Who signs: the key of the cosign.pub that is in the repository, else this workflow of main, keyless.
trust=(with-trust --repository "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY")
if [ -f cosign.pub ] || [ -f "$SERVICE/cosign.pub" ]; then
  signer=(with-signer --key "file:$secrets/signing-key" --password "file:$secrets/signing-password")
else
  trust+=(--signed-by "${SIGNED_BY:-$GITHUB_SERVER_URL/${GITHUB_WORKFLOW_REF%%@refs/*}@refs/heads/main}")
  signer=(with-signer --request-url "${ACTIONS_ID_TOKEN_REQUEST_URL:-}" --request-token env:ACTIONS_ID_TOKEN_REQUEST_TOKEN)
fi

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
    call "${trust[@]}" "${signer[@]}" ship --registry "${REGISTRY:-${repository,,}}" \
      --username "$GITHUB_ACTOR" --password "file:$secrets/registry-password" \
      --kubeconfig "file:$secrets/kubeconfig" --link "$link"
    ;;
  promote)
    reviewers='[.[] | select(.state == "approved") | .user.login] | unique | join(", ")'
    approvals="repos/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/approvals"
    approver="${APPROVED_BY:-$(gh api "$approvals" --jq "$reviewers")}"
    call "${trust[@]}" environment --name staging --kubeconfig "file:$secrets/kubeconfig" proof --commit "$GITHUB_SHA" \
      promote --to production --approved-by "$approver" --link "$link" \
      --username "$GITHUB_ACTOR" --password "file:$secrets/registry-password" smoke
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
