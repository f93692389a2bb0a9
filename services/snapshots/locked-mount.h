/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A mount whose flags (nodev, nosuid, read-only) stay: not even root of a user namespace takes them off. */

/* mount is attached nowhere; point, a directory in that one, is in use for an instant. The descriptor of
 * another mount of the same, attached nowhere, or -errno. */
int locked_mount_make(int mount, int directory, const char *point);
