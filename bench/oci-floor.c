/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The floor under an OCI runtime: what the kernel alone takes for the container that "runc spec" describes.
 * The same namespaces, mounts, devices, masked paths, cgroup, capabilities and filters, with nothing read,
 * checked, remembered or reported.
 *
 *     oci-floor ROOTFS CGROUP [FILTER]     FILTER: a seccomp program as struct sock_filter[]
 *
 * It runs /bin/true in there and removes the cgroup again. Static, as crt-oci is. */

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEED(call)                                                                                          \
        do {                                                                                                \
                if ((call) < 0) {                                                                           \
                        perror(#call);                                                                      \
                        _exit(1);                                                                           \
                }                                                                                           \
        } while (0)

#define CAPABILITIES (1U << CAP_AUDIT_WRITE | 1U << CAP_KILL | 1U << CAP_NET_BIND_SERVICE)
#define NO_ALL (MS_NOSUID | MS_NOEXEC | MS_NODEV)

static const char *root;
static struct sock_filter filter[BPF_MAXINSNS];
static struct sock_fprog program = { .filter = filter };

static void mount_all(void) {
        static const struct {
                const char *source, *place, *type, *data;
                unsigned long flags;
        } mounts[] = {
                { "proc", "proc", "proc", NULL, 0 },
                { "tmpfs", "dev", "tmpfs", "mode=755,size=65536k", MS_NOSUID | MS_STRICTATIME },
                { "devpts", "dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5",
                  MS_NOSUID | MS_NOEXEC },
                { "shm", "dev/shm", "tmpfs", "mode=1777,size=65536k", NO_ALL },
                { "mqueue", "dev/mqueue", "mqueue", NULL, NO_ALL },
                { "sysfs", "sys", "sysfs", NULL, NO_ALL | MS_RDONLY },
                { "cgroup", "sys/fs/cgroup", "cgroup2", NULL, NO_ALL | MS_RDONLY },
        };
        for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
                (void) mkdir(mounts[i].place, 0755);
                NEED(mount(mounts[i].source, mounts[i].place, mounts[i].type, mounts[i].flags,
                           mounts[i].data));
        }
}

static void make_devices(void) {
        static const struct {
                const char *name;
                unsigned major, minor;
        } devices[] = { { "dev/null", 1, 3 },   { "dev/zero", 1, 5 },    { "dev/full", 1, 7 },
                        { "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 } };
        for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
                NEED(mknod(devices[i].name, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
        NEED(symlink("/proc/self/fd", "dev/fd"));
        NEED(symlink("/proc/self/fd/0", "dev/stdin"));
        NEED(symlink("/proc/self/fd/1", "dev/stdout"));
        NEED(symlink("/proc/self/fd/2", "dev/stderr"));
        NEED(symlink("pts/ptmx", "dev/ptmx"));
}

static void cover_paths(void) {
        static const char *const masked[] = {
                "proc/acpi",          "proc/asound",     "proc/kcore",       "proc/keys",
                "proc/latency_stats", "proc/timer_list", "proc/timer_stats", "proc/sched_debug",
                "sys/firmware",       "proc/scsi",
        };
        static const char *const readonly[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys",
                                                "proc/sysrq-trigger" };
        struct stat st;
        for (size_t i = 0; i < sizeof(readonly) / sizeof(readonly[0]); i++)
                if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) >= 0)
                        NEED(mount(NULL, readonly[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
        for (size_t i = 0; i < sizeof(masked) / sizeof(masked[0]); i++)
                if (stat(masked[i], &st) >= 0) {
                        if (S_ISDIR(st.st_mode))
                                NEED(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, "size=0k"));
                        else
                                NEED(mount("/dev/null", masked[i], NULL, MS_BIND, NULL));
                }
}

static void drop_privileges(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = { { CAPABILITIES, CAPABILITIES, 0 } };
        struct rlimit files = { 1024, 1024 };
        data[0].effective = data[0].permitted = (uint32_t) CAPABILITIES;
        NEED(setrlimit(RLIMIT_NOFILE, &files));
        for (int i = 0; i <= CAP_LAST_CAP; i++)
                if (i >= 32 || !(CAPABILITIES & (1U << i)))
                        NEED(prctl(PR_CAPBSET_DROP, i, 0, 0, 0));
        NEED(syscall(SYS_capset, &header, data));
        NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        if (program.len > 0)
                NEED(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

static void run_inside(void) {
        static char path[] = "/bin/true", search[] = "PATH=/bin", terminal[] = "TERM=xterm";
        static char *const arguments[] = { path, NULL };
        static char *const environment[] = { search, terminal, NULL };
        NEED(setsid());
        NEED(unshare(CLONE_NEWCGROUP));
        NEED(sethostname("runc", 4));
        NEED(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        NEED(mount(root, root, NULL, MS_BIND | MS_REC, NULL));
        NEED(chdir(root));
        mount_all();
        make_devices();
        cover_paths();
        NEED(mount(NULL, root, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
        NEED(syscall(SYS_pivot_root, ".", "."));
        NEED(umount2(".", MNT_DETACH));
        NEED(chdir("/"));
        drop_privileges();
        NEED(execve(arguments[0], arguments, environment));
}

#define LOAD(to, field)                                                                                     \
        { BPF_LDX | BPF_MEM | BPF_W, to, BPF_REG_1, offsetof(struct bpf_cgroup_dev_ctx, field), 0 }
#define IF(how, what, value, over)                                                                          \
        { BPF_JMP32 | (how) | BPF_K, what, 0, over, value }
#define SET(how, to, value)                                                                                 \
        { BPF_ALU | (how) | BPF_K, to, 0, 0, value }

/* What the configuration says: no device but those that every container has (config-linux.md, "Default
 * Devices"), and the making of any node. */
static void filter_devices(int cgroup) {
        static const struct bpf_insn rules[] = {
                LOAD(BPF_REG_2, access_type),
                { BPF_ALU | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0 },
                SET(BPF_RSH, BPF_REG_3, 16),
                SET(BPF_AND, BPF_REG_2, 0xffff),
                LOAD(BPF_REG_4, major),
                LOAD(BPF_REG_5, minor),
                IF(BPF_JEQ, BPF_REG_3, BPF_DEVCG_ACC_MKNOD, 10),
                IF(BPF_JNE, BPF_REG_2, BPF_DEVCG_DEV_CHAR, 11),
                IF(BPF_JEQ, BPF_REG_4, 136, 8), /* terminals */
                IF(BPF_JNE, BPF_REG_4, 5, 2),
                IF(BPF_JLE, BPF_REG_5, 2, 6), /* tty, console, ptmx */
                IF(BPF_JGT, BPF_REG_5, 2, 7),
                IF(BPF_JNE, BPF_REG_4, 1, 6),
                IF(BPF_JGT, BPF_REG_5, 9, 5),
                IF(BPF_JEQ, BPF_REG_5, 4, 4), /* port */
                IF(BPF_JEQ, BPF_REG_5, 6, 3), /* core */
                IF(BPF_JLT, BPF_REG_5, 3, 2), /* mem, kmem; null, zero, full, random and urandom are left */
                SET(BPF_MOV, BPF_REG_0, 1),
                { BPF_JMP | BPF_EXIT, 0, 0, 0, 0 },
                SET(BPF_MOV, BPF_REG_0, 0),
                { BPF_JMP | BPF_EXIT, 0, 0, 0, 0 },
        };
        union bpf_attr load = {
                .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
                .insns = (uint64_t) (uintptr_t) rules,
                .insn_cnt = sizeof(rules) / sizeof(rules[0]),
                .license = (uint64_t) (uintptr_t) "LGPL-2.1-or-later",
        };
        int fd = (int) syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
        NEED(fd);
        union bpf_attr attach = {
                .target_fd = (uint32_t) cgroup,
                .attach_bpf_fd = (uint32_t) fd,
                .attach_type = BPF_CGROUP_DEVICE,
                .attach_flags = BPF_F_ALLOW_MULTI,
        };
        NEED(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach)));
}

int main(int argc, char *argv[]) {
        if (argc < 3)
                return 2;
        root = argv[1];
        if (argc > 3) {
                int fd = open(argv[3], O_RDONLY | O_CLOEXEC);
                ssize_t n = read(fd, filter, sizeof(filter));
                NEED(n);
                program.len = (unsigned short) ((size_t) n / sizeof(filter[0]));
                close(fd);
        }
        NEED(mkdir(argv[2], 0755));
        int cgroup = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        NEED(cgroup);
        struct clone_args args = {
                .flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS |
                         CLONE_INTO_CGROUP,
                .exit_signal = SIGCHLD,
                .cgroup = (uint64_t) cgroup,
        };
        long pid = syscall(SYS_clone3, &args, sizeof(args));
        NEED(pid);
        if (pid == 0)
                run_inside();
        filter_devices(cgroup);
        int status = 0;
        NEED(waitpid((pid_t) pid, &status, 0));
        NEED(rmdir(argv[2]));
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
