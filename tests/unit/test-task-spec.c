/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* services/tasks/spec*.c: what an image and a caller say becomes an OCI runtime configuration. */

#include <signal.h>

#include "lib/json.h"
#include "lib/runtime-config.h"
#include "lib/strv.h"
#include "services/tasks/spec.h"
#include "tests/unit/check.h"

#define LIST(...) ((char *const[]){ __VA_ARGS__, NULL })
#define EMPTY_LIST ((char *const[]){ NULL })

static const SpecImage plain_image = { .command = LIST((char *) "sh") };

static SpecRequest plain_request(void) {
        return (SpecRequest){ .id = "box", .image = &plain_image };
}

/* "process.args[0]" as compact JSON in a static buffer; "" if it is not there. */
static const char *look(const char *json, const char *path) {
        static char text[16384];
        _cleanup_json_ json_object *document = NULL;
        CHECK_OK(json_parse(json, strlen(json), "config", &document, NULL));
        char copy[128], *rest = copy;
        (void) snprintf(copy, sizeof(copy), "%s", path);
        json_object *value = document;
        for (char *part; value && (part = strsep(&rest, "."));) {
                char *bracket = strchr(part, '[');
                if (bracket)
                        *bracket = '\0';
                if (!json_object_object_get_ex(value, part, &value))
                        value = NULL;
                if (value && bracket)
                        value = json_object_array_get_idx(value, strtoul(bracket + 1, NULL, 10));
        }
        (void) snprintf(text, sizeof(text), "%s",
                        value ? json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN |
                                                                              JSON_C_TO_STRING_NOSLASHESCAPE)
                              : "");
        return text;
}

static void check_value(const SpecRequest *request, const char *path, const char *expected) {
        _cleanup_(spec_done) Spec spec = { 0 };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = spec_build(request, &spec, &fault);
        CHECK_FORMAT(r >= 0, "spec_build: %s", fault_text(&fault, r));
        CHECK_STRING(look(spec.json, path), expected);
}

static void check_refused(const SpecRequest *request, const char *part) {
        _cleanup_(spec_done) Spec spec = { 0 };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        CHECK_ERROR(spec_build(request, &spec, &fault), -EINVAL);
        CHECK_CONTAINS(fault.text, part);
}

static void the_runtime_takes_every_default(void) {
        _cleanup_(spec_done) Spec spec = { 0 };
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        _cleanup_(runtime_config_freep) RuntimeConfig *config = NULL;
        SpecRequest request = plain_request();
        CHECK_OK(spec_build(&request, &spec, NULL));
        int r = runtime_config_parse(spec.json, strlen(spec.json), &config, &fault);
        CHECK_FORMAT(r >= 0, "%s", fault_text(&fault, r));
        CHECK(config->namespaces[RUNTIME_NAMESPACE_PID].wanted);
        CHECK(config->namespaces[RUNTIME_NAMESPACE_NETWORK].wanted);
        CHECK(config->namespaces[RUNTIME_NAMESPACE_MOUNT].wanted);
        CHECK(config->namespaces[RUNTIME_NAMESPACE_IPC].wanted);
        CHECK(config->namespaces[RUNTIME_NAMESPACE_UTS].wanted);
        CHECK(config->namespaces[RUNTIME_NAMESPACE_CGROUP].wanted);
        CHECK(!config->namespaces[RUNTIME_NAMESPACE_USER].wanted);
        CHECK(config->seccomp && config->seccomp->default_action == RUNTIME_SECCOMP_ERRNO);
        CHECK_INT(config->mount_count, 7);
}

static void command_follows_docker(void) {
        const struct {
                char *const *image_entrypoint, *const *image_command, *const *entrypoint, *const *arguments;
                const char *expected;
        } table[] = {
                { NULL, LIST((char *) "sh"), NULL, NULL, "[\"sh\"]" },
                { NULL, LIST((char *) "sh"), NULL, LIST((char *) "ls", (char *) "-l"), "[\"ls\",\"-l\"]" },
                { LIST((char *) "/run"), LIST((char *) "a"), NULL, NULL, "[\"/run\",\"a\"]" },
                { LIST((char *) "/run"), LIST((char *) "a"), NULL, LIST((char *) "b"), "[\"/run\",\"b\"]" },
                { LIST((char *) "/run"), LIST((char *) "a"), NULL, EMPTY_LIST, "[\"/run\"]" },
                { LIST((char *) "/run"), LIST((char *) "a"), LIST((char *) "/own"), NULL, "[\"/own\"]" },
                { LIST((char *) "/run"), NULL, LIST((char *) "/own"), LIST((char *) "b"),
                  "[\"/own\",\"b\"]" },
                { LIST((char *) "/run"), NULL, EMPTY_LIST, LIST((char *) "b"), "[\"b\"]" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(table); i++) {
                const SpecImage image = { .entrypoint = table[i].image_entrypoint,
                                          .command = table[i].image_command };
                const SpecRequest request = { .id = "box",
                                              .image = &image,
                                              .entrypoint = table[i].entrypoint,
                                              .arguments = table[i].arguments };
                check_value(&request, "process.args", table[i].expected);
        }
}

static void nothing_to_run_is_refused(void) {
        const SpecImage image = { 0 }, empty = { .command = LIST((char *) "") };
        check_refused(&(SpecRequest){ .id = "box", .image = &image }, "names no command");
        check_refused(&(SpecRequest){ .id = "box", .image = &empty }, "is empty");
        SpecRequest request = plain_request();
        request.entrypoint = EMPTY_LIST;
        check_refused(&request, "names no command");
}

static void environment_is_layered(void) {
        const SpecImage image = { .command = LIST((char *) "sh"),
                                  .environment =
                                          LIST((char *) "PATH=/image", (char *) "A=1", (char *) "B=x=y") };
        const SpecRequest request = { .id = "box",
                                      .image = &image,
                                      .terminal = true,
                                      .environment = LIST((char *) "A=2", (char *) "C=") };
        check_value(&request, "process.env",
                    "[\"PATH=/image\",\"HOSTNAME=box\",\"TERM=xterm\",\"A=2\",\"B=x=y\",\"C=\"]");
        check_value(&request, "process.terminal", "true");
        SpecRequest plain = plain_request();
        check_value(
                &plain, "process.env",
                "[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"HOSTNAME=box\"]");
}

static void environment_without_name_is_refused(void) {
        SpecRequest request = plain_request();
        request.environment = LIST((char *) "NAME");
        check_refused(&request, "env: 'NAME'");
        request.environment = LIST((char *) "=value");
        check_refused(&request, "env: '=value'");
        const SpecImage image = { .command = LIST((char *) "sh"), .environment = LIST((char *) "X") };
        check_refused(&(SpecRequest){ .id = "box", .image = &image }, "the image's Env");
}

static void users_are_parsed(void) {
        const struct {
                const char *user;
                int r;
                bool numeric;
                unsigned uid, gid;
        } table[] = {
                { "", 0, true, 0, 0 },
                { NULL, 0, true, 0, 0 },
                { "0:0", 0, true, 0, 0 },
                { "1000:2000", 0, true, 1000, 2000 },
                { "1000", 0, false, 1000, 0 }, /* its group is in /etc/passwd */
                { "web", 0, false, 0, 0 },
                { "web:www", 0, false, 0, 0 },
                { "4294967295:0", 0, false, 0, 0 }, /* no number that setresuid(2) takes: a name */
                { ":1000", -EINVAL },
                { "a:", -EINVAL },
                { "a:b:c", -EINVAL },
                { "a/b", -EINVAL },
                { "a\nb", -EINVAL },
        };
        for (size_t i = 0; i < ELEMENTS_OF(table); i++) {
                SpecUser user = { 0 };
                CHECK_FORMAT(spec_parse_user(table[i].user, &user) == table[i].r, "row %zu", i);
                CHECK_FORMAT(user.numeric == table[i].numeric && user.uid == table[i].uid &&
                                     user.gid == table[i].gid,
                             "row %zu", i);
        }
}

static void only_root_keeps_capabilities(void) {
        SpecRequest request = plain_request();
        check_value(&request, "process.capabilities.effective[1]", "\"CAP_CHOWN\"");
        check_value(&request, "process.capabilities.inheritable", "");
        check_value(&request, "process.capabilities.ambient", "");
        request.user = "1000:1000";
        check_value(&request, "process.capabilities.effective", "");
        check_value(&request, "process.capabilities.permitted", "");
        check_value(&request, "process.capabilities.bounding[1]", "\"CAP_CHOWN\"");
        check_value(&request, "process.user", "{\"uid\":1000,\"gid\":1000}");
        check_value(&request, "annotations", "{\"org.crt.user\":\"1000:1000\"}");
}

static void the_image_does_not_control_the_runtime(void) {
        const SpecImage image = { .command = LIST((char *) "sh"), .user = "a:b:c" };
        check_refused(&(SpecRequest){ .id = "box", .image = &image }, "the image's User");
        const SpecImage directory = { .command = LIST((char *) "sh"), .working_directory = "../../etc" };
        check_refused(&(SpecRequest){ .id = "box", .image = &directory }, "the image's WorkingDir");
        const SpecImage signal = { .command = LIST((char *) "sh"), .stop_signal = "SIGNOTHING" };
        check_refused(&(SpecRequest){ .id = "box", .image = &signal }, "the image's StopSignal");
        const SpecImage climbing = { .command = LIST((char *) "sh"), .working_directory = "/a/../../b/." };
        check_value(&(SpecRequest){ .id = "box", .image = &climbing }, "process.cwd", "\"/b\"");
}

static void stop_signal_is_chosen(void) {
        const SpecImage image = { .command = LIST((char *) "sh"), .stop_signal = "SIGQUIT" };
        SpecRequest request = { .id = "box", .image = &image };
        _cleanup_(spec_done) Spec spec = { 0 };
        CHECK_OK(spec_build(&request, &spec, NULL));
        CHECK_INT(spec.stop_signal, SIGQUIT);
        spec_done(&spec);
        request.stop_signal = "INT";
        CHECK_OK(spec_build(&request, &spec, NULL));
        CHECK_INT(spec.stop_signal, SIGINT);
        spec_done(&spec);
        request.image = &plain_image;
        request.stop_signal = NULL;
        CHECK_OK(spec_build(&request, &spec, NULL));
        CHECK_INT(spec.stop_signal, SIGTERM);
}

static void mounts_come_after_the_defaults(void) {
        SpecMount mounts[] = {
                { .source = (char *) "/srv",
                  .destination = (char *) "/data",
                  .options = (char *[]){ (char *) "ro", NULL } },
                { .descriptor = 3, .destination = (char *) "/bound" },
                { .source = (char *) "/own", .destination = (char *) "/dev/shm" },
        };
        SpecRequest request = plain_request();
        request.mounts = mounts;
        request.mount_count = ELEMENTS_OF(mounts);
        check_value(&request, "mounts[0].destination", "\"/proc\"");
        check_value(&request, "mounts[6]",
                    "{\"destination\":\"/data\",\"type\":\"bind\",\"source\":\"/"
                    "srv\",\"options\":[\"ro\",\"rbind\"]}");
        check_value(&request, "mounts[7].source", "\"/proc/self/fd/crt-3\"");
        /* It takes the place of the default one. */
        check_value(&request, "mounts[8].destination", "\"/dev/shm\"");
        check_value(&request, "mounts[9]", "");
}

static void bad_mounts_are_refused(void) {
        static const struct {
                const char *source, *destination, *option, *part;
        } table[] = {
                { "/a/../b", "/x", "ro", "mounts[0]: the source" },
                { "a", "/x", "ro", "mounts[0]: the source" },
                { "/a", "/", "ro", "mounts[0]: the destination" },
                { "/a", "/x/../y", "ro", "mounts[0]: the destination" },
                { "/a", "x", "ro", "mounts[0]: the destination" },
                { "/a", "/x", "shared", "unknown option 'shared'" },
                { "/a", "/x", "lowerdir=/etc", "unknown option" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(table); i++) {
                SpecMount mount = { .source = (char *) table[i].source,
                                    .destination = (char *) table[i].destination,
                                    .options = (char *[]){ (char *) table[i].option, NULL } };
                SpecRequest request = plain_request();
                request.mounts = &mount;
                request.mount_count = 1;
                check_refused(&request, table[i].part);
        }
}

static void host_names_are_checked(void) {
        SpecRequest request = plain_request();
        check_value(&request, "hostname", "\"box\"");
        request.id = "a-name-that-is-longer-than-the-sixty-three-characters-of-a-host-name";
        check_value(&request, "hostname",
                    "\"a-name-that-is-longer-than-the-sixty-three-characters-of-a-host\"");
        static const char *const bad[] = { "", "a b", "-a", "a-", ".a", "a/b", "a\n" };
        for (size_t i = 0; i < ELEMENTS_OF(bad); i++) {
                request.hostname = bad[i];
                check_refused(&request, "hostname");
        }
}

static void the_filter_is_as_it_should_be(void) {
        SpecRequest request = plain_request();
        _cleanup_(spec_done) Spec spec = { 0 };
        CHECK_OK(spec_build(&request, &spec, NULL));
        static const char *const allowed[] = { "\"read\"", "\"execve\"", "\"futex\"", "\"socketpair\"" },
                                 *const refused[] = {
                                         "\"mount\"",           "\"bpf\"",    "\"kexec_load\"",
                                         "\"init_module\"",     "\"setns\"",  "\"unshare\"",
                                         "\"io_uring_setup\"",  "\"keyctl\"", "\"reboot\"",
                                         "\"perf_event_open\"", "\"clone\"",  "\"userfaultfd\""
                                 };
        const char *names = look(spec.json, "linux.seccomp.syscalls[0].names");
        for (size_t i = 0; i < ELEMENTS_OF(allowed); i++)
                CHECK_CONTAINS(names, allowed[i]);
        for (size_t i = 0; i < ELEMENTS_OF(refused); i++)
                CHECK_FORMAT(!strstr(names, refused[i]), "%s is allowed", refused[i]);
        CHECK_STRING(look(spec.json, "linux.seccomp.syscalls[1]"),
                     "{\"names\":[\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38}");
        CHECK_STRING(look(spec.json, "linux.seccomp.syscalls[2].args[0]"),
                     "{\"index\":0,\"value\":2114060288,\"valueTwo\":0,\"op\":\"SCMP_CMP_MASKED_EQ\"}");
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(the_runtime_takes_every_default),
                CHECK_CASE(command_follows_docker),
                CHECK_CASE(nothing_to_run_is_refused),
                CHECK_CASE(environment_is_layered),
                CHECK_CASE(environment_without_name_is_refused),
                CHECK_CASE(users_are_parsed),
                CHECK_CASE(only_root_keeps_capabilities),
                CHECK_CASE(the_image_does_not_control_the_runtime),
                CHECK_CASE(stop_signal_is_chosen),
                CHECK_CASE(mounts_come_after_the_defaults),
                CHECK_CASE(bad_mounts_are_refused),
                CHECK_CASE(host_names_are_checked),
                CHECK_CASE(the_filter_is_as_it_should_be),
                {},
        });
}
