/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* pause and resume. */

#include <errno.h>

#include "lib/fd.h"
#include "runtime/freezer.h"
#include "runtime/oci-command.h"

static int set_frozen(const OciOptions *options, bool frozen, Fault *fault) {
        _cleanup_(state_file_done) StateFile state = STATE_FILE_INIT;
        _cleanup_close_ int root = -EBADF, cgroup = -EBADF;
        int r = oci_open_container(options, &root, &state, fault);
        if (r < 0)
                return r;
        ContainerStatus status = state_file_status(&state);
        if (frozen ? status != CONTAINER_RUNNING && status != CONTAINER_CREATED : status != CONTAINER_PAUSED)
                return fault_set(fault, -EBUSY, "container '%s' is %s, not %s", options->id,
                                 container_status_to_string(status), frozen ? "running" : "paused");
        cgroup = oci_open_cgroup(&state, fault);
        r = cgroup < 0 ? cgroup : freezer_set(cgroup, frozen, fault);
        return r < 0 ? fault_prefix(fault, r, "container '%s'", options->id) : 0;
}

int oci_pause(const OciOptions *options, Fault *fault) {
        return set_frozen(options, true, fault);
}

int oci_resume(const OciOptions *options, Fault *fault) {
        return set_frozen(options, false, fault);
}
