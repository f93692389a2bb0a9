/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A container's cgroup (v2), made and removed directly: the "cgroupfs" driver. */

#include <stdbool.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/runtime-config.h"

/* /sys/fs/cgroup, which has to be the unified hierarchy. */
int cgroup_open_root(Fault *fault);

/* The caller's own, without a slash at the beginning. */
int cgroup_own_path(char **ret, Fault *fault);

/* The path beneath the root that a configuration means: cgroupsPath if it is absolute; below the caller's
 * own cgroup if it is relative; "crt/<id>" without, for an ordinary user below its own. */
int cgroup_choose_path(const RuntimeConfig *config, const char *id, char **ret, Fault *fault);

/* Makes it with the controllers that the resources need, applies those, and returns the directory. On
 * failure what was made is removed. */
int cgroup_create(int root, const char *path, const RuntimeResources *resources, Fault *fault);

/* One that somebody else has made, with its controllers enabled. */
int cgroup_open(int root, const char *path, const RuntimeResources *resources, Fault *fault);

/* For one that is there: what other resources need beside what it was made with. */
int cgroup_enable_controllers(int root, const char *path, const RuntimeResources *resources, Fault *fault);

/* Every process in it and below. */
int cgroup_signal(int root, const char *path, int signal);

/* Kills what is in it, waits for that, removes it and what the container made below it. No error if it is
 * not there. */
int cgroup_remove(int root, const char *path, Fault *fault);
