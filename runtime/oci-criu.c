/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-criu.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "lib/path.h"
#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/mount-options.h"
#include "runtime/oci-log.h"
#include "runtime/oci-process.h"

#define LOG_SIZE_MAX (64 * 1024 * 1024)
#define SENTENCE_MAX 400
#define LOG_LEVEL 4
#define ANSWER_MAX 65536

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

static int make_directory(const char *option, const char *path, char **ret, int *ret_fd, Fault *fault) {
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return fault_set_errno(fault, -errno, "%s: %s", option, path);
        *ret = realpath(path, NULL);
        *ret_fd = *ret ? open(*ret, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
        return *ret_fd < 0 ? fault_set_errno(fault, -errno, "%s: %s", option, path) : 0;
}

static void add_flags(OciCriu *criu, const OciCheckpointOptions *options) {
        const struct {
                bool given;
                CriuField field;
        } flags[] = {
                { options->leave_running, CRIU_LEAVE_RUNNING },
                { options->tcp_established, CRIU_TCP_ESTABLISHED },
                { options->tcp_skip_in_flight, CRIU_TCP_SKIP_IN_FLIGHT },
                { options->ext_unix_sk, CRIU_EXT_UNIX_SK },
                { options->shell_job, CRIU_SHELL_JOB },
                { options->lazy_pages, CRIU_LAZY_PAGES },
                { options->file_locks, CRIU_FILE_LOCKS },
                { options->auto_dedup, CRIU_AUTO_DEDUP },
                { options->link_remap, CRIU_LINK_REMAP },
                { true, CRIU_EVASIVE_DEVICES },
                { true, CRIU_NOTIFY_SCRIPTS },
                { true, CRIU_ORPHAN_PTS_MASTER }, /* the terminal's master is outside */
        };
        for (size_t i = 0; i < ELEMENTS_OF(flags); i++)
                if (flags[i].given)
                        criu_message_add_number(&criu->options, flags[i].field, 1);
}

/* The container's cgroup is this runtime's: criu leaves it alone unless told. */
static int add_cgroups_mode(OciCriu *criu, const char *mode, Fault *fault) {
        static const char *const modes[] = {
                [0] = "ignore",
                [3] = "soft",
                [4] = "full",
                [5] = "strict",
        };
        int number = string_table_find(modes, ELEMENTS_OF(modes), mode ? mode : "ignore");
        if (number < 0)
                return fault_set(fault, -EINVAL,
                                 "--manage-cgroups-mode: '%s' is not soft, full, strict or ignore", mode);
        criu_message_add_number(&criu->options, CRIU_MANAGE_CGROUPS_MODE, (unsigned) number);
        return 0;
}

static int add_empty_namespaces(OciCriu *criu, const OciList *names, Fault *fault) {
        for (size_t i = 0; i < names->count; i++)
                if (!string_equal(names->items[i], "network") && !string_equal(names->items[i], "net"))
                        return fault_set(fault, -EINVAL, "--empty-ns: '%s': criu knows only network",
                                         names->items[i]);
        if (names->count > 0)
                criu_message_add_number(&criu->options, CRIU_EMPTY_NAMESPACES, CLONE_NEWNET);
        return 0;
}

int oci_criu_begin(OciCriu *criu, const OciOptions *options, CriuRequestType type, Fault *fault) {
        const OciCheckpointOptions *given = &options->checkpoint;
        const char *images = given->image_path ? given->image_path : "checkpoint";
        int r;
        criu->type = type;
        criu->log_name = type == CRIU_RESTORE ? "restore.log" : "dump.log";
        if ((r = find_program(options->criu ? options->criu : "criu", &criu->program, fault)) < 0 ||
            (r = make_directory("--image-path", images, &criu->images_path, &criu->images_fd, fault)) < 0 ||
            (r = make_directory("--work-path", given->work_path ? given->work_path : images,
                                &criu->work_path, &criu->work_fd, fault)) < 0)
                return r;
        criu_message_add_number(&criu->options, CRIU_IMAGES_DIR_FD, (unsigned) criu->images_fd);
        criu_message_add_number(&criu->options, CRIU_WORK_DIR_FD, (unsigned) criu->work_fd);
        criu_message_add_text(&criu->options, CRIU_LOG_FILE, criu->log_name);
        criu_message_add_number(&criu->options, CRIU_LOG_LEVEL, LOG_LEVEL);
        add_flags(criu, given);
        r = add_cgroups_mode(criu, given->cgroups_mode, fault);
        return r < 0 ? r : add_empty_namespaces(criu, &given->empty_ns, fault);
}

static int add_external_mount(OciCriu *criu, const char *name, const char *place) {
        _cleanup_free_ char *text = NULL;
        if (asprintf(&text, "mnt[%s]:%s", name, place) < 0)
                return -ENOMEM;
        oci_log_debug("criu: external %s", text);
        criu_message_add_text(&criu->options, CRIU_EXTERNAL, text);
        return 0;
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
                        r = add_external_mount(criu, config->masked_paths[i], "/dev/null");
        return r;
}

int oci_criu_add_mounts(OciCriu *criu, const RuntimeConfig *config, pid_t pid, Fault *fault) {
        int r = 0;
        for (size_t i = 0; i < config->mount_count && r >= 0; i++) {
                const RuntimeMount *mount = &config->mounts[i];
                if (is_bind(mount, i))
                        r = add_external_mount(criu, mount->destination,
                                               pid == 0 ? mount->source : mount->destination);
        }
        if (r >= 0)
                r = pid == 0 ? add_external_mount(criu, "/dev/null", "/dev/null")
                             : add_masked_files(criu, config, pid);
        return r < 0 ? fault_set_errno(fault, r, "what is mounted from outside") : 0;
}

/* "(00.012345) Error (criu/file.c:12): What went wrong": the last such line is the nearest to the end that
 * criu came to, the first to the cause. */
static void explain(const OciCriu *criu, CriuAnswer *answer, Fault *fault) {
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int directory = open(criu->work_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int fd = directory < 0 ? -EBADF
                                               : openat(directory, criu->log_name,
                                                        O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        char *error =
                fd >= 0 && fd_read_all(fd, LOG_SIZE_MAX, &text, NULL) >= 0 ? strstr(text, "Error (") : NULL;
        if (!error && answer->error[0]) {
                string_make_printable(answer->error);
                (void) fault_set(fault, -EIO, "criu: %.*s", SENTENCE_MAX, answer->error);
                return;
        }
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

int oci_criu_start(OciCriu *criu, Fault *fault) {
        const char *const arguments[] = { "criu", "swrk", "3", NULL };
        ProcessSpawn spawn = PROCESS_SPAWN_INIT;
        _cleanup_close_ int other = -EBADF;
        int r = message_pair(&criu->socket, &other);
        if (r >= 0)
                r = fd_set_nonblocking(criu->socket, false);
        if (r < 0)
                return r;
        spawn.path = criu->program;
        spawn.arguments = arguments;
        spawn.cgroup_fd = criu->cgroup_fd;
        spawn.fds = &other;
        spawn.fd_count = 1;
        oci_process_standard(spawn.standard);
        oci_log_debug("%s is asked to work on %s", criu->program, criu->images_path);
        r = process_spawn(&spawn, NULL, &criu->pidfd);
        return r < 0 ? fault_set_errno(fault, r, "%s", criu->program) : 0;
}

static int send_message(const OciCriu *criu, int r, CriuMessage *message) {
        if (r >= 0)
                r = message_send(criu->socket, message->data, message->size, NULL, 0);
        criu_message_done(message);
        return r;
}

static int receive_answer(const OciCriu *criu, CriuAnswer *answer, int *ret_fd) {
        uint8_t data[ANSWER_MAX];
        int fds[MESSAGE_FDS_MAX];
        size_t fd_count = 0;
        ssize_t n = message_receive(criu->socket, data, sizeof(data), fds, &fd_count);
        if (n <= 0)
                return n == 0 ? -ECONNRESET : (int) n;
        *ret_fd = fd_count > 0 ? TAKE_FD(fds[0]) : -EBADF;
        fd_close_many(fds, fd_count);
        return criu_answer_parse(data, (size_t) n, answer);
}

/* Until its last word; what it tells on the way waits for a reply. */
static int converse(const OciCriu *criu, CriuAnswer *answer, Fault *fault) {
        CriuMessage message = { 0 };
        int r = send_message(criu, criu_message_build_request(criu->type, &criu->options, &message),
                             &message);
        while (r >= 0) {
                _cleanup_close_ int fd = -EBADF;
                int told = 0;
                if ((r = receive_answer(criu, answer, &fd)) < 0 || answer->type != CRIU_NOTIFY)
                        return r;
                oci_log_debug("criu tells: %s", answer->script);
                if (criu->notify)
                        told = criu->notify(criu->userdata, answer, TAKE_FD(fd), fault);
                message = (CriuMessage){ 0 };
                r = send_message(criu, criu_message_build_reply(told >= 0, &message), &message);
        }
        return r;
}

/* After a "pre-dump" it waits for another one, and is not content with the end. */
int oci_criu_run(OciCriu *criu, pid_t *ret_pid, Fault *fault) {
        CriuAnswer answer = { 0 };
        siginfo_t end = { 0 };
        int r = converse(criu, &answer, fault);
        criu->socket = fd_close(criu->socket);
        bool good = r >= 0 && answer.success && answer.type == criu->type;
        r = process_wait(criu->pidfd, 0, &end);
        criu->pidfd = fd_close(criu->pidfd);
        if (r < 0)
                return fault_set_errno(fault, r, "waiting for criu");
        good = good && (criu->type == CRIU_PRE_DUMP || (end.si_code == CLD_EXITED && end.si_status == 0));
        if (good && criu->type == CRIU_RESTORE && answer.pid == 0)
                good = false;
        if (!good) {
                explain(criu, &answer, fault);
                return -EIO;
        }
        if (ret_pid)
                *ret_pid = answer.pid;
        return 0;
}

void oci_criu_done(OciCriu *criu) {
        int fds[] = { criu->images_fd, criu->work_fd, criu->socket };
        process_kill_and_reap(criu->pidfd);
        fd_close_many(fds, ELEMENTS_OF(fds));
        criu_message_done(&criu->options);
        free(criu->program);
        free(criu->images_path);
        free(criu->work_path);
        *criu = OCI_CRIU_INIT;
}
