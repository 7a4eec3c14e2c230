#!/usr/bin/env bash
# Calls one task of the module; leaves its report in slipway-report/. Everything that an event says comes in by variables.
set -euo pipefail

secrets="$RUNNER_TEMP/slipway"
link="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID"

# One name for each report of a run: of several services, each has its own.
echo "name=$(printf '%s-%s-%s' "$TASK" "$ENVIRONMENT" "$SERVICE" | tr -c 'A-Za-z0-9._-' -)" >> "$GITHUB_OUTPUT"

# In Slipway's own repository the module is what is checked out; a workflow that is called from another one brings it along.
# An older GitHub does not tell which one that is: then it is taken for the repository's own.
main="refs/heads/$DEFAULT_BRANCH"
WORKFLOW_REF="${WORKFLOW_REF:-$GITHUB_WORKFLOW_REF}"
owner="${WORKFLOW_REF%%/.github/*}"
if [ "$owner" = "$GITHUB_REPOSITORY" ]; then
  module=.
  identity="$GITHUB_SERVER_URL/${WORKFLOW_REF%%@refs/*}@$main"
else
  module="github.com/$owner@$WORKFLOW_SHA"
  identity="$GITHUB_SERVER_URL/$WORKFLOW_REF"
fi

registry="ghcr.io/$GITHUB_REPOSITORY/${SERVICE##*/}"
registry="${registry%/.}"
publishing=(with-registry --address "${REGISTRY:-${registry,,}}"
  --username "${REGISTRY_USERNAME:-$GITHUB_ACTOR}" --password "file:$secrets/registry-password")

# The signer: the key of the cosign.pub that is in the repository, else the workflow itself, keyless, as it runs on the main branch.
policy=(with-verification --repository "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY")
if [ -f cosign.pub ] || [ -f "$SERVICE/cosign.pub" ]; then
  signer=(with-signer --key "file:$secrets/signing-key" --password "file:$secrets/signing-password")
else
  policy+=(--certificate-identity "${CERTIFICATE_IDENTITY:-$identity}" --ref "$main")
  signer=(with-signer --request-url "${ACTIONS_ID_TOKEN_REQUEST_URL:-}" --request-token env:ACTIONS_ID_TOKEN_REQUEST_TOKEN)
fi

call() {
  dagger --progress plain call --mod "${MODULE:-$module}" --source . --path "$SERVICE" "$@" report export --path slipway-report
}

case "$TASK" in
  rehearse)
    call ship
    ;;
  stage)
    call "${publishing[@]}" "${policy[@]}" "${signer[@]}" \
      with-environment --name staging --kubeconfig "file:$secrets/kubeconfig" \
      ship --link "$link"
    ;;
  promote)
    reviewers='[.[] | select(.state == "approved") | .user.login] | unique | join(", ")'
    approvals="repos/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/approvals"
    approver="${APPROVED_BY:-$(gh api "$approvals" --jq "$reviewers")}"
    staging="$secrets/kubeconfig"
    if [ -s "$secrets/staging-kubeconfig" ]; then
      staging="$secrets/staging-kubeconfig"
    fi
    call "${publishing[@]}" "${policy[@]}" \
      with-environment --name staging --kubeconfig "file:$staging" \
      with-environment --name production --kubeconfig "file:$secrets/kubeconfig" \
      environment --name staging verification --commit "$GITHUB_SHA" \
      promote --to production --approved-by "$approver" --link "$link" smoke
    ;;
  rollback)
    call with-environment --name "$ENVIRONMENT" --kubeconfig "file:$secrets/kubeconfig" \
      environment --name "$ENVIRONMENT" rollback --digest "$DIGEST" --link "$link"
    ;;
  rescan)
    call "${publishing[@]}" with-environment --name "$ENVIRONMENT" --kubeconfig "file:$secrets/kubeconfig" \
      environment --name "$ENVIRONMENT" live rescan
    ;;
  *)
    echo "task '$TASK' is unknown: rehearse, stage, promote, rollback or rescan" >&2
    exit 2
    ;;
esac

# A failed shipment still has its report; this ends the job as the shipment ended.
jq --exit-status '.result == "passed"' slipway-report/report.json > /dev/null
