/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/tree-finish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/path.h"
#include "services/snapshots/directory-finish.h"
#include "services/snapshots/directory-walk.h"
#include "services/snapshots/file-copy.h"
#include "services/snapshots/tree-attributes.h"
#include "services/snapshots/tree-hide.h"
#include "services/snapshots/tree-notes.h"
#include "services/snapshots/tree-store.h"
#include "services/snapshots/tree-through.h"

/* Some seconds to a minute; an image that takes more was made to. Counted instead of timed: what is refused
 * here is refused everywhere. */
#define WORK_MAX (UINT64_C(128) * 1024 * 1024)
/* Of that, for what lies below symbolic links of the parent. */
#define THROUGH_WORK_MAX (WORK_MAX / 8)
#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

/* A directory that the layer's archive names only as part of other paths. */
typedef struct ImpliedDirectory {
        const char *path; /* in the text of the notes */
        bool opaque;
        bool link; /* the parent has a symbolic link there */
} ImpliedDirectory;

typedef struct Finish {
        int trees;
        int64_t id; /* of the tree in question */
        int tree;   /* its directory */
        int root;
        int parent; /* -EBADF: none */
        int64_t parent_id;
        struct timespec unpacked; /* when it was */
        bool root_described;
        ImpliedDirectory *implied;
        size_t implied_count;
        const ImpliedDirectory **sorted; /* those, by their paths, when it was asked for one */
        uint64_t work;                   /* that may still be done */
        uint64_t through_work;
} Finish;

static void finish_done(Finish *finish) {
        free(finish->implied);
        free(finish->sorted);
}

static int open_root(int trees, int64_t id) {
        char path[TREE_PATH_SIZE];
        return path_open(trees, tree_path(id, "fs", path), DIRECTORY_FLAGS, 0, PATH_BENEATH);
}

/* Takes the root. */
static int start_walk(Finish *finish, int root, DirectoryWalk *ret) {
        return root < 0 ? root : directory_walk_init(ret, root, &finish->work);
}

static int walk_fault(const Finish *finish, int r, const char *path, Fault *fault) {
        if (finish->work < DIRECTORY_WALK_STEP_MAX && r == -EBADMSG)
                return directory_work_fault(fault);
        return fault_set_errno(fault, r, "Can't finish the directory '%s'", path);
}

/* ---- what the tree itself says ---- */

/* It begins as it was unpacked: a commit that failed may have made it what another parent has there. */
static int add_implied(Finish *finish, const DirectoryWalk *tree, const DirectoryLevel *to,
                       const char *path) {
        /* Something else took its place, or nothing of a lower layer is seen here. */
        if (to->fd < 0 || directory_walk_parent(tree)->opaque)
                return 0;
        int r = tree_reset_attributes(to->fd, finish->unpacked);
        if (r < 0)
                return r;
        size_t count = finish->implied_count;
        if (count >= LIMIT_LAYER_ENTRIES)
                return -EBADMSG;
        if ((count & (count - 1)) == 0) { /* full: it grows by powers of two */
                ImpliedDirectory *larger =
                        reallocarray(finish->implied, count > 0 ? count * 2 : 1, sizeof(*larger));
                if (!larger)
                        return -ENOMEM;
                finish->implied = larger;
        }
        finish->implied[finish->implied_count++] =
                (ImpliedDirectory){ .path = path, .opaque = tree_is_opaque(to->fd) };
        return 0;
}

static int act_on_note(Finish *finish, DirectoryWalk *tree, const TreeNote *note) {
        const DirectoryLevel *at;
        if (note->kind == TREE_NOTE_ROOT) {
                finish->root_described = true;
                return 0;
        }
        int r = directory_walk_to(tree, note->path, &at);
        if (r < 0)
                return r;
        if (note->kind == TREE_NOTE_IMPLIED)
                return add_implied(finish, tree, at, note->path);
        return at->fd < 0 ? -EBADMSG : directory_walk_set_opaque(tree);
}

static int read_notes(Finish *finish, const char *notes, size_t size, Fault *fault) {
        _cleanup_(directory_walk_done) DirectoryWalk tree = { 0 };
        TreeNote note = { .path = "" };
        int r = start_walk(finish, open_root(finish->trees, finish->id), &tree);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't open the tree");
        for (const char *at = notes, *end = notes + size; r >= 0;) {
                r = tree_notes_next(&at, end, &note);
                if (r >= 0 && note.kind == TREE_NOTE_END)
                        return 0;
                if (r >= 0)
                        r = act_on_note(finish, &tree, &note);
        }
        return r == -EBADMSG && finish->work >= DIRECTORY_WALK_STEP_MAX
                       ? tree_notes_fault(fault)
                       : walk_fault(finish, r, note.path, fault);
}

/* ---- what its parent says ---- */

/* A directory is what it was below. */
static int decide(const Finish *finish, const ImpliedDirectory *implied, const DirectoryLevel *from,
                  DirectoryWalk *tree, Fault *fault) {
        if (from->fd < 0)
                return 0;
        const DirectoryLevel *to;
        int r = directory_walk_to(tree, implied->path, &to);
        if (r >= 0)
                r = to->fd < 0 ? to->fd : file_copy_attributes(from->fd, to->fd);
        return r < 0 ? walk_fault(finish, r, implied->path, fault) : 0;
}

/* Both are gone through once, in the order of the notes: what this costs grows with the directories of the
 * layer, but not with how deep they lie. Where the parent has a symbolic link, the directory would hide all
 * that the link leads to (think of "bin/x" on a base whose "bin" is a link to "usr/bin"), and nobody said
 * so. */
static int ask_parent(Finish *finish, const TreeThrough *through, Fault *fault) {
        _cleanup_(directory_walk_done) DirectoryWalk tree = { 0 }, parent = { 0 };
        int r = start_walk(finish, open_root(finish->trees, finish->id), &tree);
        if (r >= 0)
                r = start_walk(finish, path_open(finish->parent, ".", DIRECTORY_FLAGS, 0, PATH_BENEATH),
                               &parent);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't open the parent's tree");
        for (size_t i = 0; i < finish->implied_count; i++) {
                const DirectoryLevel *from;
                ImpliedDirectory *implied = &finish->implied[i];
                r = directory_walk_to(&parent, implied->path, &from);
                if (r < 0)
                        return walk_fault(finish, r, implied->path, fault);
                if (from->fd == -ELOOP && !implied->opaque) {
                        r = tree_through_prepare(through, implied->path, fault);
                        implied->link = r > 0;
                } else
                        r = decide(finish, implied, from, &tree, fault);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int compare_implied(const void *a, const void *b) {
        return strcmp((*(const ImpliedDirectory *const *) a)->path,
                      (*(const ImpliedDirectory *const *) b)->path);
}

/* The notes are in the order of the archive; few layers need another. */
static int sort_implied(Finish *finish) {
        finish->sorted = calloc(finish->implied_count, sizeof(const ImpliedDirectory *));
        if (!finish->sorted)
                return -ENOMEM;
        for (size_t i = 0; i < finish->implied_count; i++)
                finish->sorted[i] = &finish->implied[i];
        qsort(finish->sorted, finish->implied_count, sizeof(const ImpliedDirectory *), compare_implied);
        return 0;
}

static int is_implied(void *userdata, const char *path) {
        Finish *finish = userdata;
        const ImpliedDirectory key = { .path = path }, *wanted = &key;
        int r = finish->sorted ? 0 : sort_implied(finish);
        if (r < 0)
                return r;
        const ImpliedDirectory **found =
                bsearch(&wanted, finish->sorted, finish->implied_count, sizeof(wanted), compare_implied);
        return found && !(*found)->opaque;
}

/* The deepest first, as it is found by the way on which it is now. */
static int follow_links(Finish *finish, Fault *fault) {
        const TreeThrough through = {
                .tree = finish->tree,
                .files = finish->root,
                .parent = finish->parent,
                .work = &finish->through_work,
                .is_implied = is_implied,
                .userdata = finish,
        };
        int r = ask_parent(finish, &through, fault);
        bool begun = false;
        for (size_t i = finish->implied_count; r >= 0 && i > 0; i--) {
                if (!finish->implied[i - 1].link)
                        continue;
                r = begun ? 0 : tree_through_begin(finish->tree, finish->parent_id, fault);
                begun = true;
                if (r >= 0)
                        r = tree_through_move(&through, finish->implied[i - 1].path, fault);
        }
        return r;
}

static int finish_notes(Finish *finish, const char *notes, size_t size, Fault *fault) {
        int r = read_notes(finish, notes, size, fault);
        if (r >= 0 && finish->parent >= 0 && finish->implied_count > 0)
                r = follow_links(finish, fault);
        if (r >= 0 && tree_is_opaque(finish->root)) {
                r = tree_hide(finish->root, finish->parent);
                if (r < 0)
                        return fault_set_errno(fault, r, "Can't hide what the layer hides");
        }
        if (r < 0 || finish->root_described)
                return r;
        r = finish->parent >= 0 ? file_copy_attributes(finish->parent, finish->root)
                                : tree_reset_attributes(finish->root, finish->unpacked);
        return r < 0 ? fault_set_errno(fault, r, "Can't finish the root of the tree") : 0;
}

int tree_finish(int trees, int64_t id, int parent, int64_t parent_id, Fault *fault) {
        char path[TREE_PATH_SIZE];
        struct stat st;
        _cleanup_close_ int notes =
                path_open(trees, tree_path(id, "notes", path), O_RDONLY, 0, PATH_BENEATH);
        if (notes == -ENOENT)
                return 0;
        _cleanup_close_ int tree =
                path_open(trees, tree_path(id, NULL, path), DIRECTORY_FLAGS, 0, PATH_BENEATH);
        _cleanup_close_ int root = tree < 0 ? tree : open_root(trees, id);
        if (root < 0)
                return fault_set_errno(fault, root, "Can't open the tree");
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        int r = tree_through_resume(tree, parent_id, fault);
        if (r < 0)
                return r;
        r = notes < 0               ? notes
            : fstat(notes, &st) < 0 ? -errno
                                    : fd_read_all(notes, DIRECTORY_NOTES_MAX, &text, &size);
        if (r == -EFBIG)
                return tree_notes_fault(fault);
        if (r < 0)
                return fault_set_errno(fault, r, "Can't read the notes about the layer");
        _cleanup_(finish_done) Finish finish = {
                .trees = trees,
                .id = id,
                .tree = tree,
                .root = root,
                .parent = parent,
                .parent_id = parent_id,
                .unpacked = st.st_mtim,
                .work = WORK_MAX - THROUGH_WORK_MAX,
                .through_work = THROUGH_WORK_MAX,
        };
        return finish_notes(&finish, text, size, fault);
}
