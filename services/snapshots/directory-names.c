/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/directory-names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/path.h"

#define BLOCK_SIZE ((size_t) 16 * 1024)
static_assert(BLOCK_SIZE > NAME_MAX, "a name fits into a block");

static int copy_name(DirectoryNames *names, const char *name, const char **ret) {
        size_t size = strlen(name) + 1;
        if (names->block_count == 0 || BLOCK_SIZE - names->block_used < size) {
                char **larger = reallocarray(names->blocks, names->block_count + 1, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                names->blocks = larger;
                larger[names->block_count] = malloc(BLOCK_SIZE);
                if (!larger[names->block_count])
                        return -ENOMEM;
                names->block_count++;
                names->block_used = 0;
        }
        char *place = names->blocks[names->block_count - 1] + names->block_used;
        memcpy(place, name, size);
        names->block_used += size;
        *ret = place;
        return 0;
}

static int add_name(DirectoryNames *names, const struct dirent *entry, unsigned bit) {
        if (names->count == names->allocated) {
                size_t wanted = names->allocated > 0 ? names->allocated * 2 : 32;
                DirectoryName *larger = reallocarray(names->names, wanted, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                names->names = larger;
                names->allocated = wanted;
        }
        DirectoryName *added = &names->names[names->count];
        *added = (DirectoryName){ .in = bit, .type = entry->d_type };
        int r = copy_name(names, entry->d_name, &added->name);
        if (r >= 0)
                names->count++;
        return r;
}

int directory_names_add(DirectoryNames *names, int directory, unsigned bit) {
        int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
        if (!stream) {
                int r = -errno;
                fd_close(fd);
                return r;
        }
        int r = 0;
        while (r >= 0) {
                errno = 0;
                const struct dirent *entry = readdir(stream);
                if (!entry) {
                        r = -errno;
                        break;
                }
                if (path_is_component(entry->d_name))
                        r = add_name(names, entry, bit);
        }
        (void) closedir(stream);
        return r;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(((const DirectoryName *) a)->name, ((const DirectoryName *) b)->name);
}

void directory_names_sort(DirectoryNames *names) {
        size_t kept = 0;
        if (names->count == 0)
                return;
        qsort(names->names, names->count, sizeof(*names->names), compare_names);
        for (size_t i = 1; i < names->count; i++)
                if (strcmp(names->names[kept].name, names->names[i].name) == 0) {
                        names->names[kept].in |= names->names[i].in;
                        if (names->names[kept].type != names->names[i].type)
                                names->names[kept].type = DT_UNKNOWN;
                } else
                        names->names[++kept] = names->names[i];
        names->count = kept + 1;
}

void directory_names_done(DirectoryNames *names) {
        for (size_t i = 0; i < names->block_count; i++)
                free(names->blocks[i]);
        free(names->blocks);
        free(names->names);
        *names = (DirectoryNames){ 0 };
}
