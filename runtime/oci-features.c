/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* features: what this runtime takes (features.md and features-linux.md). Nothing is listed that its own
 * parsers do not take: each word is tried. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/json.h"
#include "lib/strv.h"
#include "runtime/mount-options.h"
#include "runtime/oci-command.h"
#include "runtime/oci-output.h"
#include "runtime/seccomp-facts.h"

static const char *const mount_words[] = {
        "acl",
        "async",
        "atime",
        "bind",
        "defaults",
        "dev",
        "diratime",
        "dirsync",
        "exec",
        "idmap",
        "iversion",
        "lazytime",
        "loud",
        "mand",
        "noacl",
        "noatime",
        "nodev",
        "nodiratime",
        "noexec",
        "noiversion",
        "nolazytime",
        "nomand",
        "norelatime",
        "nostrictatime",
        "nosuid",
        "nosymfollow",
        "private",
        "ratime",
        "rbind",
        "rdev",
        "rdiratime",
        "relatime",
        "remount",
        "rexec",
        "ridmap",
        "rnoatime",
        "rnodev",
        "rnodiratime",
        "rnoexec",
        "rnorelatime",
        "rnostrictatime",
        "rnosuid",
        "rnosymfollow",
        "ro",
        "rprivate",
        "rrelatime",
        "rro",
        "rrw",
        "rshared",
        "rslave",
        "rstrictatime",
        "rsuid",
        "rsymfollow",
        "runbindable",
        "rw",
        "shared",
        "silent",
        "slave",
        "strictatime",
        "suid",
        "symfollow",
        "sync",
        "tmpcopyup",
        "unbindable",
};

/* Words that go to the file system: its own superblock flags. */
static const char *const file_system_words[] = { "sync", "dirsync", "lazytime", "iversion", "mand", NULL };

static const char *const seccomp_actions[] = {
        "SCMP_ACT_ALLOW",        "SCMP_ACT_ERRNO",       "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",       "SCMP_ACT_TRACE",       "SCMP_ACT_TRAP",
};
static const char *const seccomp_operators[] = {
        "SCMP_CMP_EQ", "SCMP_CMP_GE",        "SCMP_CMP_GT", "SCMP_CMP_LE",
        "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
};
static const char *const seccomp_architectures[] = {
        "SCMP_ARCH_AARCH64",  "SCMP_ARCH_ARM",         "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K",
        "SCMP_ARCH_MIPS",     "SCMP_ARCH_MIPS64",      "SCMP_ARCH_MIPS64N32",   "SCMP_ARCH_MIPSEL",
        "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC",      "SCMP_ARCH_PARISC64",
        "SCMP_ARCH_PPC",      "SCMP_ARCH_PPC64",       "SCMP_ARCH_PPC64LE",     "SCMP_ARCH_RISCV64",
        "SCMP_ARCH_S390",     "SCMP_ARCH_S390X",       "SCMP_ARCH_SH",          "SCMP_ARCH_SHEB",
        "SCMP_ARCH_X32",      "SCMP_ARCH_X86",         "SCMP_ARCH_X86_64",
};
static const char *const seccomp_flags[] = {
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
};

static const char *const memory_modes[] = {
        "MPOL_BIND",      "MPOL_DEFAULT",        "MPOL_INTERLEAVE",          "MPOL_LOCAL",
        "MPOL_PREFERRED", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE",
};
static const char *const memory_flags[] = {
        "MPOL_F_NUMA_BALANCING",
        "MPOL_F_RELATIVE_NODES",
        "MPOL_F_STATIC_NODES",
};

static bool parses(const char *text) {
        RuntimeConfig *config = NULL;
        int r = runtime_config_parse(text, strlen(text), &config, NULL);
        runtime_config_free(config);
        return r >= 0;
}

#define SECCOMP(members)                                                                                    \
        "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":"                    \
        "[{\"type\":\"mount\"}],\"seccomp\":{" members "}}}"

#define MEMORY_POLICY(members)                                                                              \
        "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":"                    \
        "[{\"type\":\"mount\"}],\"memoryPolicy\":{" members "}}}"

/* Some modes need nodes, and some must not have them. */
static bool takes_memory_mode(const char *word) {
        char with[256], without[256];
        (void) snprintf(with, sizeof(with), MEMORY_POLICY("\"mode\":\"%s\",\"nodes\":\"0\""), word);
        (void) snprintf(without, sizeof(without), MEMORY_POLICY("\"mode\":\"%s\""), word);
        return parses(with) || parses(without);
}

static bool takes_memory_flag(const char *word) {
        char text[256];
        (void) snprintf(text, sizeof(text),
                        MEMORY_POLICY("\"mode\":\"MPOL_BIND\",\"nodes\":\"0\",\"flags\":[\"%s\"]"), word);
        return parses(text);
}

static bool takes_action(const char *word) {
        char text[512];
        (void) snprintf(text, sizeof(text),
                        SECCOMP("\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/s\","
                                "\"syscalls\":[{\"names\":[\"chdir\"],\"action\":\"%s\"}]"),
                        word);
        return parses(text);
}

static bool takes_operator(const char *word) {
        char text[512];
        (void) snprintf(text, sizeof(text),
                        SECCOMP("\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"chdir\"],"
                                "\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":0,\"value\":1,"
                                "\"op\":\"%s\"}]}]"),
                        word);
        return parses(text);
}

static bool takes_flag(const char *word) {
        char text[512];
        (void) snprintf(text, sizeof(text),
                        SECCOMP("\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"%s\"]"), word);
        return parses(text);
}

static bool takes_mount_option(const char *word) {
        const char *const words[] = { word, NULL };
        MountOptions options;
        bool is_bind = string_equal(word, "idmap") || string_equal(word, "ridmap");
        if (mount_options_parse(is_bind ? "bind" : "tmpfs", words, 0, &options, NULL) < 0)
                return false;
        bool taken = options.data_count == 0 || strv_contains(file_system_words, word);
        mount_options_done(&options);
        return taken;
}

static int add_words(json_object *object, const char *key, const char *const *words, size_t count,
                     bool (*takes)(const char *word)) {
        json_object *list = json_object_new_array();
        int r = oci_output_add(object, key, list);
        for (size_t i = 0; i < count && r >= 0; i++)
                if (words[i] && (!takes || takes(words[i])) &&
                    json_object_array_add(list, json_object_new_string(words[i])) < 0)
                        r = -ENOMEM;
        return r;
}

static int add_enabled(json_object *object, const char *key, bool enabled) {
        json_object *child = json_object_new_object();
        int r = oci_output_add(object, key, child);
        return r < 0 ? r : oci_output_add(child, "enabled", json_object_new_boolean(enabled));
}

static int add_seccomp(json_object *linux_) {
        json_object *seccomp = json_object_new_object();
        int r;
        if ((r = oci_output_add(linux_, "seccomp", seccomp)) < 0 ||
            (r = oci_output_add(seccomp, "enabled", json_object_new_boolean(true))) < 0 ||
            (r = add_words(seccomp, "actions", seccomp_actions, ELEMENTS_OF(seccomp_actions),
                           takes_action)) < 0 ||
            (r = add_words(seccomp, "operators", seccomp_operators, ELEMENTS_OF(seccomp_operators),
                           takes_operator)) < 0 ||
            (r = add_words(seccomp, "archs", seccomp_architectures, ELEMENTS_OF(seccomp_architectures),
                           seccomp_facts_has_architecture)) < 0 ||
            (r = add_words(seccomp, "knownFlags", seccomp_flags, ELEMENTS_OF(seccomp_flags), NULL)) < 0)
                return r;
        return add_words(seccomp, "supportedFlags", seccomp_flags, ELEMENTS_OF(seccomp_flags), takes_flag);
}

static int add_cgroup(json_object *linux_) {
        json_object *cgroup = json_object_new_object();
        int r;
        if ((r = oci_output_add(linux_, "cgroup", cgroup)) < 0 ||
            (r = oci_output_add(cgroup, "v1", json_object_new_boolean(false))) < 0 ||
            (r = oci_output_add(cgroup, "v2", json_object_new_boolean(true))) < 0 ||
            (r = oci_output_add(cgroup, "systemd", json_object_new_boolean(OCI_HAS_SYSTEMD_CGROUP))) < 0 ||
            (r = oci_output_add(cgroup, "systemdUser", json_object_new_boolean(OCI_HAS_SYSTEMD_CGROUP))) < 0)
                return r;
        return oci_output_add(cgroup, "rdma", json_object_new_boolean(true));
}

static int add_memory_policy(json_object *linux_) {
        json_object *policy = json_object_new_object();
        int r;
        if ((r = oci_output_add(linux_, "memoryPolicy", policy)) < 0 ||
            (r = add_words(policy, "modes", memory_modes, ELEMENTS_OF(memory_modes), takes_memory_mode)) < 0)
                return r;
        return add_words(policy, "flags", memory_flags, ELEMENTS_OF(memory_flags), takes_memory_flag);
}

/* As far as the runtime goes, whatever the machine has. */
static int add_intel_rdt(json_object *linux_) {
        json_object *rdt = json_object_new_object();
        int r;
        if ((r = oci_output_add(linux_, "intelRdt", rdt)) < 0 ||
            (r = oci_output_add(rdt, "enabled", json_object_new_boolean(OCI_HAS_INTEL_RDT))) < 0 ||
            (r = oci_output_add(rdt, "schemata", json_object_new_boolean(OCI_HAS_INTEL_RDT))) < 0)
                return r;
        return oci_output_add(rdt, "monitoring", json_object_new_boolean(OCI_HAS_INTEL_RDT));
}

static int add_names(json_object *linux_) {
        const char *namespaces[_RUNTIME_NAMESPACE_MAX], *capabilities[64];
        for (RuntimeNamespaceType type = 0; type < _RUNTIME_NAMESPACE_MAX; type++)
                namespaces[type] = runtime_namespace_to_string(type);
        for (unsigned i = 0; i < ELEMENTS_OF(capabilities); i++)
                capabilities[i] = runtime_capability_to_string(i);
        int r = add_words(linux_, "namespaces", namespaces, ELEMENTS_OF(namespaces), NULL);
        return r < 0 ? r : add_words(linux_, "capabilities", capabilities, ELEMENTS_OF(capabilities), NULL);
}

static int add_linux(json_object *out) {
        json_object *linux_ = json_object_new_object(), *extensions = json_object_new_object();
        int r = oci_output_add(out, "linux", linux_);
        int r2 = r < 0 ? r : oci_output_add(linux_, "mountExtensions", extensions);
        if (r2 < 0 || (r = add_names(linux_)) < 0 || (r = add_cgroup(linux_)) < 0 ||
            (r = add_seccomp(linux_)) < 0 || (r = add_enabled(linux_, "apparmor", true)) < 0 ||
            (r = add_enabled(linux_, "selinux", true)) < 0 || (r = add_intel_rdt(linux_)) < 0 ||
            (r = add_memory_policy(linux_)) < 0 ||
            (r = add_enabled(linux_, "netDevices", OCI_HAS_NET_DEVICES)) < 0)
                return r < 0 ? r : r2;
        return add_enabled(extensions, "idmap", takes_mount_option("idmap"));
}

static int add_annotations(json_object *out) {
        json_object *annotations = json_object_new_object();
        char text[64];
        int r = oci_output_add(out, "annotations", annotations);
        seccomp_facts_version(text, sizeof(text));
        if (r < 0 ||
            (r = oci_output_add(annotations, "io.github.seccomp.libseccomp.version",
                                json_object_new_string(text))) < 0 ||
            (r = oci_output_add(annotations, "org.crt.oci.version", json_object_new_string(CRT_VERSION))) <
                    0)
                return r;
        return oci_output_add(annotations, "org.opencontainers.runc.checkpoint.enabled",
                              json_object_new_string("true"));
}

/* Those that change what the runtime does; the last character says that it is a prefix. */
static const char *const unsafe_annotations[] = { "org.systemd.property." };

int oci_features(const OciOptions *options, Fault *fault) {
        _cleanup_json_ json_object *out = json_object_new_object();
        const char *hooks[_RUNTIME_HOOK_KIND_MAX];
        int r;
        for (RuntimeHookKind kind = 0; kind < _RUNTIME_HOOK_KIND_MAX; kind++)
                hooks[kind] = runtime_hook_kind_to_string(kind);
        if (!out)
                return -ENOMEM;
        if ((r = oci_output_add(out, "ociVersionMin", json_object_new_string("1.0.0"))) < 0 ||
            (r = oci_output_add(out, "ociVersionMax", json_object_new_string(OCI_SPECIFICATION_VERSION))) <
                    0 ||
            (r = add_words(out, "hooks", hooks, ELEMENTS_OF(hooks), NULL)) < 0 ||
            (r = add_words(out, "mountOptions", mount_words, ELEMENTS_OF(mount_words), takes_mount_option)) <
                    0 ||
            (r = add_linux(out)) < 0 || (r = add_annotations(out)) < 0 ||
            (r = add_words(out, "potentiallyUnsafeConfigAnnotations", unsafe_annotations,
                           ELEMENTS_OF(unsafe_annotations), NULL)) < 0)
                return r;
        return oci_output_json(out, true, fault);
}
