/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-criu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/path.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/mount-options.h"
#include "runtime/oci-log.h"
#include "runtime/oci-process.h"

#define LOG_SIZE_MAX (64 * 1024 * 1024)
#define SENTENCE_MAX 400

int oci_criu_add(OciCriu *criu, const char *argument) {
        return strv_append(&criu->arguments, argument);
}

int oci_criu_addf(OciCriu *criu, const char *format, ...) {
        char *argument = NULL;
        va_list arguments;
        va_start(arguments, format);
        int n = vasprintf(&argument, format, arguments);
        va_end(arguments);
        return n < 0 ? -ENOMEM : strv_consume(&criu->arguments, argument);
}

static int find_program(const char *name, char **ret, Fault *fault) {
        const char *search = getenv("PATH");
        if (strchr(name, '/')) {
                *ret = realpath(name, NULL);
                return *ret ? 0 : fault_set_errno(fault, -errno, "--criu: %s", name);
        }
        search = search ? search : "/usr/sbin:/usr/bin:/sbin:/bin";
        while (*search) {
                size_t n = strcspn(search, ":");
                _cleanup_free_ char *path = NULL;
                if (asprintf(&path, "%.*s/%s", (int) n, search, name) < 0)
                        return -ENOMEM;
                if (path[0] == '/' && access(path, X_OK) >= 0) {
                        *ret = TAKE_PTR(path);
                        return 0;
                }
                search += n + (search[n] == ':');
        }
        return fault_set(fault, -EOPNOTSUPP,
                         "checkpoint and restore need the program %s, which is not installed", name);
}

static int make_directory(const char *option, const char *path, char **ret, Fault *fault) {
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return fault_set_errno(fault, -errno, "%s: %s", option, path);
        *ret = realpath(path, NULL);
        return *ret ? 0 : fault_set_errno(fault, -errno, "%s: %s", option, path);
}

static int add_flags(OciCriu *criu, const OciCheckpointOptions *options) {
        const struct {
                bool given;
                const char *flag;
        } flags[] = {
                { options->leave_running, "--leave-running" },
                { options->tcp_established, "--tcp-established" },
                { options->tcp_skip_in_flight, "--skip-in-flight" },
                { options->ext_unix_sk, "--ext-unix-sk" },
                { options->shell_job, "--shell-job" },
                { options->lazy_pages, "--lazy-pages" },
                { options->file_locks, "--file-locks" },
                { options->auto_dedup, "--auto-dedup" },
                { options->link_remap, "--link-remap" },
        };
        int r = 0;
        for (size_t i = 0; i < ELEMENTS_OF(flags) && r >= 0; i++)
                if (flags[i].given)
                        r = oci_criu_add(criu, flags[i].flag);
        return r;
}

/* The container's cgroup is this runtime's: criu leaves it alone unless told. */
static int add_cgroups_mode(OciCriu *criu, const char *mode, Fault *fault) {
        static const char *const modes[] = { "soft", "full", "strict", "ignore" };
        if (!mode)
                mode = "ignore";
        if (string_table_find(modes, ELEMENTS_OF(modes), mode) < 0)
                return fault_set(fault, -EINVAL,
                                 "--manage-cgroups-mode: '%s' is not soft, full, strict or ignore", mode);
        return oci_criu_addf(criu, "--manage-cgroups=%s", mode);
}

static int add_empty_namespaces(OciCriu *criu, const OciList *names, Fault *fault) {
        int r = 0;
        for (size_t i = 0; i < names->count && r >= 0; i++) {
                if (!string_equal(names->items[i], "network") && !string_equal(names->items[i], "net"))
                        return fault_set(fault, -EINVAL, "--empty-ns: '%s': criu knows only network",
                                         names->items[i]);
                r = oci_criu_add(criu, "--empty-ns=net");
        }
        return r;
}

int oci_criu_begin(OciCriu *criu, const OciOptions *options, const char *action, Fault *fault) {
        const OciCheckpointOptions *given = &options->checkpoint;
        const char *images = given->image_path ? given->image_path : "checkpoint";
        _cleanup_free_ char *program = NULL;
        int r;
        criu->log_name = string_equal(action, "restore") ? "restore.log" : "dump.log";
        if ((r = find_program(options->criu ? options->criu : "criu", &program, fault)) < 0 ||
            (r = make_directory("--image-path", images, &criu->images_path, fault)) < 0 ||
            (r = make_directory("--work-path", given->work_path ? given->work_path : images,
                                &criu->work_path, fault)) < 0 ||
            (r = oci_criu_add(criu, program)) < 0 || (r = oci_criu_add(criu, action)) < 0 ||
            (r = oci_criu_addf(criu, "--images-dir=%s", criu->images_path)) < 0 ||
            (r = oci_criu_addf(criu, "--work-dir=%s", criu->work_path)) < 0 ||
            (r = oci_criu_addf(criu, "--log-file=%s", criu->log_name)) < 0 ||
            (r = oci_criu_add(criu, "-v4")) < 0 || (r = oci_criu_add(criu, "--evasive-devices")) < 0 ||
            (r = add_flags(criu, given)) < 0 || (r = add_cgroups_mode(criu, given->cgroups_mode, fault)) < 0)
                return r;
        return add_empty_namespaces(criu, &given->empty_ns, fault);
}

static bool is_bind(const RuntimeMount *mount, size_t index) {
        MountOptions options;
        if (mount_options_parse(mount->type, mount->options, index, &options, NULL) < 0)
                return false;
        bool bind = options.bind;
        mount_options_done(&options);
        return bind;
}

/* A masked file is the null device, bound; a masked directory is a file system that criu saves itself. */
static bool is_masked_file(int root, const char *path) {
        struct stat st;
        _cleanup_close_ int fd = path_open(root, path, O_PATH | O_NOFOLLOW, 0, PATH_IN_ROOT);
        return fd >= 0 && fstat(fd, &st) >= 0 && S_ISCHR(st.st_mode);
}

static int add_masked_files(OciCriu *criu, const RuntimeConfig *config, pid_t pid) {
        char path[64];
        (void) snprintf(path, sizeof(path), "/proc/%i/root", pid);
        _cleanup_close_ int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = root < 0 ? -errno : 0;
        for (size_t i = 0; config->masked_paths && config->masked_paths[i] && r >= 0; i++)
                if (is_masked_file(root, config->masked_paths[i]))
                        r = oci_criu_addf(criu, "--external=mnt[%s]:/dev/null", config->masked_paths[i]);
        return r;
}

int oci_criu_add_mounts(OciCriu *criu, const RuntimeConfig *config, pid_t pid, Fault *fault) {
        int r = 0;
        for (size_t i = 0; i < config->mount_count && r >= 0; i++) {
                const RuntimeMount *mount = &config->mounts[i];
                if (is_bind(mount, i))
                        r = oci_criu_addf(criu, "--external=mnt[%s]:%s", mount->destination,
                                          pid == 0 ? mount->source : mount->destination);
        }
        if (r >= 0)
                r = pid == 0 ? oci_criu_add(criu, "--external=mnt[/dev/null]:/dev/null")
                             : add_masked_files(criu, config, pid);
        return r < 0 ? fault_set_errno(fault, r, "what is mounted from outside") : 0;
}

/* "(00.012345) Error (criu/file.c:12): What went wrong": the last such line is the nearest to the end that
 * criu came to, the first to the cause. */
static void explain(const OciCriu *criu, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int directory = open(criu->work_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int fd =
                directory < 0 ? -EBADF
                              : openat(directory, criu->log_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        char *error =
                fd >= 0 && fd_read_all(fd, LOG_SIZE_MAX, &text, NULL) >= 0 ? strstr(text, "Error (") : NULL;
        if (!error) {
                (void) fault_set(fault, -EIO, "criu failed before it could say why (%s/%s)", criu->work_path,
                                 criu->log_name);
                return;
        }
        char *sentence = strstr(error, "): ");
        sentence = sentence ? sentence + strlen("): ") : error;
        sentence[strcspn(sentence, "\n")] = '\0';
        string_make_printable(sentence);
        (void) fault_set(fault, -EIO, "criu: %.*s (all of it is in %s/%s)", SENTENCE_MAX, sentence,
                         criu->work_path, criu->log_name);
}

int oci_criu_run(const OciCriu *criu, Fault *fault) {
        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        siginfo_t end = { 0 };
        pid_t pid;
        int pidfd = -EBADF;
        spawn.path = criu->arguments[0];
        spawn.arguments = (const char *const *) criu->arguments;
        spawn.cgroup_fd = criu->cgroup_fd;
        spawn.fds = &criu->status_fd;
        spawn.fd_count = criu->status_fd >= 0 ? 1 : 0;
        oci_process_standard(spawn.standard);
        for (size_t i = 0; criu->arguments[i]; i++)
                oci_log_debug("criu argument %zu: %s", i, criu->arguments[i]);
        int r = process_spawn(&spawn, &pid, &pidfd);
        if (r < 0)
                return fault_set_errno(fault, r, "%s", spawn.path);
        r = process_wait(pidfd, 0, &end);
        fd_close(pidfd);
        if (r < 0)
                return fault_set_errno(fault, r, "waiting for criu");
        if (end.si_code == CLD_EXITED && end.si_status == 0)
                return 0;
        explain(criu, fault);
        return -EIO;
}

void oci_criu_done(OciCriu *criu) {
        criu->arguments = strv_free(criu->arguments);
        criu->images_path = mfree(criu->images_path);
        criu->work_path = mfree(criu->work_path);
}
