#!/usr/bin/env bash
# What the official image's entry point does for a server that runs as an ordinary user: on an empty PGDATA initdb, then a server on its
# socket only that creates POSTGRES_DB and runs /docker-entrypoint-initdb.d/*; each time the server itself.
set -euo pipefail

first_start() {
  local user=${POSTGRES_USER:-postgres} password=${POSTGRES_PASSWORD:-}
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then password=$(< "$POSTGRES_PASSWORD_FILE"); fi
  if [ -z "$password" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
    echo >&2 "Error: Database is uninitialized and superuser password is not specified."
    exit 1
  fi
  local database=${POSTGRES_DB:-$user}
  initdb --username="$user" --pwfile=<(printf "%s\n" "$password") --auth-host=scram-sha-256 --auth-local=trust --encoding=UTF8 \
    --locale-provider=builtin --locale=C.UTF-8
  echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >> "$PGDATA/pg_hba.conf"
  pg_ctl --wait -o "-c listen_addresses= -c unix_socket_directories=/var/run/postgresql" start
  export PGHOST=/var/run/postgresql
  if [ "$database" != postgres ]; then
    psql --set ON_ERROR_STOP=1 --no-password --username "$user" --dbname postgres --set name="$database" <<< 'CREATE DATABASE :"name";'
  fi
  export POSTGRES_USER=$user POSTGRES_DB=$database
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh) if [ -x "$file" ]; then "$file"; else ( . "$file" ); fi ;;
      *.sql) psql --set ON_ERROR_STOP=1 --no-password --username "$user" --dbname "$database" --file "$file" ;;
      *) echo "ignoring $file" ;;
    esac
  done
  unset PGHOST
  pg_ctl --wait --mode fast stop
}

if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
if [ "$1" = postgres ]; then
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  if [ ! -s "$PGDATA/PG_VERSION" ]; then first_start; fi
  # The configuration that initdb writes in the official image: all addresses, and the socket where its clients look for it.
  set -- "$1" -c "listen_addresses=*" -c "unix_socket_directories=/var/run/postgresql" "${@:2}"
fi
exec "$@"
