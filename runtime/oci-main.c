/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/json.h"
#include "runtime/oci-command.h"
#include "runtime/own-binary.h"

#define SPECIFICATION_VERSION "1.2.0"

/* In the form that callers of runc read back: {"level":"error","msg":"…","time":"…"}. */
static char *format_log_line(const OciOptions *options, const char *text) {
        char stamp[64], *line = NULL;
        struct tm utc;
        time_t now = time(NULL);
        (void) strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
        if (!options->log_json)
                return asprintf(&line, "time=\"%s\" level=error msg=\"%s\"\n", stamp, text) < 0 ? NULL
                                                                                                : line;

        _cleanup_json_ json_object *object = json_object_new_object();
        if (!object || json_object_object_add(object, "level", json_object_new_string("error")) < 0 ||
            json_object_object_add(object, "msg", json_object_new_string(text)) < 0 ||
            json_object_object_add(object, "time", json_object_new_string(stamp)) < 0)
                return NULL;
        const char *json = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
        return json && asprintf(&line, "%s\n", json) >= 0 ? line : NULL;
}

static void complain(const OciOptions *options, const char *text) {
        (void) fprintf(stderr, "crt-oci: %s\n", text);
        if (!options->log)
                return;
        _cleanup_free_ char *line = format_log_line(options, text);
        _cleanup_close_ int fd =
                open(options->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
        if (fd < 0 || !line || fd_write_all(fd, line, strlen(line)) < 0)
                (void) fprintf(stderr, "crt-oci: --log: %s: %s\n", options->log, strerror(errno));
}

static int print_version(void) {
        (void) printf("crt-oci version %s\nspec: %s\n", CRT_VERSION, SPECIFICATION_VERSION);
        return 0;
}

static int run_command(const OciOptions *options, char *argv[], Fault *fault) {
        int r;
        switch (options->command) {
        case OCI_COMMAND_HELP:
                return fputs(oci_options_help, stdout) < 0 ? -EIO : 0;
        case OCI_COMMAND_VERSION:
                return print_version();
        case OCI_COMMAND_CREATE:
        case OCI_COMMAND_RUN:
                r = own_binary_protect(argv, fault);
                if (r < 0)
                        return r;
                return options->command == OCI_COMMAND_CREATE ? oci_create(options, fault)
                                                              : oci_run(options, fault);
        case OCI_COMMAND_START:
                return oci_start(options, fault);
        case OCI_COMMAND_STATE:
                return oci_state(options, fault);
        case OCI_COMMAND_KILL:
                return oci_kill(options, fault);
        case OCI_COMMAND_DELETE:
                return oci_delete(options, fault);
        default:
                return -EINVAL;
        }
}

int main(int argc, char *argv[]) {
        Fault fault = FAULT_NULL;
        OciOptions options;
        int r = oci_options_parse(argc, argv, &options, &fault);
        if (r >= 0)
                r = run_command(&options, argv, &fault);
        if (r < 0)
                complain(&options, fault_text(&fault, r));
        fault_done(&fault);
        return r < 0 ? EXIT_FAILURE : r;
}
