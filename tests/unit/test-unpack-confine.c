/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What whoever takes over one of the processes of crt-unpack can do then: each attempt is made in a process
 * that was confined like the real one, and must end it or be refused. */

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fd.h"
#include "services/snapshots/directory-finish.h"
#include "services/snapshots/unpack-confine.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/check.h"

enum { ATTEMPT_DONE = 10, ATTEMPT_REFUSED, ATTEMPT_NOT_CONFINED };

static int tree_fd = -1; /* the root, as the writer has it */
static pid_t parent;

/* ---- attempts: negative when refused ---- */

#define ATTEMPT(name, call)                                                                                 \
        static long try_##name(void) {                                                                      \
                return call;                                                                                \
        }

static struct open_how how_of(uint64_t flags) {
        return (struct open_how){ .flags = flags };
}

static long open_with(const char *path, uint64_t flags) {
        struct open_how how = how_of(flags);
        return syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

static long connect_to(int family) {
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/run/dbus/system_bus_socket" };
        long fd = syscall(SYS_socket, family, SOCK_STREAM, 0);
        return fd < 0 ? fd : connect((int) fd, (struct sockaddr *) &address, sizeof(address));
}

static long raise_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = { { .effective = ~0U, .permitted = ~0U }, { 0 } };
        return syscall(SYS_capset, &header, data);
}

static long open_a_device(void) {
        if (mknodat(tree_fd, "device", S_IFCHR | 0666, makedev(1, 3)) < 0)
                return -1;
        return openat(tree_fd, "device", O_RDWR);
}

static long follow_a_link(void) {
        if (symlinkat("made", tree_fd, "link") < 0)
                return -1;
        return openat(tree_fd, "link", O_RDONLY);
}

static long execute_own_page(void) {
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static long raise_a_limit(void) {
        const struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
        return setrlimit(RLIMIT_CPU, &limit);
}

static long take_space(void) {
        int fd = openat(tree_fd, "taken", O_WRONLY | O_CREAT, 0600);
        return fd < 0 ? fd : fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096);
}

ATTEMPT(open_passwd, open("/etc/passwd", O_RDONLY))
ATTEMPT(open_proc, open_with("/proc/self/mem", O_RDWR))
ATTEMPT(open_above, openat(tree_fd, "../../etc/passwd", O_RDONLY))
ATTEMPT(connect_unix, connect_to(AF_UNIX))
ATTEMPT(connect_inet, connect_to(AF_INET))
ATTEMPT(connect_netlink, connect_to(AF_NETLINK))
ATTEMPT(ptrace_parent, ptrace(PTRACE_ATTACH, parent, 0, 0))
ATTEMPT(ptrace_me, ptrace(PTRACE_TRACEME, 0, 0, 0))
ATTEMPT(read_memory_of_parent, syscall(SYS_process_vm_readv, parent, NULL, 0, NULL, 0, 0))
ATTEMPT(signal_parent, kill(parent, 0))
ATTEMPT(pidfd_of_parent, syscall(SYS_pidfd_open, parent, 0))
ATTEMPT(mount_proc, mount("proc", "/", "proc", 0, NULL))
ATTEMPT(unmount, umount2("/", MNT_DETACH))
ATTEMPT(clone_mount, open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE))
ATTEMPT(open_file_system, fsopen("tmpfs", 0))
ATTEMPT(user_namespace, unshare(CLONE_NEWUSER))
ATTEMPT(mount_namespace, unshare(CLONE_NEWNS))
ATTEMPT(enter_namespace, setns(tree_fd, 0))
ATTEMPT(change_root, chroot("/"))
ATTEMPT(execute, execl("/bin/true", "true", NULL))
ATTEMPT(make_process, fork())
ATTEMPT(load_bpf, syscall(SYS_bpf, BPF_MAP_CREATE, NULL, 0))
ATTEMPT(measure, syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0))
ATTEMPT(io_uring, syscall(SYS_io_uring_setup, 1, NULL))
ATTEMPT(user_faults, syscall(SYS_userfaultfd, 0))
ATTEMPT(keys, syscall(SYS_keyctl, 0, 0, 0, 0, 0))
ATTEMPT(load_module, syscall(SYS_finit_module, tree_fd, "", 0))
ATTEMPT(reboot, syscall(SYS_reboot, 0, 0, 0, NULL))
ATTEMPT(set_clock, syscall(SYS_clock_settime, CLOCK_REALTIME, NULL))
ATTEMPT(host_name, sethostname("x", 1))
ATTEMPT(become_somebody, setuid(1))
ATTEMPT(capabilities, raise_capabilities())
ATTEMPT(be_dumpable, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
ATTEMPT(own_page, execute_own_page())
ATTEMPT(executable_page, (long) mmap(NULL, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
ATTEMPT(personality, syscall(SYS_personality, 0x0040000))
ATTEMPT(type_into_terminal, ioctl(2, TIOCSTI, "x"))
ATTEMPT(open_handle, syscall(SYS_open_by_handle_at, tree_fd, NULL, 0))
ATTEMPT(trace_calls, syscall(SYS_seccomp, 0, 0, NULL))
ATTEMPT(limit, raise_a_limit())
ATTEMPT(limit_of_parent, syscall(SYS_prlimit64, parent, RLIMIT_NOFILE, NULL, NULL))
ATTEMPT(memory_file, syscall(SYS_memfd_create, "x", 0))
ATTEMPT(receive_descriptors, syscall(SYS_recvmsg, 0, NULL, 0))
ATTEMPT(overlay_mark, syscall(SYS_setxattr, "/", "trusted.overlay.opaque", "y", 1, 0))
ATTEMPT(device, open_a_device())
ATTEMPT(link, follow_a_link())
ATTEMPT(space, take_space())

#define ROW(name)                                                                                           \
        { #name, try_##name }
static const struct {
        const char *name;
        long (*attempt)(void);
} attempts[] = {
        ROW(open_passwd),
        ROW(open_proc),
        ROW(open_above),
        ROW(connect_unix),
        ROW(connect_inet),
        ROW(connect_netlink),
        ROW(ptrace_parent),
        ROW(ptrace_me),
        ROW(read_memory_of_parent),
        ROW(signal_parent),
        ROW(pidfd_of_parent),
        ROW(mount_proc),
        ROW(unmount),
        ROW(clone_mount),
        ROW(open_file_system),
        ROW(user_namespace),
        ROW(mount_namespace),
        ROW(enter_namespace),
        ROW(change_root),
        ROW(execute),
        ROW(make_process),
        ROW(load_bpf),
        ROW(measure),
        ROW(io_uring),
        ROW(user_faults),
        ROW(keys),
        ROW(load_module),
        ROW(reboot),
        ROW(set_clock),
        ROW(host_name),
        ROW(become_somebody),
        ROW(capabilities),
        ROW(be_dumpable),
        ROW(own_page),
        ROW(executable_page),
        ROW(personality),
        ROW(type_into_terminal),
        ROW(open_handle),
        ROW(trace_calls),
        ROW(limit),
        ROW(limit_of_parent),
        ROW(memory_file),
        ROW(overlay_mark),
        ROW(device),
        ROW(link),
        ROW(space),
};

/* ---- a process like the real one ---- */

static int confine(LayerPart part, int top) {
        Fault fault = FAULT_NULL;
        int tree = open_tree(top, "t", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (tree < 0 || unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
                return -errno;
        tree_fd = unpack_enter_tree(tree, &fault);
        return tree_fd < 0 ? tree_fd : unpack_confine(part, 1, &fault);
}

/* What it exits with, or minus the signal that ended it. */
static int run(LayerPart part, long (*attempt)(void)) {
        _cleanup_close_ int top = check_directory();
        (void) mkdirat(top, "t", 0755);
        parent = getpid();
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
                if (confine(part, top) < 0)
                        _exit(ATTEMPT_NOT_CONFINED);
                _exit(attempt() < 0 ? ATTEMPT_REFUSED : ATTEMPT_DONE);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void check_part(LayerPart part) {
        if (geteuid() != 0)
                check_skip("only root can make mount namespaces here");
        for (size_t i = 0; i < ELEMENTS_OF(attempts); i++) {
                int outcome = run(part, attempts[i].attempt);
                CHECK_FORMAT(outcome == -SIGSYS || outcome == ATTEMPT_REFUSED, "%s: %i", attempts[i].name,
                             outcome);
        }
}

/* ---- cases ---- */

static void the_decompressor_can_do_nothing_else(void) {
        check_part(LAYER_PART_DECOMPRESS);
}

static void the_relay_can_do_nothing_else(void) {
        check_part(LAYER_PART_RELAY);
}

static void the_writer_can_do_nothing_else(void) {
        check_part(LAYER_PART_WRITE);
        CHECK_INT(run(LAYER_PART_WRITE, try_receive_descriptors), -SIGSYS);
}

static long make_a_file(void) {
        int fd = openat(tree_fd, "made", O_WRONLY | O_CREAT | O_EXCL, 0644);
        return fd < 0 ? fd : fchown(fd, 1, 2) < 0 ? -1 : write(fd, "x", 1);
}

static long allocate_memory(size_t size) {
        void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return data == MAP_FAILED ? -1 : 0;
}

static long allocate_a_little(void) {
        return allocate_memory((size_t) 128 << 20);
}

static long allocate_too_much(void) {
        return allocate_memory((size_t) 2 << 30);
}

static void each_can_do_its_own_work(void) {
        if (geteuid() != 0)
                check_skip("only root can make mount namespaces here");
        CHECK_INT(run(LAYER_PART_WRITE, make_a_file), ATTEMPT_DONE);
        CHECK(run(LAYER_PART_DECOMPRESS, make_a_file) == -SIGSYS &&
              run(LAYER_PART_RELAY, make_a_file) == -SIGSYS);
        CHECK_INT(run(LAYER_PART_DECOMPRESS, allocate_a_little), ATTEMPT_DONE);
}

static void memory_is_limited(void) {
#ifdef __SANITIZE_ADDRESS__
        check_skip("AddressSanitizer needs more than any limit");
#endif
        if (geteuid() != 0)
                check_skip("only root can make mount namespaces here");
        for (LayerPart part = 0; part < _LAYER_PART_MAX; part++)
                CHECK_INT(run(part, allocate_too_much), ATTEMPT_REFUSED);
}

/* However small a layer may be, what is noted about it may be as large as that. */
static long write_at(off_t offset) {
        int fd = openat(tree_fd, "large", O_WRONLY | O_CREAT, 0600);
        return fd < 0 ? fd : pwrite(fd, "x", 1, offset);
}

static long write_the_last_byte(void) {
        return write_at((off_t) DIRECTORY_NOTES_MAX - 1);
}

static long write_one_more(void) {
        return write_at((off_t) DIRECTORY_NOTES_MAX);
}

static long make_it_longer(void) {
        int fd = openat(tree_fd, "large", O_WRONLY | O_CREAT, 0600);
        return fd < 0 ? fd : ftruncate(fd, (off_t) DIRECTORY_NOTES_MAX + 1);
}

static void no_file_is_larger_than_a_layer(void) {
        if (geteuid() != 0)
                check_skip("only root can make mount namespaces here");
        CHECK_INT(run(LAYER_PART_WRITE, write_the_last_byte), ATTEMPT_DONE);
        CHECK_INT(run(LAYER_PART_WRITE, write_one_more), -SIGXFSZ);
        CHECK_INT(run(LAYER_PART_WRITE, make_it_longer), -SIGXFSZ);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(the_decompressor_can_do_nothing_else),
                CHECK_CASE(the_relay_can_do_nothing_else),
                CHECK_CASE(the_writer_can_do_nothing_else),
                CHECK_CASE(each_can_do_its_own_work),
                CHECK_CASE(memory_is_limited),
                CHECK_CASE(no_file_is_larger_than_a_layer),
                {},
        });
}
