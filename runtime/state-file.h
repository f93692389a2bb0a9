/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What crt-oci remembers of a container between two calls: <root>/<id>/state.json, beside the pipes through
 * which a waiting init is started. The directory is locked while a call works on it. Nothing is synced: no
 * container outlives a boot. */

#include <json-c/json.h>
#include <stdbool.h>
#include <sys/types.h>

#include "lib/fault.h"
#include "lib/macros.h"
#include "lib/runtime-config.h"

typedef enum ContainerStatus {
        CONTAINER_CREATING, /* the call that makes it has not ended, or was killed */
        CONTAINER_CREATED,
        CONTAINER_RUNNING,
        CONTAINER_PAUSED,
        CONTAINER_STOPPED,
} ContainerStatus;

const char *container_status_to_string(ContainerStatus status);

typedef struct StateFile {
        int root;      /* the directory of all containers */
        int directory; /* this container's; holds the lock */
        char *id;
        json_object *document; /* NULL while it is being created */
} StateFile;

#define STATE_FILE_INIT ((StateFile){ .root = -EBADF, .directory = -EBADF })
#define STATE_FILE_START "start"   /* init reads one byte from this pipe */
#define STATE_FILE_RESULT "result" /* and writes an InitReport into this one if its execve() fails */
#define STATE_FILE_ID_MAX 1024

/* The directory for all containers, made if it is missing; only root's. */
int state_file_open_root(const char *path, Fault *fault);

/* Where compiled seccomp programs are kept, beside the containers; -EBADF when there can be none: a cache
 * that can't be had is no cache. */
int state_file_open_cache(int root);

/* A new container. -EEXIST if there is one of that name. */
int state_file_create(int root, const char *id, StateFile *ret, Fault *fault);
/* Through which "start" speaks with init. */
int state_file_make_pipes(StateFile *state, Fault *fault);
/* -ENOENT if there is none; -EBUSY while it is being created, for whoever does that may wait for the caller.
 */
int state_file_open(int root, const char *id, StateFile *ret, Fault *fault);
/* Without a lock: what it says may be history. */
int state_file_peek(int root, const char *id, StateFile *ret, Fault *fault);
void state_file_done(StateFile *state);

/* Lets others work on it for a while, and takes it back: -ENOENT if it was deleted meanwhile, even if there
 * is another one of that name by now. */
void state_file_unlock(StateFile *state);
int state_file_lock(StateFile *state);

typedef struct StateFileRecord {
        const RuntimeConfig *config;
        const char *bundle;      /* absolute */
        const char *config_text; /* what config was parsed from */
        size_t config_size;
        pid_t pid;
        bool in_resctrl; /* "delete" removes what was made there */
        bool in_scope;   /* of systemd, which "update" has to tell */
} StateFileRecord;

/* Written aside: nobody sees it before it is published. */
int state_file_write(StateFile *state, const StateFileRecord *record, Fault *fault);
int state_file_publish(StateFile *state, Fault *fault);
/* The configuration as it was when the container was made, whatever the bundle has by now; sparing: see
 * runtime_config_parse_sparing(). */
int state_file_read_config(const StateFile *state, bool sparing, RuntimeConfig **ret, Fault *fault);
/* The directory goes, with all that is in it. */
int state_file_remove(StateFile *state);

/* A pidfd of init if it still runs, for sure this one and not a later process with its number. */
int state_file_open_init(const StateFile *state);
ContainerStatus state_file_status(const StateFile *state);

/* For those who ask while it is being created. */
int state_file_note_bundle(StateFile *state, const char *bundle, Fault *fault);

/* Before a cgroup is made for the container: if it can't be noted any more, "delete" removes it if it is
 * empty. */
int state_file_announce_cgroup(StateFile *state, const char *path, Fault *fault);
/* -ENOENT when none was announced. */
int state_file_read_announced_cgroup(const StateFile *state, char **ret);
/* The one that was announced is the container's: noted when it is known to be nobody else's, and before
 * anybody is in it, so that "delete" finds init even if "create" was killed. */
int state_file_note_cgroup(StateFile *state, Fault *fault);
/* -ENOENT when none was noted. */
int state_file_read_cgroup(const StateFile *state, char **ret);

/* The member of state.json, or NULL. */
const char *state_file_get_string(const StateFile *state, const char *name);
/* True if its configuration has hooks that are still to run: without, it need not be read. */
bool state_file_has_hooks(const StateFile *state);
/* True if something was made for it in resctrl. */
bool state_file_is_in_resctrl(const StateFile *state);
/* True if its cgroup is a scope of systemd. */
bool state_file_is_in_scope(const StateFile *state);
/* Of init; 0 when there is none any more. */
pid_t state_file_pid(const StateFile *state, ContainerStatus status);
/* The JSON of the OCI operation "state". */
int state_file_format(const StateFile *state, json_object **ret);
