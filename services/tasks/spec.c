/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/tasks/spec.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "lib/json.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "services/tasks/spec-internal.h"

#define OCI_VERSION "1.0.2"
#define HOSTNAME_MAX 63

void spec_done(Spec *spec) {
        free(spec->json);
        strv_free(spec->command);
        *spec = (Spec){ 0 };
}

int spec_add(json_object *object, const char *key, json_object *value) {
        if (!object || !value || json_object_object_add(object, key, value) < 0) {
                json_document_free(value);
                return -ENOMEM;
        }
        return 0;
}

int spec_append(json_object *array, json_object *value) {
        if (!array || !value || json_object_array_add(array, value) < 0) {
                json_document_free(value);
                return -ENOMEM;
        }
        return 0;
}

json_object *spec_string_array(char *const *strings) {
        _cleanup_json_ json_object *array = json_object_new_array();
        for (; strings && *strings; strings++)
                if (spec_append(array, json_object_new_string(*strings)) < 0)
                        return NULL;
        return TAKE_PTR(array);
}

json_object *spec_name_array(const char *const *names) {
        return spec_string_array((char *const *) names);
}

/* RFC 1123 labels joined by dots, as a shell and the resolver expect it. */
static bool hostname_is_valid(const char *hostname) {
        size_t length = strlen(hostname);
        if (length == 0 || length > HOSTNAME_MAX || hostname[0] == '.' || hostname[0] == '-' ||
            hostname[length - 1] == '-')
                return false;
        return strspn(hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
               length;
}

static int choose_hostname(const SpecRequest *request, char **ret, Fault *fault) {
        if (request->hostname && !hostname_is_valid(request->hostname))
                return fault_set(fault, -EINVAL, "hostname: '%s' is not the name of a host",
                                 request->hostname);
        char *name = strndup(request->hostname ? request->hostname : request->id, HOSTNAME_MAX);
        if (!name)
                return -ENOMEM;
        *ret = name;
        return 0;
}

static int choose_stop_signal(const SpecRequest *request, int *ret, Fault *fault) {
        bool asked = !string_is_empty(request->stop_signal);
        const char *name = asked ? request->stop_signal : request->image->stop_signal;
        if (string_is_empty(name)) {
                *ret = SIGTERM;
                return 0;
        }
        int signal = signal_from_string(name);
        if (signal < 0)
                return fault_set(fault, -EINVAL, "%s: '%s' is not the name of a signal",
                                 asked ? "stop-signal" : "the image's StopSignal", name);
        *ret = signal;
        return 0;
}

static json_object *new_root(const SpecRequest *request) {
        _cleanup_json_ json_object *root = json_object_new_object();
        if (spec_add(root, "path", json_object_new_string("rootfs")) < 0 ||
            spec_add(root, "readonly", json_object_new_boolean(request->read_only)) < 0)
                return NULL;
        return TAKE_PTR(root);
}

/* A user that has to be looked up in the image goes along for the supervisor. */
static int add_annotations(json_object *document, const SpecRequest *request) {
        const char *user = request->user ? request->user : request->image->user;
        if (string_is_empty(user))
                return 0;
        _cleanup_json_ json_object *annotations = json_object_new_object();
        int r = spec_add(annotations, SPEC_USER_ANNOTATION, json_object_new_string(user));
        if (r < 0)
                return r;
        return spec_add(document, "annotations", TAKE_PTR(annotations));
}

static int build_document(const SpecRequest *request, char *const *command, json_object **ret,
                          Fault *fault) {
        _cleanup_json_ json_object *document = json_object_new_object(), *process = NULL, *mounts = NULL;
        _cleanup_free_ char *hostname = NULL;

        int r = choose_hostname(request, &hostname, fault);
        if (r < 0)
                return r;
        r = spec_process_new(request, command, &process, fault);
        if (r < 0)
                return r;
        r = spec_mounts_new(request, &mounts, fault);
        if (r < 0)
                return r;
        if (spec_add(document, "ociVersion", json_object_new_string(OCI_VERSION)) < 0 ||
            spec_add(document, "process", TAKE_PTR(process)) < 0 ||
            spec_add(document, "root", new_root(request)) < 0 ||
            spec_add(document, "hostname", json_object_new_string(hostname)) < 0 ||
            spec_add(document, "mounts", TAKE_PTR(mounts)) < 0 || add_annotations(document, request) < 0 ||
            spec_add(document, "linux", spec_linux_new()) < 0)
                return -ENOMEM;
        *ret = TAKE_PTR(document);
        return 0;
}

int spec_build(const SpecRequest *request, Spec *ret, Fault *fault) {
        _cleanup_(spec_done) Spec spec = { 0 };
        _cleanup_json_ json_object *document = NULL;

        int r = spec_command(request, &spec.command, fault);
        if (r < 0)
                return r;
        r = choose_stop_signal(request, &spec.stop_signal, fault);
        if (r < 0)
                return r;
        r = build_document(request, spec.command, &document, fault);
        if (r < 0)
                return r;
        const char *text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN |
                                                                            JSON_C_TO_STRING_NOSLASHESCAPE);
        spec.json = text ? strdup(text) : NULL;
        if (!spec.json)
                return -ENOMEM;
        *ret = TAKE(spec, (Spec){ 0 });
        return 0;
}
