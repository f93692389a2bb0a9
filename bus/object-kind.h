/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Objects of one kind at <root>/<kind>/<namespace>/<object>, looked up in the service whenever they are
 * needed: nothing is registered for each of them, and nobody sees those of a namespace that is not theirs.
 */

#include <systemd/sd-bus.h>

#include "lib/macros.h"

typedef struct ObjectKind ObjectKind;

typedef struct ObjectKindSpec {
        const char *root;
        const char *kind;
        const char *interface;
        const sd_bus_vtable *vtable; /* its handlers and getters get what find() returned as userdata */

        /* 1 and the object, or 0 if there is none. */
        int (*find)(void *service, const char *namespace, const char *object, void **ret);
        /* Calls object_kind_list_add() for each object that there is. */
        int (*list)(void *service, ObjectKind *kind);
        void *service;
} ObjectKindSpec;

int object_kind_new(sd_bus *bus, const ObjectKindSpec *spec, ObjectKind **ret);
ObjectKind *object_kind_free(ObjectKind *kind);
DEFINE_CLEANUP(ObjectKind *, object_kind_free);

int object_kind_get_path(const ObjectKind *kind, const char *namespace, const char *object, char **ret);

/* Within list(). */
int object_kind_list_add(ObjectKind *kind, const char *namespace, const char *object);

/* InterfacesAdded when an object has come (call it when find() already finds it), InterfacesRemoved when it
 * goes (before or after find() has ceased to find it). */
int object_kind_emit_added(ObjectKind *kind, const char *namespace, const char *object);
int object_kind_emit_removed(ObjectKind *kind, const char *namespace, const char *object);
/* PropertiesChanged with the new values of these properties. */
int object_kind_emit_changed(ObjectKind *kind, const char *namespace, const char *object, char **properties);
