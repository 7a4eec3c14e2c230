#!/usr/bin/env bash
# Installs the Dagger CLI: this version and no other, checked against its checksum. The engine of that version comes with it.
set -euo pipefail

version=0.21.8
case "$(uname --machine)" in
  x86_64) platform=linux_amd64 sum=53e226c7da8fb75171e58c35759d736d961ce8b3a12db0baa7b7107954fccc5a ;;
  aarch64) platform=linux_arm64 sum=cd0df4885f2050082932b4abc5a6aad9a733f6aa4e7d8474740558517ffec4af ;;
  *)
    echo "no Dagger CLI is pinned for $(uname --machine): add its checksum to install.sh" >&2
    exit 1
    ;;
esac

archive="$RUNNER_TEMP/dagger.tar.gz"
curl --fail --silent --show-error --location --retry 3 --output "$archive" \
  "https://dl.dagger.io/dagger/releases/$version/dagger_v${version}_$platform.tar.gz"
echo "$sum  $archive" | sha256sum --check --strict --quiet
mkdir -p "$RUNNER_TEMP/dagger"
tar --extract --gzip --file "$archive" --directory "$RUNNER_TEMP/dagger" dagger
echo "$RUNNER_TEMP/dagger" >> "$GITHUB_PATH"
