/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a cgroup uses, in the JSON that "runc events" prints. */

#include <json-c/json.h>

#include "lib/fault.h"

int oci_statistics_read(int cgroup, json_object **ret, Fault *fault);
