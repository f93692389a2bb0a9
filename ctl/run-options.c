/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/run-options.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bus/bus-names.h"
#include "bus/options.h"
#include "ctl/parse-values.h"
#include "ctl/pull-options.h"
#include "lib/fd.h"
#include "lib/identifier.h"
#include "lib/strv.h"

#define RANDOM_ID_LENGTH 32

static int parse_pull(const char *value, void *field, Fault *fault) {
        static const char *const names[_PULL_POLICY_MAX] = {
                [PULL_MISSING] = "missing",
                [PULL_ALWAYS] = "always",
                [PULL_NEVER] = "never",
        };
        int policy = string_table_find(names, ELEMENTS_OF(names), value);
        if (policy < 0)
                return fault_set(fault, -EINVAL, "one of missing, always and never is expected");
        *(PullPolicy *) field = (PullPolicy) policy;
        return 0;
}

static int parse_cpu_share(const char *value, void *field, Fault *fault) {
        return parse_cpus(value, field, fault);
}

/* As others have it, who take more there than the size. */
static int parse_storage(const char *value, void *field, Fault *fault) {
        const char *size = string_after(value, "size=");
        return size ? argument_size_limit(size, field, fault)
                    : fault_set(fault, -EINVAL, "size=SIZE is expected");
}

/* The first row is not for "create". */
const Argument run_arguments[] = {
        { "detach", 'd', NULL, "In the background; print the id", offsetof(RunOptions, detach) },
        { "tty", 't', NULL, "Give it a terminal", offsetof(RunOptions, terminal) },
        { "interactive", 'i', NULL, "Give it our standard input", offsetof(RunOptions, interactive) },
        { "rm", 0, NULL, "Delete it when it has ended", offsetof(RunOptions, remove) },
        { "name", 0, "ID", "Its id; made up if not given", offsetof(RunOptions, name) },
        { "env", 'e', "NAME[=VALUE]", "Set a variable; without value our own",
          offsetof(RunOptions, environment), argument_list },
        { "env-file", 0, "FILE", "Set the variables that a file lists",
          offsetof(RunOptions, environment_files), argument_list },
        { "volume", 'v', "SRC:DST[:ro]", "Mount a directory or file of the host",
          offsetof(RunOptions, volumes), argument_list },
        { "workdir", 'w', "DIR", "Start in this directory", offsetof(RunOptions, directory) },
        { "user", 'u', "USER[:GROUP]", "Run as this user", offsetof(RunOptions, user) },
        { "hostname", 0, "NAME", "Its host name", offsetof(RunOptions, hostname) },
        { "entrypoint", 0, "COMMAND", "Instead of the image's entrypoint",
          offsetof(RunOptions, entrypoint) },
        { "read-only", 0, NULL, "Make its root file system read-only", offsetof(RunOptions, read_only) },
        { "memory", 0, "SIZE", "Memory at most (512M)", offsetof(RunOptions, memory), argument_size },
        { "pids-limit", 0, "N", "Processes and threads at most", offsetof(RunOptions, tasks),
          argument_number },
        { "cpus", 0, "N", "CPUs at most (1.5)", offsetof(RunOptions, cpu_percent), parse_cpu_share },
        { "storage-opt", 0, "size=SIZE", "Bytes written to its file system at most (10G)",
          offsetof(RunOptions, storage), parse_storage },
        { "label", 'l', "NAME=VALUE", "Attach a label", offsetof(RunOptions, labels), argument_list },
        { "stop-signal", 0, "SIGNAL", "What 'stop' sends", offsetof(RunOptions, stop_signal) },
        { "pull", 0, "WHEN", "Pull the image: missing (default), always, never", offsetof(RunOptions, pull),
          parse_pull },
        { "platform", 0, "OS/ARCH[/VARIANT]", "Platform to pull", offsetof(RunOptions, platform) },
        { "quiet", 'q', NULL, "No progress while pulling", offsetof(RunOptions, quiet) },
        {},
};

static int append_labels(sd_bus_message *message, char **labels, Fault *fault) {
        _cleanup_strv_ char **assignments = NULL;
        STRV_FOREACH (label, labels) {
                if (label[0] == '=' || !label[0])
                        return fault_set(fault, -EINVAL, "--label=%s: a label is written NAME=VALUE", label);
                int r = strchr(label, '=') ? strv_append(&assignments, label)
                                           : strv_appendf(&assignments, "%s=", label);
                if (r < 0)
                        return r;
        }
        return assignments ? bus_append_entry_map(message, "labels", assignments) : 0;
}

static int append_environment(sd_bus_message *message, const RunOptions *options, Fault *fault) {
        _cleanup_strv_ char **environment = NULL;
        int r = 0;

        STRV_FOREACH (path, options->environment_files)
                if ((r = parse_environment_file(&environment, path, fault)) < 0)
                        return fault_prefix(fault, r, "--env-file");
        STRV_FOREACH (assignment, options->environment)
                if ((r = parse_environment(&environment, assignment, fault)) < 0)
                        return fault_prefix(fault, r, "--env");
        return environment ? bus_append_entry(message, "env", "as", environment) : 0;
}

/* One element of "mounts" (by path: for root) or of "binds" (by descriptor: what is mounted is what we could
 * open). */
static int append_volume(sd_bus_message *message, const Volume *volume, bool by_path, Fault *fault) {
        _cleanup_close_ int fd = -EBADF;

        int r = sd_bus_message_open_container(message, 'r', by_path ? "ssas" : "hsas");
        if (r >= 0 && by_path)
                r = sd_bus_message_append(message, "s", volume->source);
        else if (r >= 0) {
                struct stat info;
                if (stat(volume->source, &info) < 0)
                        return fault_set_errno(fault, -errno, "--volume: %s", volume->source);
                int access = S_ISDIR(info.st_mode) ? O_RDONLY | O_DIRECTORY
                             : volume->read_only   ? O_RDONLY
                                                   : O_RDWR;
                fd = open(volume->source, access | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
                if (fd < 0)
                        return fault_set_errno(fault, -errno, "--volume: %s", volume->source);
                r = sd_bus_message_append(message, "h", fd);
        }
        if (r >= 0)
                r = sd_bus_message_append(message, "s", volume->destination);
        if (r >= 0)
                r = sd_bus_message_append_strv(message, volume->options);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int append_volumes(sd_bus_message *message, char **volumes, Fault *fault) {
        bool by_path = geteuid() == 0;
        const char *type = by_path ? "a(ssas)" : "a(hsas)";

        if (!volumes)
                return 0;
        int r = sd_bus_message_open_container(message, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(message, "s", by_path ? "mounts" : "binds");
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'v', type);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'a', type + 1);
        for (char **text = volumes; r >= 0 && *text; text++) {
                _cleanup_(volume_done) Volume volume = { 0 };
                r = parse_volume(*text, &volume, fault);
                if (r < 0)
                        return fault_prefix(fault, r, "--volume=%s", *text);
                r = append_volume(message, &volume, by_path, fault);
        }
        for (unsigned i = 0; r >= 0 && i < 3; i++)
                r = sd_bus_message_close_container(message);
        return r;
}

/* An entrypoint of ours stands alone, as the image's command was meant for the image's entrypoint. */
static int append_command(sd_bus_message *message, const RunOptions *options, char *const *command) {
        int r = 0;
        if (options->entrypoint) {
                char *empty[] = { NULL }, *entrypoint[] = { (char *) options->entrypoint, NULL };
                r = bus_append_entry(message, "entrypoint", "as",
                                     options->entrypoint[0] ? entrypoint : empty);
        }
        if (r >= 0 && (command[0] || options->entrypoint))
                r = bus_append_entry(message, "args", "as", command);
        return r;
}

static int append_strings(sd_bus_message *message, const RunOptions *options, const char *image) {
        const struct {
                const char *key, *value;
        } strings[] = {
                { "image", image },
                { "cwd", options->directory },
                { "user", options->user },
                { "hostname", options->hostname },
                { "stop-signal", options->stop_signal },
        };
        const struct {
                const char *key;
                bool value;
        } flags[] = {
                { "terminal", options->terminal },
                { "read-only", options->read_only },
                { "auto-remove", options->remove },
                { "volatile", options->remove },
        };
        const struct {
                const char *key;
                uint64_t value;
        } limits[] = {
                { "memory-max", options->memory },
                { "tasks-max", options->tasks },
                { "cpu-quota", options->cpu_percent },
                { "rootfs-size-max", options->storage },
        };
        int r = 0;
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(strings); i++)
                if (strings[i].value)
                        r = bus_append_entry(message, strings[i].key, "s", strings[i].value);
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(flags); i++)
                if (flags[i].value)
                        r = bus_append_entry(message, flags[i].key, "b", 1);
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(limits); i++)
                if (limits[i].value > 0)
                        r = bus_append_entry(message, limits[i].key, "t", limits[i].value);
        return r;
}

typedef struct Creation {
        Context *context;
        const RunOptions *options;
        char *const *operands;
        const char *id;
} Creation;

static int build_create(const Creation *creation, sd_bus_message **ret, Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL;
        const RunOptions *options = creation->options;
        char *const *operands = creation->operands;
        Client *client = &creation->context->client;

        int r = client_new_call(client, &target_tasks, "Create", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "s", creation->id);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = append_strings(message, options, operands[0]);
        if (r >= 0)
                r = append_command(message, options, operands + 1);
        if (r >= 0)
                r = append_environment(message, options, fault);
        if (r >= 0)
                r = append_labels(message, options->labels, fault);
        if (r >= 0)
                r = append_volumes(message, options->volumes, fault);
        if (r >= 0)
                r = client_close_options(message);
        if (r < 0)
                return fault_set_errno(fault, r, "what was given cannot be sent");
        *ret = TAKE_PTR(message);
        return 0;
}

static int call_create(const Creation *creation, char **ret_path, Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        const char *path;

        int r = build_create(creation, &message, fault);
        if (r >= 0)
                r = client_call(&creation->context->client, message, &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return r;
        *ret_path = strdup(path);
        return *ret_path ? 0 : -ENOMEM;
}

/* -EEXIST: there is one of this id, but it is older. */
static int find_created(const Creation *creation, uint64_t since, char **ret_path) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_free_ char *path = NULL;
        static const BusField fields[] = { { "Created", "t", 0 }, {} };
        Client *client = &creation->context->client;
        uint64_t created = 0;

        int r = client_get_object(client, &target_tasks, "Get", creation->id, &path, NULL);
        if (r < 0)
                return r;
        const BusTarget container = { CRT_TASKS_NAME, path, CRT_CONTAINER_INTERFACE };
        r = client_get_properties(client, &container, &reply, NULL);
        if (r >= 0)
                r = bus_fields_read(reply, fields, &created);
        if (r < 0)
                return r;
        if (created < since)
                return -EEXIST;
        *ret_path = TAKE_PTR(path);
        return 0;
}

/* When the service ends before it answers, its next run has the container, or removes what is half made;
 * until that is gone, the second call waits. */
static int create(const Creation *creation, char **ret_path, Fault *fault) {
        _cleanup_(fault_done) Fault first = FAULT_NULL;
        struct timespec now;
        (void) clock_gettime(CLOCK_REALTIME, &now);

        int r = call_create(creation, ret_path, &first);
        if (r == -EHOSTUNREACH) {
                uint64_t since = (uint64_t) now.tv_sec * 1000000U + (uint64_t) now.tv_nsec / 1000U;
                int found = find_created(creation, since, ret_path);
                if (found >= 0)
                        return 0;
                if (found == -ENOENT)
                        return call_create(creation, ret_path, fault);
        }
        fault_move(fault, &first);
        return r;
}

static int pull(const Creation *creation, Fault *fault) {
        _cleanup_(transfer_result_done) TransferResult result = { 0 };
        const RunOptions *options = creation->options;
        const PullOptions pull_options = { .platform = options->platform, .quiet = options->quiet };
        return pull_image(creation->context, creation->operands[0], &pull_options, &result, fault);
}

/* That an image is missing is found out by trying: where it is there, that saves a question. */
int run_create(Context *context, const RunOptions *options, char *const *operands, char **ret_path,
               Fault *fault) {
        _cleanup_(fault_done) Fault missing = FAULT_NULL;
        _cleanup_free_ char *random = NULL;
        Creation creation = { context, options, operands, options->name };

        /* An id of ours can be asked for when an answer is lost. */
        int r = creation.id ? 0 : identifier_new_random(RANDOM_ID_LENGTH, &random);
        if (!creation.id)
                creation.id = random;
        if (r >= 0 && options->pull == PULL_ALWAYS) {
                _cleanup_message_ sd_bus_message *message = NULL;
                r = build_create(&creation, &message, fault); /* what is wrong is said before */
                if (r >= 0)
                        r = pull(&creation, fault);
        }
        if (r < 0)
                return r;
        r = create(&creation, ret_path, &missing);
        if (r == -ENOENT && options->pull == PULL_MISSING) {
                r = pull(&creation, fault);
                return r < 0 ? r : create(&creation, ret_path, fault);
        }
        fault_move(fault, &missing);
        return r;
}
