/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/bus-error.h"

#include <errno.h>

#include "lib/strv.h"

#define ERROR_FAILED "org.crt.Error.Failed"

/* In both directions: the first row of a name or of an errno decides. */
static const struct {
        int error;
        const char *name;
} error_map[] = {
        { ENOENT, "org.crt.Error.NotFound" },
        { EEXIST, "org.crt.Error.AlreadyExists" },
        { EBUSY, "org.crt.Error.FailedPrecondition" },
        { EUCLEAN, "org.crt.Error.DigestMismatch" },
        { EBADMSG, "org.crt.Error.BadContent" },
        { EDQUOT, "org.crt.Error.LimitsExceeded" },
        { ENOSPC, "org.crt.Error.NoSpace" },
        { EROFS, "org.crt.Error.ReadOnly" },
        { EHOSTUNREACH, "org.crt.Error.Unavailable" },
        { EAGAIN, "org.crt.Error.Unavailable" },
        { ECONNREFUSED, "org.crt.Error.Unavailable" },
        { ETIMEDOUT, "org.crt.Error.Unavailable" },
        { ENOKEY, "org.crt.Error.Unauthorized" },
        { ECANCELED, "org.crt.Error.Cancelled" },
        { EOPNOTSUPP, "org.crt.Error.NotSupported" },
        { ENOEXEC, "org.crt.Error.StartFailed" },
        { EINVAL, SD_BUS_ERROR_INVALID_ARGS },
        { EACCES, SD_BUS_ERROR_ACCESS_DENIED },
        { EPERM, SD_BUS_ERROR_ACCESS_DENIED },
        { ENOMEM, SD_BUS_ERROR_NO_MEMORY },
        { EINVAL, SD_BUS_ERROR_UNKNOWN_METHOD },
        { EINVAL, SD_BUS_ERROR_UNKNOWN_INTERFACE },
        { ENOENT, SD_BUS_ERROR_UNKNOWN_OBJECT },
        { EACCES, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED },
        { EHOSTUNREACH, SD_BUS_ERROR_SERVICE_UNKNOWN },
        { EHOSTUNREACH, SD_BUS_ERROR_NAME_HAS_NO_OWNER },
        { EHOSTUNREACH, SD_BUS_ERROR_NO_REPLY },
        { EHOSTUNREACH, SD_BUS_ERROR_TIMEOUT },
        { EHOSTUNREACH, SD_BUS_ERROR_DISCONNECTED },
};

const char *bus_error_name(int r) {
        int error = r < 0 ? -r : r;
        for (size_t i = 0; i < ELEMENTS_OF(error_map); i++)
                if (error_map[i].error == error)
                        return error_map[i].name;
        return ERROR_FAILED;
}

int bus_error_set_fault(sd_bus_error *error, int r, const Fault *fault) {
        assert(r < 0);
        return sd_bus_error_set(error, bus_error_name(r), fault_text(fault, r));
}

int bus_reply_fault(sd_bus_message *message, int r, const Fault *fault) {
        return sd_bus_reply_method_errorf(message, bus_error_name(r), "%s", fault_text(fault, r));
}

int bus_error_to_fault(const sd_bus_error *error, Fault *fault) {
        if (!sd_bus_error_is_set(error))
                return 0;
        int r = -EIO;
        for (size_t i = 0; i < ELEMENTS_OF(error_map); i++)
                if (string_equal(error_map[i].name, error->name)) {
                        r = -error_map[i].error;
                        break;
                }
        const char *text = error->message ? error->message : error->name;
        if (string_equal(error->name, SD_BUS_ERROR_NO_REPLY))
                return fault_set(fault, r, "the service ended before it answered, or was too slow: %s",
                                 text);
        return fault_set(fault, r, "%s", text);
}
