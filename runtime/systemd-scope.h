/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The systemd cgroup driver of crt-oci (--systemd-cgroup): a container is a transient scope. The bus is
 * spoken by a program of its own (crt-oci-scope), so that the static runtime needs no bus library. Part of
 * crt-oci alone, not of the library: what annotations set here (org.systemd.property.*) are properties of
 * units of root, which crt's services never take from anybody (CVE-2024-3154). */

#include "runtime/cgroup-driver.h"

extern const CgroupDriver systemd_scope_driver;

/* Tells systemd of other limits of the scope at this path, for as long as it is there. systemd writes them,
 * as far as it has properties for them, into the cgroup. */
int systemd_scope_update(const char *path, const RuntimeResources *resources, Fault *fault);

/* "slice:prefix:name" as slice and unit; both are fresh strings. */
int systemd_scope_parse(const char *path, char **ret_slice, char **ret_unit, Fault *fault);

/* Where systemd has a slice: "a-b.slice" is "a.slice/a-b.slice". */
int systemd_scope_slice_path(const char *slice, char **ret);

/* The properties as crt-oci-scope takes them: "NAME=TYPE VALUE". A fresh strv. */
int systemd_scope_properties(const RuntimeConfig *config, char ***ret, Fault *fault);
/* The same for resources alone, which are to change: what is lifted is said, too. */
int systemd_scope_changes(const RuntimeResources *resources, char ***ret, Fault *fault);
