/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/own-process.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int own_process_step_reset(ContainerPlan *plan, Fault *fault) {
        sigset_t none;
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return -errno;
        for (int number = 1; number < NSIG; number++)
                (void) signal(number, SIG_DFL);
        (void) sigemptyset(&none);
        if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
                return -errno;
        plan->caller_umask = umask(0);
        return setsid() < 0 ? -errno : 0;
}

int own_process_step_keyring(ContainerPlan *plan, Fault *fault) {
        if (!plan->request->keep_session_keyring &&
            syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS)
                return fault_set_errno(fault, -errno, "a session keyring (sysctl kernel.keys.*)");
        return 0;
}
