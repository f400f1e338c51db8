#!/bin/sh
# keep_output.sh <file> <command>...: runs the command and keeps its output in the file; prints it too on failure.
file=$1
shift
"$@" >"$file" 2>&1 && exit 0
status=$?
cat "$file" >&2
exit $status
