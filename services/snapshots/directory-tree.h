/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The directories of a tree that is being unpacked: all that this layer has made below one root, with what
 * is still to be done to them. Owner, mode, attributes and times are set when everything is in place
 * (directory-finish.h): a setgid bit or a default ACL would be inherited by what is made inside, and each
 * entry made inside changes the times. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "services/snapshots/entry-attributes.h"

/* With which all are made: that of those that are only implied, and of most others. */
#define DIRECTORY_MODE 0755

typedef struct DirectoryNode DirectoryNode;
typedef struct DirectoryTree DirectoryTree;

struct DirectoryNode {
        DirectoryNode *parent;                                     /* weak; NULL: the root */
        DirectoryNode *first_child, *last_child, *previous, *next; /* in the order in which they came */
        DirectoryNode *next_in_bucket;
        DirectoryNode *newer, *older; /* among those that are open */
        uint64_t hash;
        int fd;
        bool described; /* by an entry of the archive; else it is only implied by what lies in it */
        bool opaque;
        bool is_needed;       /* in the end, by descriptor (directory-finish.h) */
        uint16_t path_length; /* from the root */
        mode_t mode;
        uid_t uid;
        gid_t gid;
        struct timespec times[2];
        XattrList xattrs;
        char name[];
};

/* root is borrowed, and an empty directory. work: parts of paths that may be walked; 0: a lot. */
int directory_tree_new(int root, uint64_t work, DirectoryTree **ret);
DirectoryTree *directory_tree_free(DirectoryTree *tree);
DEFINE_CLEANUP(DirectoryTree *, directory_tree_free);
DirectoryNode *directory_tree_root(DirectoryTree *tree);

/* The last known directory on the way that the first length bytes of path say: all of it if its path_length
 * is length. NULL: that was too much work. What was looked for before is a short cut, so archives in the
 * usual order cost next to nothing, however deep their directories are. */
DirectoryNode *directory_tree_find(DirectoryTree *tree, const char *path, size_t length);
/* One that lies directly in another; NULL: there is none. */
DirectoryNode *directory_tree_child(DirectoryTree *tree, const DirectoryNode *parent, const char *name,
                                    size_t length);
/* Of the work that may be done; false: there is not as much left. */
bool directory_tree_spend(DirectoryTree *tree, uint64_t amount);
/* It was made on disk. -EDQUOT: there are too many; -EBADMSG: its path is too long. */
int directory_tree_add(DirectoryTree *tree, DirectoryNode *parent, const char *name, size_t length,
                       DirectoryNode **ret, Fault *fault);
/* It was removed from the disk, with all below it. */
void directory_tree_remove(DirectoryTree *tree, DirectoryNode *node);

/* A descriptor for what can be made inside; the tree's, and valid while a few others are opened. */
int directory_tree_open(DirectoryTree *tree, DirectoryNode *node, Fault *fault);
void directory_tree_close_all(DirectoryTree *tree);

/* An entry says what it is like. */
int directory_tree_describe(DirectoryTree *tree, DirectoryNode *node, const LayerEntry *entry, Fault *fault);
