#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# tests/conformance: crt-oci against the specification's statements, with crun and runc beside it.
set -uo pipefail

source_root=$(readlink -f "$(dirname "$0")/../..")
runtimes=(crt-oci="$(command -v "${CRT_OCI:-crt-oci}")")
for peer in crun runc; do
        program=$(command -v "$peer") && runtimes+=("$peer=$program")
done
exec "$source_root/tests/conformance/conformance" --only "${ONLY:-}" "${runtimes[@]}"
