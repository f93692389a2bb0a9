/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/object-path.h"

#include <errno.h>
#include <stdio.h>
#include <systemd/sd-bus.h>

int object_path_encode(const char *root, const char *kind, const char *namespace, const char *object,
                       char **ret) {
        _cleanup_free_ char *template = NULL;
        if (asprintf(&template, "%s/%s/%%/%%", root, kind) < 0)
                return -ENOMEM;
        return sd_bus_path_encode_many(ret, template, namespace, object) < 0 ? -ENOMEM : 0;
}

int object_path_decode(const char *root, const char *path, const char *kind, char **ret_namespace,
                       char **ret_object) {
        _cleanup_free_ char *template = NULL, *namespace = NULL, *object = NULL;
        if (asprintf(&template, "%s/%s/%%/%%", root, kind ? kind : "%") < 0)
                return -ENOMEM;
        int r = kind ? sd_bus_path_decode_many(path, template, &namespace, &object)
                     : sd_bus_path_decode_many(path, template, NULL, &namespace, &object);
        if (r <= 0)
                return r;
        *ret_namespace = TAKE_PTR(namespace);
        *ret_object = TAKE_PTR(object);
        return 1;
}
