/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-output.h"

#include <errno.h>
#include <stdio.h>

int oci_output_json(json_object *document, bool pretty, Fault *fault) {
        const char *text = json_object_to_json_string_ext(
                document, (pretty ? JSON_C_TO_STRING_PRETTY : JSON_C_TO_STRING_PLAIN) |
                                  JSON_C_TO_STRING_NOSLASHESCAPE);
        if (!text)
                return -ENOMEM;
        errno = EIO;
        return puts(text) >= 0 && fflush(stdout) == 0 ? 0
                                                      : fault_set_errno(fault, -errno, "standard output");
}

int oci_output_add(json_object *object, const char *key, json_object *value) {
        if (!value)
                return -ENOMEM;
        if (json_object_object_add(object, key, value) >= 0)
                return 0;
        json_object_put(value);
        return -ENOMEM;
}
