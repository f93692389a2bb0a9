/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/message.h"
#include "lib/path.h"
#include "lib/sandbox.h"
#include "tests/unit/check.h"

/* What a locked-down child does: 0 when it went as it should. */
typedef int (*Act)(void);

/* The child's end: its exit status, or minus the signal that killed it. */
static int run_confined(const Sandbox *sandbox, Act act) {
        fflush(stdout);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
                if (sandbox_enter(sandbox, NULL) < 0)
                        _exit(100);
                _exit(act());
        }
        int status;
        CHECK_INT(waitpid(pid, &status, 0), pid);
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static const Sandbox stream = { .profile = SANDBOX_STREAM };
static const Sandbox tree = { .profile = SANDBOX_TREE };

static int scratch = -EBADF; /* a directory */
static int file = -EBADF;    /* a file in it */

static void *thread_main(void *userdata) {
        *(int *) userdata = 1;
        return NULL;
}

static int act_stream(void) {
        int ran = 0, pipes[2];
        pthread_t thread;
        char buffer[4] = "";
        struct stat st;
        if (pthread_create(&thread, NULL, thread_main, &ran) != 0 || pthread_join(thread, NULL) != 0 || !ran)
                return 1;
        if (pipe2(pipes, O_CLOEXEC) < 0 || write(pipes[1], "abc", 3) != 3 ||
            splice(pipes[0], NULL, file, NULL, 3, 0) != 3 || fsync(file) < 0)
                return 2;
        if (pread(file, buffer, 3, 0) != 3 || memcmp(buffer, "abc", 3) != 0 || fstat(file, &st) < 0)
                return 3;
        void *memory = malloc(64 << 20);
        if (!memory)
                return 4;
        memset(memory, 1, 64 << 20);
        free(memory);
        printf("# the stream works\n");
        fflush(stdout);
        return 0;
}

static void stream_reads_writes_syncs_and_has_threads(void) {
        CHECK_INT(run_confined(&stream, act_stream), 0);
}

static int act_open(void) {
        return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0;
}

static int act_stat(void) {
        struct stat st;
        return stat("/etc/passwd", &st) < 0;
}

static int act_socket(void) {
        return socket(AF_INET, SOCK_STREAM, 0) < 0;
}

static int received = -EBADF; /* a socket on which a message waits, with a descriptor */

static int act_receive(void) {
        char byte;
        int fds[MESSAGE_FDS_MAX];
        size_t count;
        return message_receive(received, &byte, 1, fds, &count) == 1 && count == 1 ? 0 : 1;
}

static int act_receive_from(void) {
        char byte;
        return recv(received, &byte, 1, 0) < 0;
}

/* Whoever can open what lies in a directory must be given none but its own. */
static void a_tree_worker_receives_no_descriptor(void) {
        int sender;
        CHECK_OK(message_pair(&sender, &received));
        CHECK_OK(message_send(sender, "x", 1, &scratch, 1));
        CHECK_INT(run_confined(&tree, act_receive), -SIGSYS);
        CHECK_INT(run_confined(&tree, act_receive_from), -SIGSYS);
        CHECK_INT(run_confined(&stream, act_receive_from), -SIGSYS);
        CHECK_INT(run_confined(&stream, act_receive), 0);
        fd_close(sender);
        received = fd_close(received);
}

static int act_fork(void) {
        return fork() < 0;
}

static int act_execute(void) {
        return execl("/bin/true", "true", NULL);
}

static int act_map_executable(void) {
        return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

static int act_make_executable(void) {
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static int act_kill(void) {
        return kill(1, 0);
}

static int act_trace(void) {
        return syscall(SYS_ptrace, 0, 0, 0, 0) < 0;
}

static int act_unshare(void) {
        return unshare(CLONE_NEWUSER);
}

static int act_mount(void) {
        return mount("none", "/mnt", "tmpfs", 0, NULL);
}

static int act_limit(void) {
        return setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 9, 9 });
}

static void the_rest_kills_a_stream_worker(void) {
        static const struct {
                const char *name;
                Act act;
        } acts[] = {
                { "open", act_open },
                { "stat", act_stat },
                { "socket", act_socket },
                { "fork", act_fork },
                { "execve", act_execute },
                { "mmap executable", act_map_executable },
                { "mprotect executable", act_make_executable },
                { "kill", act_kill },
                { "ptrace", act_trace },
                { "unshare", act_unshare },
                { "mount", act_mount },
                { "setrlimit", act_limit },
        };
        for (size_t i = 0; i < ELEMENTS_OF(acts); i++) {
                int end = run_confined(&stream, acts[i].act);
                CHECK_FORMAT(end == -SIGSYS, "%s ended with %i, not killed", acts[i].name, end);
        }
}

static int act_tree(void) {
        if (mkdirat(scratch, "d", 0700) < 0)
                return 1;
        _cleanup_close_ int directory = openat(scratch, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0)
                return 2;
        _cleanup_close_ int inner = path_open(directory, "f", O_WRONLY | O_CREAT, 0600, PATH_BENEATH);
        if (inner < 0 || fchmod(inner, 0640) < 0 || fchown(inner, getuid(), getgid()) < 0)
                return 3;
        if (linkat(directory, "f", directory, "g", 0) < 0 || symlinkat("g", directory, "s") < 0 ||
            renameat2(directory, "g", directory, "h", RENAME_NOREPLACE) < 0)
                return 4;
        if (mknodat(directory, "p", S_IFIFO | 0600, 0) < 0 || utimensat(directory, "p", NULL, 0) < 0)
                return 5;
        if (fsetxattr(inner, "user.test", "x", 1, 0) < 0 && errno != EOPNOTSUPP)
                return 6;
        /* fchmodat2() as newer C libraries call it */
        if (syscall(452, directory, "f", 0600, 0) < 0 && errno != ENOSYS)
                return 7;
        return syncfs(directory) < 0 ? 8 : 0;
}

static void tree_makes_files_links_and_attributes(void) {
        CHECK_INT(run_confined(&tree, act_tree), 0);
        CHECK_INT(run_confined(&tree, act_stream), 0);
}

static void tree_can_do_no_more_than_that(void) {
        CHECK_INT(run_confined(&tree, act_socket), -SIGSYS);
        CHECK_INT(run_confined(&tree, act_execute), -SIGSYS);
        CHECK_INT(run_confined(&tree, act_fork), -SIGSYS);
        CHECK_INT(run_confined(&tree, act_mount), -SIGSYS);
        CHECK_INT(run_confined(&tree, act_unshare), -SIGSYS);
        CHECK_INT(run_confined(&tree, act_map_executable), -SIGSYS);
}

/* Runs in the tree profile, where /proc can be opened. Exits with the number of the first wrong line. */
static const char *const *expected_status;

static int act_compare_status(void) {
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = openat(AT_FDCWD, "/proc/self/status", O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fd_read_all(fd, 65536, &text, NULL) < 0)
                return 99;
        for (int i = 0; expected_status[i]; i++)
                if (!strstr(text, expected_status[i])) {
                        fprintf(stderr, "# lacks '%s'\n%s", expected_status[i], text);
                        return i + 1;
                }
        return 0;
}

static void nothing_is_left_of_roots_capabilities(void) {
        static const char *const status[] = {
                "\nCapInh:\t0000000000000000\n",
                "\nCapPrm:\t0000000000000000\n",
                "\nCapEff:\t0000000000000000\n",
                "\nCapAmb:\t0000000000000000\n",
                "\nNoNewPrivs:\t1\n",
                "\nSeccomp:\t2\n",
                NULL,
        };
        expected_status = status;
        CHECK_INT(run_confined(&tree, act_compare_status), 0);
}

static void capabilities_to_keep_are_kept(void) {
        static const char *const status[] = {
                "\nCapPrm:\t0000000000000003\n",
                "\nCapEff:\t0000000000000003\n",
                "\nCapBnd:\t0000000000000003\n",
                NULL,
        };
        if (geteuid() != 0)
                check_skip("only root has capabilities to keep");
        Sandbox sandbox = { .profile = SANDBOX_TREE,
                            .keep_capabilities = 1U << CAP_CHOWN | 1U << CAP_DAC_OVERRIDE };
        expected_status = status;
        CHECK_INT(run_confined(&sandbox, act_compare_status), 0);
}

#if defined(__SANITIZE_ADDRESS__)
#define WITH_MEMORY_LIMIT 0
#elif defined(__has_feature)
#define WITH_MEMORY_LIMIT !__has_feature(address_sanitizer)
#else
#define WITH_MEMORY_LIMIT 1
#endif

static int act_take_memory(void) {
        void *volatile block =
                malloc(600U << 20); /* volatile: a compiler may leave out one that is not used */
        return block ? 1 : 0;
}

static int act_take_descriptors(void) {
        int last = 0;
        for (int i = 0; i < 64 && last >= 0; i++)
                last = dup(0);
        return last < 0 && errno == EMFILE ? 0 : 1;
}

static void limits_hold(void) {
        Sandbox memory = { .profile = SANDBOX_STREAM, .memory_limit = 512U << 20 };
        if (WITH_MEMORY_LIMIT)
                CHECK_INT(run_confined(&memory, act_take_memory), 0);
        Sandbox descriptors = { .profile = SANDBOX_STREAM, .descriptor_limit = 32 };
        CHECK_INT(run_confined(&descriptors, act_take_descriptors), 0);
}

static int act_not_dumpable(void) {
        struct rlimit limit;
        return getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0 ? 0 : 1;
}

static void a_core_is_never_written(void) {
        CHECK_INT(run_confined(&stream, act_not_dumpable), 0);
}

static int act_abort(void) {
        abort();
}

static void abort_still_says_abort(void) {
        CHECK_INT(run_confined(&stream, act_abort), -SIGABRT);
}

int main(void) {
        char path[] = "/tmp/test-sandbox.XXXXXX";
        if (!mkdtemp(path))
                return EXIT_FAILURE;
        scratch = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        file = openat(scratch, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        int result = check_run((const Check[]){
                CHECK_CASE(stream_reads_writes_syncs_and_has_threads),
                CHECK_CASE(the_rest_kills_a_stream_worker),
                CHECK_CASE(tree_makes_files_links_and_attributes),
                CHECK_CASE(tree_can_do_no_more_than_that),
                CHECK_CASE(a_tree_worker_receives_no_descriptor),
                CHECK_CASE(nothing_is_left_of_roots_capabilities),
                CHECK_CASE(capabilities_to_keep_are_kept),
                CHECK_CASE(limits_hold),
                CHECK_CASE(a_core_is_never_written),
                CHECK_CASE(abort_still_says_abort),
                {},
        });
        fd_close(file);
        fd_close(scratch);
        (void) path_remove_tree(AT_FDCWD, path);
        return result;
}
