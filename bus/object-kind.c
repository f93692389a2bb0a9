/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/object-kind.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus/addressed-signal.h"
#include "bus/authorize.h"
#include "bus/object-path.h"
#include "lib/strv.h"

struct ObjectKind {
        sd_bus *bus;
        char *root;
        char *kind;
        char *interface;
        ObjectKindSpec spec;
        sd_bus_slot *vtable_slot;
        sd_bus_slot *enumerator_slot;
        char **listing; /* while list() runs */
};

static int kind_find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret,
                     sd_bus_error *error) {
        ObjectKind *kind = userdata;
        _cleanup_free_ char *namespace = NULL, *object = NULL;

        int r = object_path_decode(kind->root, path, kind->kind, &namespace, &object);
        if (r <= 0)
                return r;
        if (!bus_may_see_namespace(bus, namespace))
                return 0;
        return kind->spec.find(kind->spec.service, namespace, object, ret);
}

static int kind_enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret,
                          sd_bus_error *error) {
        ObjectKind *kind = userdata;

        assert(!kind->listing);
        int r = kind->spec.list(kind->spec.service, kind);
        _cleanup_strv_ char **listing = TAKE_PTR(kind->listing);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(listing);
        return 0;
}

int object_kind_get_path(const ObjectKind *kind, const char *namespace, const char *object, char **ret) {
        return object_path_encode(kind->root, kind->kind, namespace, object, ret);
}

int object_kind_list_add(ObjectKind *kind, const char *namespace, const char *object) {
        if (!bus_may_see_namespace(kind->bus, namespace))
                return 0;
        char *path;
        int r = object_kind_get_path(kind, namespace, object, &path);
        return r < 0 ? r : strv_consume(&kind->listing, path);
}

int object_kind_new(sd_bus *bus, const ObjectKindSpec *spec, ObjectKind **ret) {
        _cleanup_(object_kind_freep) ObjectKind *kind = new0(ObjectKind, 1);
        if (!kind)
                return -ENOMEM;
        kind->bus = sd_bus_ref(bus);
        kind->spec = *spec;
        kind->root = strdup(spec->root);
        kind->kind = strdup(spec->kind);
        kind->interface = strdup(spec->interface);
        if (!kind->root || !kind->kind || !kind->interface)
                return -ENOMEM;

        _cleanup_free_ char *prefix = NULL;
        if (asprintf(&prefix, "%s/%s", kind->root, kind->kind) < 0)
                return -ENOMEM;
        int r = sd_bus_add_fallback_vtable(bus, &kind->vtable_slot, prefix, kind->interface, spec->vtable,
                                           kind_find, kind);
        if (r < 0)
                return r;
        r = sd_bus_add_node_enumerator(bus, &kind->enumerator_slot, prefix, kind_enumerate, kind);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(kind);
        return 0;
}

ObjectKind *object_kind_free(ObjectKind *kind) {
        if (!kind)
                return NULL;
        sd_bus_slot_unref(kind->vtable_slot);
        sd_bus_slot_unref(kind->enumerator_slot);
        strv_free(kind->listing);
        free(kind->root);
        free(kind->kind);
        free(kind->interface);
        sd_bus_unref(kind->bus);
        free(kind);
        return NULL;
}

static int append_property(ObjectKind *kind, sd_bus_message *signal, const char *path, const char *name,
                           const sd_bus_vtable *entry, void *object) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        assert(entry->x.property.get);
        int r = sd_bus_message_open_container(signal, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(signal, "s", name);
        if (r >= 0)
                r = sd_bus_message_open_container(signal, 'v', entry->x.property.signature);
        if (r >= 0)
                r = entry->x.property.get(kind->bus, path, kind->interface, name, signal, object, &error);
        if (r >= 0)
                r = sd_bus_message_close_container(signal);
        return r < 0 ? r : sd_bus_message_close_container(signal);
}

/* The a{sv} of these properties; of all when names is NULL. */
static int append_properties(ObjectKind *kind, sd_bus_message *signal, const char *path, char *const *names,
                             void *object) {
        int r = sd_bus_message_open_container(signal, 'a', "{sv}");
        for (const sd_bus_vtable *entry = kind->spec.vtable; r >= 0 && entry->type != _SD_BUS_VTABLE_END;
             entry++) {
                if (entry->type != _SD_BUS_VTABLE_PROPERTY)
                        continue;
                const char *name = entry->x.property.member;
                if (!names || strv_contains((const char *const *) names, name))
                        r = append_property(kind, signal, path, name, entry, object);
        }
        return r < 0 ? r : sd_bus_message_close_container(signal);
}

int object_kind_emit_added(ObjectKind *kind, const char *namespace, const char *object) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *signal = NULL;
        _cleanup_free_ char *path = NULL;
        void *found;
        int r = kind->spec.find(kind->spec.service, namespace, object, &found);
        if (r <= 0)
                return r;
        r = object_kind_get_path(kind, namespace, object, &path);
        if (r >= 0)
                r = sd_bus_message_new_signal(kind->bus, &signal, kind->root,
                                              "org.freedesktop.DBus.ObjectManager", "InterfacesAdded");
        if (r >= 0)
                r = sd_bus_message_append(signal, "o", path);
        if (r >= 0)
                r = sd_bus_message_open_container(signal, 'a', "{sa{sv}}");
        if (r >= 0)
                r = sd_bus_message_open_container(signal, 'e', "sa{sv}");
        if (r >= 0)
                r = sd_bus_message_append(signal, "s", kind->interface);
        if (r >= 0)
                r = append_properties(kind, signal, path, NULL, found);
        if (r >= 0)
                r = sd_bus_message_close_container(signal);
        if (r >= 0)
                r = sd_bus_message_close_container(signal);
        return r < 0 ? r : addressed_signal_send(kind->bus, signal, namespace);
}

int object_kind_emit_removed(ObjectKind *kind, const char *namespace, const char *object) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *signal = NULL;
        _cleanup_free_ char *path = NULL;
        int r = object_kind_get_path(kind, namespace, object, &path);
        if (r >= 0)
                r = sd_bus_message_new_signal(kind->bus, &signal, kind->root,
                                              "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved");
        if (r >= 0)
                r = sd_bus_message_append(signal, "oas", path, 1, kind->interface);
        return r < 0 ? r : addressed_signal_send(kind->bus, signal, namespace);
}

int object_kind_emit_changed(ObjectKind *kind, const char *namespace, const char *object,
                             char **properties) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *signal = NULL;
        _cleanup_free_ char *path = NULL;
        void *found;
        int r = kind->spec.find(kind->spec.service, namespace, object, &found);
        if (r <= 0)
                return r;
        r = object_kind_get_path(kind, namespace, object, &path);
        if (r >= 0)
                r = sd_bus_message_new_signal(kind->bus, &signal, path, "org.freedesktop.DBus.Properties",
                                              "PropertiesChanged");
        if (r >= 0)
                r = sd_bus_message_append(signal, "s", kind->interface);
        if (r >= 0)
                r = append_properties(kind, signal, path, properties, found);
        if (r >= 0)
                r = sd_bus_message_append(signal, "as", 0);
        return r < 0 ? r : addressed_signal_send(kind->bus, signal, namespace);
}
