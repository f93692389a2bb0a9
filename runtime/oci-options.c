/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/oci-options.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>

#include "lib/process.h"
#include "lib/strv.h"
#include "runtime/container.h"

#define DEFAULT_ROOT "/run/crt-oci"

const char oci_options_help[] =
        "crt-oci [GLOBAL OPTIONS] COMMAND [OPTIONS] CONTAINER\n"
        "\n"
        "Runs containers as the OCI runtime specification says.\n"
        "\n"
        "Commands:\n"
        "  create   make a container out of a bundle; its program waits for start\n"
        "  start    execute the program of a created container\n"
        "  run      create, start, wait and delete\n"
        "  state    print a container's state as JSON\n"
        "  kill     CONTAINER [SIGNAL]: send a signal (SIGTERM) to its init\n"
        "  delete   remove a stopped container\n"
        "\n"
        "Global options:\n"
        "  --root DIR             where the state is kept (/run/crt-oci)\n"
        "  --log FILE             also write errors there\n"
        "  --log-format FORMAT    text or json\n"
        "  --debug                say more\n"
        "\n"
        "create and run:\n"
        "  -b, --bundle DIR       the bundle (the current directory)\n"
        "      --pid-file FILE    write init's pid there\n"
        "      --console-socket PATH\n"
        "                         send the terminal's master to this socket\n"
        "      --preserve-fds N   hand on descriptors 3 to 3+N-1\n"
        "      --no-new-keyring   share the caller's session keyring\n"
        "  -d, --detach           run: do not wait\n"
        "      --keep             run: do not delete\n"
        "kill:\n"
        "  -a, --all              every process of the container\n"
        "delete:\n"
        "  -f, --force            kill it if it runs; no error if it does not exist\n";

static const char *const command_names[_OCI_COMMAND_MAX] = {
        [OCI_COMMAND_HELP] = "help",   [OCI_COMMAND_VERSION] = "version", [OCI_COMMAND_CREATE] = "create",
        [OCI_COMMAND_START] = "start", [OCI_COMMAND_RUN] = "run",         [OCI_COMMAND_STATE] = "state",
        [OCI_COMMAND_KILL] = "kill",   [OCI_COMMAND_DELETE] = "delete",
};

enum {
        OPTION_ROOT = 256,
        OPTION_LOG,
        OPTION_LOG_FORMAT,
        OPTION_DEBUG,
        OPTION_SYSTEMD_CGROUP,
        OPTION_ROOTLESS,
        OPTION_PID_FILE,
        OPTION_CONSOLE_SOCKET,
        OPTION_NO_PIVOT,
        OPTION_PRESERVE_FDS,
        OPTION_NO_NEW_KEYRING,
        OPTION_KEEP,
        OPTION_NO_SUBREAPER,
};

static const struct option global_options[] = {
        { "root", required_argument, NULL, OPTION_ROOT },
        { "log", required_argument, NULL, OPTION_LOG },
        { "log-format", required_argument, NULL, OPTION_LOG_FORMAT },
        { "debug", no_argument, NULL, OPTION_DEBUG },
        { "systemd-cgroup", no_argument, NULL, OPTION_SYSTEMD_CGROUP },
        { "rootless", required_argument, NULL, OPTION_ROOTLESS },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },
        {},
};

static const struct option create_options[] = {
        { "bundle", required_argument, NULL, 'b' },
        { "pid-file", required_argument, NULL, OPTION_PID_FILE },
        { "console-socket", required_argument, NULL, OPTION_CONSOLE_SOCKET },
        { "no-pivot", no_argument, NULL, OPTION_NO_PIVOT },
        { "preserve-fds", required_argument, NULL, OPTION_PRESERVE_FDS },
        { "no-new-keyring", no_argument, NULL, OPTION_NO_NEW_KEYRING },
        { "help", no_argument, NULL, 'h' },
        {},
};

static const struct option run_options[] = {
        { "bundle", required_argument, NULL, 'b' },
        { "pid-file", required_argument, NULL, OPTION_PID_FILE },
        { "console-socket", required_argument, NULL, OPTION_CONSOLE_SOCKET },
        { "no-pivot", no_argument, NULL, OPTION_NO_PIVOT },
        { "preserve-fds", required_argument, NULL, OPTION_PRESERVE_FDS },
        { "no-new-keyring", no_argument, NULL, OPTION_NO_NEW_KEYRING },
        { "detach", no_argument, NULL, 'd' },
        { "keep", no_argument, NULL, OPTION_KEEP },
        { "no-subreaper", no_argument, NULL, OPTION_NO_SUBREAPER },
        { "help", no_argument, NULL, 'h' },
        {},
};

static const struct option plain_options[] = { { "help", no_argument, NULL, 'h' }, {} };
static const struct option kill_options[] = {
        { "all", no_argument, NULL, 'a' },
        { "help", no_argument, NULL, 'h' },
        {},
};
static const struct option delete_options[] = {
        { "force", no_argument, NULL, 'f' },
        { "help", no_argument, NULL, 'h' },
        {},
};

static const struct {
        const char *letters;
        const struct option *options;
} command_options[_OCI_COMMAND_MAX] = {
        [OCI_COMMAND_HELP] = { "+:h", plain_options },     [OCI_COMMAND_VERSION] = { "+:h", plain_options },
        [OCI_COMMAND_CREATE] = { ":hb:", create_options }, [OCI_COMMAND_START] = { ":h", plain_options },
        [OCI_COMMAND_RUN] = { ":hb:d", run_options },      [OCI_COMMAND_STATE] = { ":h", plain_options },
        [OCI_COMMAND_KILL] = { ":ha", kill_options },      [OCI_COMMAND_DELETE] = { ":hf", delete_options },
};

static int apply_preserve_fds(OciOptions *options, Fault *fault) {
        uint64_t count;
        if (string_to_uint64(optarg, CONTAINER_EXTRA_FDS_MAX, &count) < 0)
                return fault_set(fault, -EINVAL, "--preserve-fds: '%s' is not a number up to %i", optarg,
                                 CONTAINER_EXTRA_FDS_MAX);
        options->preserve_fds = (unsigned) count;
        return 0;
}

static int apply_global(int option, OciOptions *options, Fault *fault) {
        switch (option) {
        case OPTION_ROOT:
                options->root = optarg;
                return 0;
        case OPTION_LOG:
                options->log = string_is_empty(optarg) ? NULL : optarg;
                return 0;
        case OPTION_LOG_FORMAT:
                options->log_json = string_equal(optarg, "json");
                if (!options->log_json && !string_equal(optarg, "text"))
                        return fault_set(fault, -EINVAL, "--log-format: '%s' is not text or json", optarg);
                return 0;
        case OPTION_DEBUG:
                options->debug = true;
                return 0;
        case OPTION_SYSTEMD_CGROUP:
                return fault_set(fault, -EOPNOTSUPP,
                                 "--systemd-cgroup: the systemd cgroup driver is not supported yet; without "
                                 "this option cgroups are made directly");
        case OPTION_ROOTLESS:
                if (string_equal(optarg, "auto") || string_equal(optarg, "false"))
                        return 0;
                return fault_set(fault, -EOPNOTSUPP, "--rootless: not supported yet");
        default:
                return -ENOENT;
        }
}

static int apply_option(int option, OciOptions *options, Fault *fault) {
        switch (option) {
        case 'h':
                options->command = OCI_COMMAND_HELP;
                return 0;
        case 'v':
                options->command = OCI_COMMAND_VERSION;
                return 0;
        case 'b':
                options->bundle = optarg;
                return 0;
        case 'd':
                options->detach = true;
                return 0;
        case 'f':
                options->force = true;
                return 0;
        case 'a':
                options->all = true;
                return 0;
        case OPTION_PID_FILE:
                options->pid_file = optarg;
                return 0;
        case OPTION_CONSOLE_SOCKET:
                options->console_socket = optarg;
                return 0;
        case OPTION_NO_PIVOT:
                return fault_set(fault, -EOPNOTSUPP,
                                 "--no-pivot: not supported: the host's tree would stay reachable");
        case OPTION_PRESERVE_FDS:
                return apply_preserve_fds(options, fault);
        case OPTION_NO_NEW_KEYRING:
                options->no_new_keyring = true;
                return 0;
        case OPTION_KEEP:
                options->keep = true;
                return 0;
        case OPTION_NO_SUBREAPER: /* this runtime never is one */
                return 0;
        default:
                return apply_global(option, options, fault);
        }
}

static int read_options(int argc, char *argv[], const char *letters, const struct option *known,
                        OciOptions *options, Fault *fault) {
        int option;
        opterr = 0;
        while ((option = getopt_long(argc, argv, letters, known, NULL)) >= 0) {
                if (option == '?')
                        return fault_set(fault, -EINVAL, "the option %s is not known (see crt-oci --help)",
                                         argv[optind - 1]);
                if (option == ':')
                        return fault_set(fault, -EINVAL, "the option %s needs a value", argv[optind - 1]);
                int r = apply_option(option, options, fault);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_arguments(int argc, char *argv[], OciOptions *options, Fault *fault) {
        if (optind >= argc)
                return fault_set(fault, -EINVAL, "%s: needs a container's name",
                                 command_names[options->command]);
        options->id = argv[optind++];
        if (options->command == OCI_COMMAND_KILL && optind < argc) {
                options->signal = signal_from_string(argv[optind]);
                if (options->signal < 0)
                        return fault_set(fault, -EINVAL, "kill: '%s' is not a signal", argv[optind]);
                optind++;
        }
        if (optind < argc)
                return fault_set(fault, -EINVAL, "%s: '%s' is one argument too many",
                                 command_names[options->command], argv[optind]);
        return 0;
}

int oci_options_parse(int argc, char *argv[], OciOptions *ret, Fault *fault) {
        *ret = (OciOptions){
                .command = _OCI_COMMAND_INVALID,
                .root = DEFAULT_ROOT,
                .bundle = ".",
                .signal = SIGTERM,
        };
        optind = 0;
        int r = read_options(argc, argv, "+:hv", global_options, ret, fault);
        if (r < 0 || ret->command >= 0)
                return r;
        if (optind >= argc)
                return fault_set(fault, -EINVAL, "a command is missing (see crt-oci --help)");

        const char *name = argv[optind];
        int offset = optind, command = string_table_find(command_names, _OCI_COMMAND_MAX, name);
        if (command < 0)
                return fault_set(fault, -EINVAL, "the command '%s' is not known (see crt-oci --help)", name);
        ret->command = (OciCommand) command;
        optind = 0;
        r = read_options(argc - offset, argv + offset, command_options[command].letters,
                         command_options[command].options, ret, fault);
        if (r < 0 || ret->command == OCI_COMMAND_HELP || ret->command == OCI_COMMAND_VERSION)
                return r;
        return read_arguments(argc - offset, argv + offset, ret, fault);
}
