#!/bin/sh
# Arguments alone are redis-server's, as in the official image.
set -e
case ${1:-} in
  -* | *.conf) set -- redis-server "$@" ;;
esac
exec "$@"
