/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "bus/peer.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/oci-platform.h"
#include "lib/strv.h"
#include "services/images/images-bus.h"
#include "services/images/transfer.h"

#define CREDENTIAL_LENGTH_MAX 16384

typedef struct PullOptions {
        const char *name;
        const char *platform;
        const char *username;
        const char *password;
        const char *policy;
        bool unpack;
        bool plain_http;
        int ca_fd;
} PullOptions;

static const BusOption pull_options[] = {
        { "name", "s", offsetof(PullOptions, name) },
        { "platform", "s", offsetof(PullOptions, platform) },
        { "unpack", "b", offsetof(PullOptions, unpack) },
        { "username", "s", offsetof(PullOptions, username) },
        { "password", "s", offsetof(PullOptions, password) },
        { "policy", "s", offsetof(PullOptions, policy) },
        { "plain-http", "b", offsetof(PullOptions, plain_http) },
        { "ca", "h", offsetof(PullOptions, ca_fd) },
};

/* One pull from its call to its end; freed with its job's end. */
typedef struct Pull {
        ImagesBus *images; /* weak */
        Job *job;          /* weak */
        Transfer *transfer;
        OciReference reference;
        OciPlatform platform;
        char *name;
        char *work;
        size_t part_count;
} Pull;

static Pull *pull_free(Pull *pull) {
        if (!pull)
                return NULL;
        oci_reference_done(&pull->reference);
        oci_platform_done(&pull->platform);
        free(pull->name);
        free(pull->work);
        free(pull);
        return NULL;
}
DEFINE_CLEANUP(Pull *, pull_free);

/* ---- what is asked for ---- */

static int check_options(const PullOptions *options, sd_bus_error *error) {
        if (!string_equal(options->policy, "always") && !string_equal(options->policy, "missing"))
                return bus_invalid_argument(error, "option 'policy': must be 'always' or 'missing'");
        if (!options->username != !options->password)
                return bus_invalid_argument(
                        error, "options 'username' and 'password': one is there without the other");
        if (options->username &&
            (strlen(options->username) > CREDENTIAL_LENGTH_MAX ||
             strlen(options->password) > CREDENTIAL_LENGTH_MAX || strchr(options->username, ':')))
                return bus_invalid_argument(
                        error, "options 'username' and 'password': not what a registry can be told");
        if (options->ca_fd >= 0 &&
            (fd_verify_type(options->ca_fd, S_IFREG) < 0 || fd_verify_access(options->ca_fd, O_RDONLY) < 0))
                return bus_invalid_argument(error,
                                            "option 'ca': must be a regular file that is open for reading");
        return 0;
}

/* Whoever asks for the same in the same way gets the same transfer; credentials and certificates are part of
 * the way. */
static int make_work(const Pull *pull, const PullOptions *options, char **ret) {
        _cleanup_free_ char *platform = oci_platform_to_string(&pull->platform), *secret = NULL;
        char hex[DIGEST_STRING_MAX] = "";
        struct stat st = { 0 };
        Digest digest;

        if (!platform)
                return -ENOMEM;
        if (options->username) {
                if (asprintf(&secret, "%s:%s", options->username, options->password) < 0) {
                        secret = NULL;
                        return -ENOMEM;
                }
                digest_of_short(secret, strlen(secret), &digest);
                explicit_bzero(secret, strlen(secret));
                digest_to_string(&digest, hex);
        }
        int r = options->ca_fd >= 0 ? fd_look(options->ca_fd, &st) : 0;
        if (r < 0)
                return r;
        if (asprintf(ret, "%s %s %s %i %i %s %s %llu:%llu", pull->reference.name, pull->name, platform,
                     options->unpack, options->plain_http, options->policy, hex,
                     (unsigned long long) st.st_dev, (unsigned long long) st.st_ino) < 0)
                return -ENOMEM;
        return 0;
}

static int parse_names(Pull *pull, const char *reference, const PullOptions *options, Fault *fault) {
        int r = oci_reference_parse(reference, &pull->reference, fault);
        if (r < 0)
                return r;
        if (options->name) {
                OciReference name = { 0 };
                r = oci_reference_parse(options->name, &name, fault);
                if (r < 0)
                        return fault_prefix(fault, r, "option 'name'");
                pull->name = TAKE_PTR(name.name);
                oci_reference_done(&name);
        } else if (!(pull->name = strdup(pull->reference.name)))
                return -ENOMEM;
        if (!options->platform)
                return oci_platform_of_machine(&pull->platform);
        r = oci_platform_parse(options->platform, &pull->platform, fault);
        return r < 0 ? fault_prefix(fault, r, "option 'platform'") : r;
}

/* ---- what the transfer tells ---- */

static void on_phase(const char *phase, void *userdata) {
        const Pull *pull = userdata;
        job_set_phase(pull->job, phase);
}

static void on_parts(const TransferPart *parts, size_t count, void *userdata) {
        Pull *pull = userdata;
        _cleanup_free_ JobPart *copy = new0(JobPart, count);
        for (size_t i = 0; copy && i < count; i++)
                copy[i] = (JobPart){ parts[i].id, parts[i].kind, parts[i].total };
        if (copy && job_set_parts(pull->job, copy, count) >= 0)
                pull->part_count = count;
}

static void on_progress(size_t part, const char *state, uint64_t done, void *userdata) {
        const Pull *pull = userdata;
        if (part < pull->part_count)
                job_part_progress(pull->job, part, state, done);
}

static void set_results(Job *job, const ImageRecord *record) {
        const struct {
                const char *key, *value;
        } results[] = {
                { "name", record->name },
                { "digest", record->digest },
                { "manifest-digest", record->manifest },
                { "chain-id", record->chain_id },
                { "platform", record->platform },
        };
        for (size_t i = 0; i < ELEMENTS_OF(results); i++)
                (void) job_set_result(job, results[i].key, results[i].value);
}

static void on_end(int r, const Fault *fault, const ImageRecord *record, void *userdata) {
        Pull *pull = userdata;
        if (r >= 0) {
                set_results(pull->job, record);
                image_object_emit(pull->images, record);
                log_info("pulled %s into %s: %s", record->name, record->namespace, record->digest);
        } else if (r != -ECANCELED)
                log_notice("pull of %s failed: %s", pull->reference.name, fault_text(fault, r));
        if (r < 0 && r != -ECANCELED)
                images_note_failure(pull->images, r);
        job_finish(pull->job, r, fault);
        pull_free(pull);
}

static const TransferObserver observer = { on_phase, on_parts, on_progress, on_end };

static void on_cancel(Job *job, void *userdata) {
        const Pull *pull = userdata;
        transfer_cancel(pull->transfer);
}

/* ---- Pull ---- */

static int begin_job(Pull *pull, sd_bus_message *message, Fault *fault) {
        ImagesBus *images = pull->images;
        const Peer *peer = bus_current_peer(images->bus);
        int r = job_new(images->transfers,
                        &(JobSpec){
                                .namespace = bus_call_namespace(message),
                                .verb = "pull",
                                .object = pull->reference.name,
                                .work = pull->work,
                                .owner = peer ? peer_uid(peer) : 0,
                                .quota = QUOTA_TRANSFERS,
                                .cancel = on_cancel,
                                .userdata = pull,
                        },
                        &pull->job);
        if (r == -EDQUOT)
                fault_set(fault, r, "too many transfers of this user are under way");
        return r;
}

static int reply_with_job(sd_bus_message *message, const Job *job) {
        _cleanup_free_ char *path = NULL;
        int r = job_get_path(job, &path);
        return r < 0 ? r : sd_bus_reply_method_return(message, "o", path);
}

/* Policy "missing": 1 if the image is there, and the job is done. */
static int answer_from_record(Pull *pull, sd_bus_message *message, const PullOptions *options,
                              Fault *fault) {
        ImageRecord record = { 0 };
        _cleanup_free_ char *platform = oci_platform_to_string(&pull->platform);

        if (!platform)
                return -ENOMEM;
        int r = image_store_get(pull->images->service->images, bus_call_namespace(message), pull->name,
                                &record);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        if ((options->platform && !string_equal(record.platform, platform)) ||
            (options->unpack && string_is_empty(record.chain_id)))
                r = 0;
        else
                r = begin_job(pull, message, fault);
        if (r >= 0 && pull->job) {
                r = reply_with_job(message, pull->job);
                set_results(pull->job, &record);
                job_finish(pull->job, r, NULL);
                r = 1;
        }
        image_record_done(&record);
        return r;
}

static int start_transfer(Pull *pull, sd_bus_message *message, const PullOptions *options, Fault *fault) {
        int r = transfer_new(pull->images->service,
                             &(TransferSpec){
                                     .namespace = bus_call_namespace(message),
                                     .name = pull->name,
                                     .reference = &pull->reference,
                                     .platform = &pull->platform,
                                     .unpack = options->unpack,
                                     .plain_http = options->plain_http,
                                     .username = options->username,
                                     .password = options->password,
                                     .ca_fd = options->ca_fd,
                                     .observer = &observer,
                                     .userdata = pull,
                             },
                             &pull->transfer);
        if (r < 0)
                return r;
        r = begin_job(pull, message, fault);
        if (r < 0)
                pull->transfer = transfer_free(pull->transfer);
        return r;
}

int method_pull(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ImagesBus *images = userdata;
        _cleanup_(pull_freep) Pull *pull = new0(Pull, 1);
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        PullOptions options = { .policy = "always", .unpack = true, .ca_fd = -EBADF };
        const char *reference;

        if (!pull)
                return -ENOMEM;
        pull->images = images;
        int r = sd_bus_message_read(message, "s", &reference);
        if (r >= 0)
                r = bus_options_read(message, pull_options, ELEMENTS_OF(pull_options), &options, error);
        if (r >= 0)
                r = check_options(&options, error);
        if (r < 0)
                return r;
        r = parse_names(pull, reference, &options, &fault);
        if (r >= 0)
                r = make_work(pull, &options, &pull->work);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);

        const Job *running =
                job_table_find_running(images->transfers, bus_call_namespace(message), pull->work);
        if (running)
                return reply_with_job(message, running);
        if (string_equal(options.policy, "missing")) {
                r = answer_from_record(pull, message, &options, &fault);
                if (r != 0)
                        return r < 0 ? bus_error_set_fault(error, r, &fault) : 1;
        }
        r = start_transfer(pull, message, &options, &fault);
        if (r < 0)
                return bus_error_set_fault(error, r, &fault);
        r = reply_with_job(message, pull->job);
        transfer_start(TAKE_PTR(pull)->transfer);
        return r;
}
