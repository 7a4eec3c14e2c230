#!/bin/bash
# Starts PostgreSQL; at first start it makes the cluster, the user and the database that the environment asks for.
# Understood: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB (each also as …_FILE), POSTGRES_HOST_AUTH_METHOD,
# POSTGRES_INITDB_ARGS, PGDATA, and *.sql, *.sql.gz and *.sh in /docker-entrypoint-initdb.d.
set -euo pipefail

fail() {
    printf 'postgres: %s\n' "$1" >&2
    exit 1
}

# Give variable $1 the content of the file named by $1_FILE, or the default $2.
setting() {
    local file_variable="$1_FILE" value="${!1:-}"
    if [ -n "${!file_variable:-}" ]; then
        [ -z "$value" ] || fail "$1 and $1_FILE exclude each other"
        value="$(< "${!file_variable}")"
    fi
    export "$1"="${value:-$2}"
    unset "$file_variable"
}

sql() {
    psql --quiet --no-psqlrc --no-password --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" "$@"
}

make_cluster() {
    setting POSTGRES_PASSWORD ''
    setting POSTGRES_USER postgres
    setting POSTGRES_DB "$POSTGRES_USER"
    local method="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}"
    if [ -z "$POSTGRES_PASSWORD" ] && [ "$method" != trust ]; then
        fail 'POSTGRES_PASSWORD is not set; set it, or POSTGRES_HOST_AUTH_METHOD=trust to let everybody in'
    fi
    # shellcheck disable=SC2086 # the arguments are words, by the contract of the official image
    initdb --no-sync --username="$POSTGRES_USER" ${POSTGRES_PASSWORD:+--pwfile=/proc/self/fd/3} \
        ${POSTGRES_INITDB_ARGS:-} 3<<< "$POSTGRES_PASSWORD"
    printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"

    # Not on TCP: whoever waits for the port must not find it before everything is ready.
    pg_ctl --pgdata="$PGDATA" --options="-c listen_addresses='' -c fsync=off" --silent --wait start
    if [ "$POSTGRES_DB" != postgres ]; then
        sql --dbname=postgres --set=name="$POSTGRES_DB" <<< 'CREATE DATABASE :"name";'
    fi
    run_scripts
    pg_ctl --pgdata="$PGDATA" --mode=fast --silent --wait stop
}

run_scripts() {
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
            *.sh) if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
            *.sql) sql --dbname="$POSTGRES_DB" --file="$script" ;;
            *.sql.gz) gunzip --stdout "$script" | sql --dbname="$POSTGRES_DB" ;;
        esac
    done
}

[ "${1:-}" = "${1#-}" ] || set -- postgres "$@"

if [ "${1:-}" = postgres ]; then
    if [ "$(id -u)" = 0 ]; then
        install --directory --owner=postgres --group=postgres --mode=3777 /var/run/postgresql
        install --directory --owner=postgres --group=postgres --mode=0700 "$PGDATA"
        find "$PGDATA" ! -user postgres -exec chown postgres '{}' +
        exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
    fi
    [ -s "$PGDATA/PG_VERSION" ] || make_cluster
fi
exec "$@"
