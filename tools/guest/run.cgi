#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# Runs the script that is the request's body; the answer's last line is its exit code.
printf 'Content-Type: text/plain\r\n\r\n'
script=$(mktemp)
head -c "${CONTENT_LENGTH:-0}" >"$script"
sh "$script" 2>&1
echo "exit $?"
rm -f "$script"
