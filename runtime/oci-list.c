/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* list: all containers below --root. */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "lib/strv.h"
#include "runtime/oci-command.h"
#include "runtime/oci-output.h"

#define COLUMNS 6U
#define COLUMN_MINIMUM 12U
#define COLUMN_SPACE 3U

static const char *const titles[COLUMNS] = { "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER" };
static const char *const members[COLUMNS] = { "id", "pid", "status", "bundle", "created", "owner" };

static int compare(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static int read_names(int root, char ***ret, Fault *fault) {
        _cleanup_strv_ char **names = NULL;
        int fd = fd_duplicate(root);
        DIR *stream = fd < 0 ? NULL : fdopendir(fd);
        int r = stream ? 0 : -errno;
        if (r < 0) {
                fd_close(fd);
                return fault_set_errno(fault, r, "--root");
        }
        struct dirent *entry;
        while (r >= 0 && (entry = readdir(stream)))
                if (entry->d_name[0] != '.' && entry->d_type == DT_DIR)
                        r = strv_append(&names, entry->d_name);
        (void) closedir(stream);
        if (r < 0)
                return r;
        if (names)
                qsort(names, strv_length(names), sizeof(char *), compare);
        *ret = TAKE_PTR(names);
        return 0;
}

/* One that is deleted meanwhile is in no list. */
static int add_container(json_object *list, int root, const char *id, Fault *fault) {
        _cleanup_(state_file_done) StateFile state = STATE_FILE_INIT;
        json_object *document = NULL;
        Fault ignored = FAULT_NULL;
        int r = state_file_peek(root, id, &state, &ignored);
        fault_done(&ignored);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        r = state_file_format(&state, &document);
        if (r < 0)
                return fault_set_errno(fault, r, "container '%s'", id);
        if (json_object_array_add(list, document) < 0) {
                json_object_put(document);
                return -ENOMEM;
        }
        return 0;
}

static const char *cell(json_object *container, size_t column) {
        json_object *value = NULL;
        return json_object_object_get_ex(container, members[column], &value) ? json_object_get_string(value)
                                                                             : "";
}

static int print_table(json_object *list) {
        size_t widths[COLUMNS];
        for (size_t i = 0; i < COLUMNS; i++) {
                widths[i] = strlen(titles[i]);
                for (size_t k = 0; k < json_object_array_length(list); k++)
                        widths[i] = MAX_OF(widths[i], strlen(cell(json_object_array_get_idx(list, k), i)));
                widths[i] = MAX_OF(widths[i] + COLUMN_SPACE, COLUMN_MINIMUM);
        }
        for (size_t i = 0; i < COLUMNS; i++)
                (void) printf("%-*s", i + 1 < COLUMNS ? (int) widths[i] : 0, titles[i]);
        (void) puts("");
        for (size_t k = 0; k < json_object_array_length(list); k++) {
                json_object *container = json_object_array_get_idx(list, k);
                for (size_t i = 0; i < COLUMNS; i++)
                        (void) printf("%-*s", i + 1 < COLUMNS ? (int) widths[i] : 0, cell(container, i));
                (void) puts("");
        }
        return fflush(stdout) == 0 ? 0 : -EIO;
}

int oci_list(const OciOptions *options, Fault *fault) {
        _cleanup_json_ json_object *list = json_object_new_array();
        _cleanup_strv_ char **names = NULL;
        _cleanup_close_ int root = oci_open_root(options, fault);
        if (root < 0)
                return root;
        int r = list ? read_names(root, &names, fault) : -ENOMEM;
        STRV_FOREACH (name, names) {
                if (options->quiet)
                        (void) puts(name);
                else if (r >= 0)
                        r = add_container(list, root, name, fault);
        }
        if (r < 0 || options->quiet)
                return r < 0 ? r : fflush(stdout) == 0 ? 0 : -EIO;
        return options->json ? oci_output_json(list, false, fault) : print_table(list);
}
