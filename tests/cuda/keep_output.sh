#!/bin/sh
# keep_output.sh <file> <command>...: runs the command and keeps what it says in the file; says it too where the command fails.
file=$1
shift
"$@" >"$file" 2>&1 && exit 0
status=$?
cat "$file" >&2
exit $status
