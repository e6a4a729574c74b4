#!/bin/sh
# Starts compose's Alertmanager with the shipped configuration, but with the mail catcher as its mail server.
set -eu
from=${1:-/etc/alertmanager}
to=${2:-/alertmanager/config}
mkdir -p "$to"
rm -rf "$to/templates"
cp -r "$from/templates" "$to/templates"
sed 's/^  smtp_smarthost: .*/  smtp_smarthost: mail:1025\n  smtp_require_tls: false/' \
  "$from/alertmanager.yml" > "$to/alertmanager.yml"
[ -z "${2:-}" ] || exit 0
exec /bin/alertmanager --config.file="$to/alertmanager.yml" --storage.path=/alertmanager
