#!/bin/sh
# A configuration file or a subcommand alone means the registry; anything else is run as it stands.
set -eu
case "${1:-}" in
    *.yaml | *.yml) set -- registry serve "$@" ;;
    serve | garbage-collect | help | -*) set -- registry "$@" ;;
esac
exec "$@"
