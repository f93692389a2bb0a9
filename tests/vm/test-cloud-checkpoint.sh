#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vm: --kernel qemu --memory 2G
# only: long
# Checkpoint and restore with Debian's own kernel, which its criu was made for.
exec "$(dirname "$0")/../host/test-oci-checkpoint.sh"
