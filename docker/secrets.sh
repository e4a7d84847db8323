#!/bin/sh
# Makes what docker/compose.yaml keeps secret, once: passwords, and a certificate for this machine, signed by itself.
# Files that are there stay as they are, so that a certificate or an address of your own can take their place.
set -eu
umask 022
mkdir -p "$(dirname "$0")/secrets"
cd "$(dirname "$0")/secrets"
chmod 0700 . # the files are open to the users inside the containers, the directory to nobody else

password() {
    od -An -N20 -tx1 /dev/urandom | tr -d ' \n'
}

[ -e clickhouse_password ] || password >clickhouse_password
[ -e clickhouse_url ] || printf 'clickhouse://fanfinity:%s@clickhouse:9000/fanfinity' "$(cat clickhouse_password)" >clickhouse_url
[ -e grafana_password ] || password >grafana_password
if ! [ -e tls_certificate ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 397 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1' -keyout tls_key -out tls_certificate 2>/dev/null
    chmod 0600 tls_key # read by nginx's first process, as root
fi
