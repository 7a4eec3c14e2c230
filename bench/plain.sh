#!/bin/sh
# What Slipway is measured against: the same steps by hand, as a plain script, with the tools of the machine.
# Usage: plain.sh SERVICE_FOLDER BASE_IMAGE_ARCHIVE WORK_FOLDER
# Needs on PATH: node 24 and npm, initdb and postgres (run as user `postgres`), buildah, skopeo, docker-registry, curl.
set -eu
service=$1 base=$2 work=$3
registry=127.0.0.1:5057 database=5458 port=3057
commit=$(git -C "$service" rev-parse HEAD)
mkdir -p "$work"
stop() { kill $(cat "$work"/*.pid 2>/dev/null) 2>/dev/null || true; rm -rf "$work/app" "$work/data" "$work/registry"; }
trap stop EXIT
step() { now=$(date +%s.%N); [ -z "${last-}" ] || echo "$name $(echo "$now - $start" | bc)"; last=1 name=$1 start=$now; }

step install
cp -r "$service" "$work/app" && cd "$work/app" && npm ci --no-audit --no-fund --silent
step lint;        npm run --silent lint
step typecheck;   npm run --silent typecheck
step unit;        npm test --silent >/dev/null
step integration
mkdir -p "$work/data" && chown postgres "$work" "$work/data"
su postgres -s /bin/sh -c "PATH=$PATH initdb -D $work/data -A trust -U slipway --no-sync >/dev/null"
su postgres -s /bin/sh -c "PATH=$PATH exec postgres -D $work/data -p $database -k $work >$work/postgres.log 2>&1" & echo $! >"$work/postgres.pid"
until pg_isready -q -h 127.0.0.1 -p $database; do sleep 0.1; done
export DATABASE_URL=postgres://slipway@127.0.0.1:$database/postgres
npm run --silent test:integration >/dev/null
step build;       COMMIT=$commit BUILT=2026-01-01T00:00:00Z npm run --silent build
step image
npm ci --no-audit --no-fund --silent --omit=dev --omit=optional
container=$(buildah from --quiet "oci-archive:$base" 2>/dev/null)
buildah copy --quiet "$container" node_modules /app/node_modules >/dev/null
buildah copy --quiet "$container" dist /app/dist >/dev/null
buildah copy --quiet "$container" package.json /app/package.json >/dev/null
buildah config --user 1001:1001 --workingdir /app --cmd '' --entrypoint '["node","dist/main.js"]' "$container" 2>/dev/null
buildah commit --quiet --rm "$container" slipway-bench >/dev/null 2>&1
step push
cat > "$work/registry.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "$registry"}
END
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 & echo $! >"$work/registry.pid"
until curl -fs "http://$registry/v2/" >/dev/null; do sleep 0.1; done
buildah push --quiet --tls-verify=false --digestfile "$work/digest" slipway-bench "docker://$registry/harbour:$commit"
step run
running=$(buildah from --quiet --tls-verify=false --pull-always "docker://$registry/harbour@$(cat "$work/digest")" 2>/dev/null)
root=$(buildah mount "$running")
chroot "$root" /bin/sh -c "cd /app && node dist/migrate.js --dry-run >/dev/null && node dist/migrate.js >/dev/null"
chroot --userspec 1001:1001 "$root" /bin/sh -c "cd /app && PORT=$port LOG_LEVEL=warn exec node dist/main.js" & echo $! >"$work/app.pid"
step smoke
until curl -fs "http://127.0.0.1:$port/readyz" >/dev/null; do sleep 0.1; done
curl -fs "http://127.0.0.1:$port/version" | grep -q "$commit"
cat > "$work/smoke.mjs" <<END
import roundTrip from "$service/smoke.mjs";
await roundTrip("http://127.0.0.1:$port");
END
node "$work/smoke.mjs"
step end
buildah umount "$running" >/dev/null; buildah rm "$running" >/dev/null; buildah rmi --force slipway-bench >/dev/null
