/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bus/bus-names.h"
#include "bus/options.h"
#include "ctl/bus-json.h"
#include "ctl/format.h"
#include "ctl/pull-options.h"
#include "ctl/raw-terminal.h"
#include "ctl/verb.h"
#include "lib/fd.h"
#include "lib/strv.h"

#define PASSWORD_MAX 65536U

/* From standard input up to its end, or from the terminal without echo. */
static int read_password(const PullOptions *options, bool may_ask, char **ret, Fault *fault) {
        if (!options->password_stdin) {
                if (!may_ask || !isatty(STDIN_FILENO))
                        return fault_set(fault, -EINVAL,
                                         "a user name needs a password: give it with --password-stdin");
                return terminal_ask_password("Password: ", ret, fault);
        }
        size_t size;
        int r = fd_read_all(STDIN_FILENO, PASSWORD_MAX, ret, &size);
        if (r < 0)
                return fault_set_errno(fault, r, "the password on standard input");
        (*ret)[strcspn(*ret, "\r\n")] = 0;
        return 0;
}

static int append_options(Context *context, sd_bus_message *message, const PullOptions *options,
                          Fault *fault) {
        _cleanup_free_ char *password = NULL;
        _cleanup_close_ int ca = -EBADF;
        int r = 0;

        if (options->ca) {
                ca = open(options->ca, O_RDONLY | O_CLOEXEC | O_NOCTTY);
                if (ca < 0)
                        return fault_set_errno(fault, -errno, "%s", options->ca);
                r = bus_append_entry(message, "ca", "h", ca);
        }
        if (r >= 0 && options->platform)
                r = bus_append_entry(message, "platform", "s", options->platform);
        if (r >= 0 && options->plain_http)
                r = bus_append_entry(message, "plain-http", "b", 1);
        if (r >= 0 && options->no_unpack)
                r = bus_append_entry(message, "unpack", "b", 0);
        if (r >= 0 && options->missing)
                r = bus_append_entry(message, "policy", "s", "missing");
        if (r < 0 || !options->username)
                return r;

        r = read_password(options, !context->no_ask_password, &password, fault);
        if (r < 0)
                return r;
        (void) sd_bus_message_sensitive(message);
        r = bus_append_entry(message, "username", "s", options->username);
        if (r >= 0)
                r = bus_append_entry(message, "password", "s", password);
        explicit_bzero(password, strlen(password));
        return r;
}

static int pull_begin(Context *context, const char *reference, const PullOptions *options, char **ret_path,
                      Fault *fault) {
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        Client *client = &context->client;
        const char *path;

        int r = client_new_call(client, &target_images, "Pull", &message, fault);
        if (r >= 0)
                r = sd_bus_message_append(message, "s", reference);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0)
                r = append_options(context, message, options, fault);
        if (r >= 0)
                r = client_close_options(message);
        if (r >= 0)
                r = client_call(client, message, &reply, fault);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return r;
        *ret_path = strdup(path);
        return *ret_path ? 0 : -ENOMEM;
}

int pull_image(Context *context, const char *reference, const PullOptions *options, TransferResult *ret,
               Fault *fault) {
        _cleanup_free_ char *path = NULL;

        int r = pull_begin(context, reference, options, &path, fault);
        if (r >= 0) {
                const BusTarget transfer = { CRT_IMAGES_NAME, path, CRT_TRANSFER_INTERFACE };
                int quiet = options->quiet ? TRANSFER_WATCH_QUIET : 0;
                r = transfer_watch(context, &transfer, TRANSFER_WATCH_OURS | quiet, ret, fault);
        }
        return r < 0 ? fault_prefix(fault, r, "%s", reference) : 0;
}

static int show_result(const Context *context, const TransferResult *result, bool quiet) {
        if (context_is_json(context)) {
                JsonWriter writer = JSON_WRITER_INIT(stdout, context->output == OUTPUT_JSON_PRETTY);
                json_writer_begin(&writer, '{');
                int r = bus_json_write_entries(&writer, result->message);
                json_writer_end(&writer, '}');
                return r;
        }
        if (quiet) {
                puts(result->digest);
                return 0;
        }
        FormatBuffer digest, size, span, rate;
        _cleanup_free_ char *name = format_printable(result->name);
        printf("%s: %s (%s), %s in %s", name ? name : "", format_short_digest(result->digest, digest),
               result->platform, format_size(result->bytes, size), format_span(result->usec, span));
        if (result->usec > 0 && result->bytes > 0)
                printf(", %s/s",
                       format_size((uint64_t) ((unsigned __int128) result->bytes * 1000000U / result->usec),
                                   rate));
        putchar('\n');
        return 0;
}

static int run_pull(Context *context, void *userdata, char **operands, Fault *fault) {
        const PullOptions *options = userdata;
        _cleanup_(transfer_result_done) TransferResult result = { 0 };

        if (options->password_stdin && !options->username)
                return fault_set(fault, -EINVAL, "--password-stdin needs --username");
        int r = pull_image(context, operands[0], options, &result, fault);
        return r < 0 ? r : show_result(context, &result, options->quiet);
}

static const Argument pull_arguments[] = {
        { "platform", 0, "OS/ARCH[/VARIANT]", "Instead of this machine's", offsetof(PullOptions, platform) },
        { "plain-http", 0, NULL, "Speak to the registry without TLS", offsetof(PullOptions, plain_http) },
        { "ca", 0, "FILE", "Trust these certificates (PEM) instead of the system's",
          offsetof(PullOptions, ca) },
        { "username", 0, "NAME", "User at the registry", offsetof(PullOptions, username) },
        { "password-stdin", 0, NULL, "Read the password from standard input",
          offsetof(PullOptions, password_stdin) },
        { "no-unpack", 0, NULL, "Only fetch; make no snapshots of the layers",
          offsetof(PullOptions, no_unpack) },
        { "missing", 0, NULL, "Do not ask for an image that is here", offsetof(PullOptions, missing) },
        { "quiet", 'q', NULL, "No progress; print only the digest", offsetof(PullOptions, quiet) },
        {},
};

const Verb verb_pull = {
        .name = "pull",
        .operands = "IMAGE",
        .help = "Fetch an image from a registry",
        .arguments = pull_arguments,
        .options_size = sizeof(PullOptions),
        .operands_min = 1,
        .operands_max = 1,
        .run = run_pull,
};
