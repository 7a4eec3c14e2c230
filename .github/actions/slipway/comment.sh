#!/usr/bin/env bash
# One comment on the pull request, updated in place.
set -euo pipefail

test -f report/report.md || exit 0
gh pr comment "$NUMBER" --repo "$GITHUB_REPOSITORY" --edit-last --create-if-none --body-file report/report.md
