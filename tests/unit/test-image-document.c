/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The records between crt-imagesd and crt-document, crt-document itself, and what comes of one that lies. */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/media-type.h"
#include "lib/message.h"
#include "lib/strv.h"
#include "services/images/document-client.h"
#include "services/images/document-protocol.h"
#include "tests/unit/check-directory.h"
#include "tests/unit/check-fault.h"
#include "tests/unit/oci-samples.h"

#define PROGRAM "crt-document"

/* ---- records ---- */

static int read_text(const char *text, size_t size, Document *ret, Fault *fault) {
        RecordFile file = { .data = text, .size = size };
        return document_read(&file, ret, fault);
}

static char *write_text(const Document *document) {
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        char *text = NULL;
        size_t size;
        CHECK_OK(record_writer_new("test", &writer));
        CHECK_OK(document_write(document, writer));
        _cleanup_close_ int fd = record_writer_finish(writer);
        CHECK_OK(fd_read_all(fd, DOCUMENT_ANSWER_MAX, &text, &size));
        return text;
}

#define LAYER_TYPE "application/vnd.oci.image.layer.v1.tar+gzip"
#define HEAD_INDEX "index\t" SAMPLE_OCI_INDEX "\n"
#define HEAD_MANIFEST "manifest\t" SAMPLE_OCI_MANIFEST "\n"
#define CONFIG "config\t" MEDIA_TYPE_OCI_CONFIG "\t" SAMPLE_DIGEST "\t7023\n"
#define LAYER "layer\t" LAYER_TYPE "\t" SAMPLE_DIGEST "\t7023\n"
#define ENTRY "entry\t" SAMPLE_OCI_MANIFEST "\t" SAMPLE_DIGEST "\t7023"
#define HEAD_IMAGE "image\tlinux\tamd64\t\t\t\t\t\t\n"

static const char an_index[] =
        HEAD_INDEX ENTRY "\tlinux\tarm64\tv9\t\n" ENTRY "\twindows\tamd64\t\t10.0.1\n" ENTRY "\nend\t4\n";
static const char a_manifest[] = HEAD_MANIFEST CONFIG LAYER LAYER "end\t4\n";
static const char a_config[] = "image\tlinux\tarm\tv7\t\t2024-05-06T07:08:09Z\tuser:group\t/work\tSIGQUIT\n"
                               "diff\t" SAMPLE_DIGEST "\n"
                               "env\tPATH=/bin\nenv\tEMPTY=\nenv\tLINES=one\\0atwo\\5c\n"
                               "entrypoint\t/bin/sh\nentrypoint\t-c\ncmd\techo a\\09b\ncmd\t\n"
                               "port\t80/tcp\nvolume\t/data\nlabel\tkey\tvalue\nlabel\tempty\t\n"
                               "end\t13\n";

static void gives_back_what_was_written(void) {
        static const char *const texts[] = { an_index, a_manifest, a_config };
        for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
                Document document = { 0 };
                CHECK_NO_FAULT(read_text(texts[i], strlen(texts[i]), &document, &fault));
                CHECK_INT(document.kind, i);
                char *text = write_text(&document);
                CHECK_STRING(text, texts[i]);
                free(text);
                document_done(&document);
        }
}

static void takes_every_field(void) {
        Document d = { 0 };
        CHECK_NO_FAULT(read_text(a_config, strlen(a_config), &d, &fault));
        CHECK_STRING(d.config.platform.variant, "v7");
        CHECK_STRING(d.config.created, "2024-05-06T07:08:09Z");
        CHECK_STRING(d.config.user, "user:group");
        CHECK_STRING(d.config.environment[2], "LINES=one\ntwo\\");
        CHECK_STRING(d.config.command[0], "echo a\tb");
        CHECK_STRING(d.config.command[1], "");
        CHECK_STRING(d.config.labels[3], "");
        CHECK(!d.config.labels[4]);
        CHECK_INT(d.config.diff_id_count, 1);
        document_done(&d);
        CHECK_NO_FAULT(read_text(an_index, strlen(an_index), &d, &fault));
        CHECK_INT(d.index.manifest_count, 3);
        CHECK_STRING(d.index.manifests[1].platform.os_version, "10.0.1");
        CHECK(!d.index.manifests[2].has_platform);
        document_done(&d);
}

static void refuses_what_is_not_written_so(void) {
        static const struct {
                const char *text, *part;
        } cases[] = {
                { "", "missing" },
                { "index", "is none" },
                { "end\t0\n", "no document" },
                { "index\tapplication/json\nend\t1\n", "media type" },
                { "index\t" SAMPLE_OCI_MANIFEST "\nend\t1\n", "media type" },
                { "manifest\t" SAMPLE_OCI_INDEX "\nend\t1\n", "media type" },
                { HEAD_INDEX, "missing" },
                { HEAD_INDEX "end\t2\n", "not the end" },
                { HEAD_INDEX "end\tx\n", "not the end" },
                { HEAD_INDEX "end\t1\nend\t1\n", "not the end" },
                { HEAD_INDEX "end\t1\n" ENTRY "\n", "not the end" },
                { HEAD_INDEX LAYER "end\t2\n", "none of these" },
                { HEAD_INDEX HEAD_INDEX "end\t2\n", "none of these" },
                { HEAD_INDEX ENTRY "\tlinux\n", "platform" },
                { HEAD_INDEX ENTRY "\tlin ux\tamd64\n", "platform" },
                { HEAD_INDEX ENTRY "\tlinux\tamd64\t\\00\n", "no text" },
                { HEAD_INDEX "entry\t\t" SAMPLE_DIGEST "\t1\n", "media type" },
                { HEAD_INDEX "entry\ta b/c\t" SAMPLE_DIGEST "\t1\n", "media type" },
                { HEAD_INDEX "entry\ta/b\tsha256:abc\t1\n", "digest" },
                { HEAD_INDEX "entry\ta/b\t" SAMPLE_DIGEST SAMPLE_HEX SAMPLE_HEX "\t1\n", "too long" },
                { HEAD_INDEX "entry\ta/b\t" SAMPLE_DIGEST "\t-1\n", "size" },
                { HEAD_INDEX "entry\ta/b\t" SAMPLE_DIGEST "\t9223372036854775808\n", "size" },
                { HEAD_MANIFEST "end\t1\n", "no config" },
                { HEAD_MANIFEST CONFIG CONFIG "end\t3\n", "already" },
                { HEAD_MANIFEST CONFIG "layer\ta/b\t" SAMPLE_DIGEST "\t9223372036854775807\n", "larger" },
                { "image\t\tamd64\nend\t1\n", "platform" },
                { "image\tlinux\tamd64\t\t\t\tus\\0aer\nend\t1\n", "control" },
                { "image\tlinux\tamd64\t\t\t\tus\\61er\nend\t1\n", "no text" },
                { "image\tlinux\tamd64\t\t\t\t\xff\nend\t1\n", "no text" },
                { HEAD_IMAGE "diff\tmd5:abc\n", "digest" },
                { HEAD_IMAGE "env\tPATH\n", "NAME=value" },
                { HEAD_IMAGE "env\t=x\n", "NAME=value" },
                { HEAD_IMAGE "env\ta=\\0\n", "no text" },
                { HEAD_IMAGE "env\ta=\\0A\n", "no text" },
                { HEAD_IMAGE "cmd\t\xc0\x80\n", "no text" },
                { HEAD_IMAGE "port\t\n", "empty" },
                { HEAD_IMAGE "volume\ta\\0a\n", "control" },
                { HEAD_IMAGE "label\t\tvalue\n", "key" },
                { HEAD_IMAGE "label\torg.crt.gc.root\tvalue\n", "crt's own" },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                Document document = { 0 };
                CHECK_FAULT(read_text(cases[i].text, strlen(cases[i].text), &document, &fault), -EPROTO,
                            cases[i].part);
        }
}

/* One more than there may be. */
static void refuses_too_many(void) {
        static const struct {
                const char *head, *record;
                size_t count;
        } cases[] = {
                { HEAD_INDEX, ENTRY "\n", LIMIT_INDEX_MANIFESTS },
                { HEAD_MANIFEST CONFIG, LAYER, LIMIT_MANIFEST_LAYERS },
                { HEAD_IMAGE, "diff\t" SAMPLE_DIGEST "\n", LIMIT_MANIFEST_LAYERS },
                { HEAD_IMAGE, "env\ta=b\n", LIMIT_CONFIG_STRINGS },
                { HEAD_IMAGE, "cmd\t\n", LIMIT_CONFIG_STRINGS },
                { HEAD_IMAGE, "port\ta\n", LIMIT_ANNOTATIONS },
                { HEAD_IMAGE, "label\ta\tb\n", LIMIT_ANNOTATIONS },
        };
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++)
                for (size_t more = 0; more < 2; more++) {
                        size_t count = cases[i].count + more, heads = cases[i].head[0] == 'm' ? 2 : 1;
                        char *text = malloc(1000 + count * strlen(cases[i].record)), *p = text;
                        Document document = { 0 };
                        p = stpcpy(p, cases[i].head);
                        for (size_t k = 0; k < count; k++)
                                p = stpcpy(p, cases[i].record);
                        sprintf(p, "end\t%zu\n", heads + count);
                        if (more)
                                CHECK_FAULT(read_text(text, strlen(text), &document, &fault), -EPROTO,
                                            "too many");
                        else
                                CHECK_NO_FAULT(read_text(text, strlen(text), &document, &fault));
                        document_done(&document);
                        free(text);
                }
}

/* ---- the worker ---- */

static sd_event *event;

typedef struct Told {
        int ends;
        int r;
        char sentence[700];
        Document document;
        size_t size;
} Told;

static void on_read(DocumentReply *reply, void *userdata) {
        Told *told = userdata;
        told->ends++;
        told->r = reply->r;
        told->size = reply->size;
        snprintf(told->sentence, sizeof(told->sentence), "%s", fault_text(&reply->fault, reply->r));
        if (reply->document)
                told->document = TAKE(*reply->document, (Document){ 0 });
}

static void ask(DocumentClient *client, const char *text, size_t size, bool is_config, Told *told) {
        int fd = fd_new_sealed_memfd("document", text, size);
        *told = (Told){ 0 };
        CHECK_NO_FAULT(document_client_read(client, &(DocumentSource){ .fd = fd, .is_config = is_config },
                                            on_read, told, &fault));
        close(fd);
        while (told->ends == 0)
                CHECK_OK(sd_event_run(event, UINT64_MAX));
        CHECK_INT(told->ends, 1);
}

static const char json_config[] =
        "{\"os\":\"linux\",\"architecture\":\"x86_64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":["
        "\"" SAMPLE_DIGEST
        "\"]},\"config\":{\"Env\":[\"A=\\u0001\\\\\"],\"Cmd\":[\"a\\nb\"],\"Labels\":{\"org.crt.x\":\"1\","
        "\"l\":\"v\"},\"ExposedPorts\":{\"53\":{}}}}";
static const char json_manifest[] =
        "{\"schemaVersion\":2,\"config\":" SAMPLE_CONFIG ",\"layers\":[" SAMPLE_LAYER "]}";
static const char json_index[] =
        "{\"schemaVersion\":2,\"manifests\":[" SAMPLE_ENTRY(SAMPLE_PLATFORM("linux", "amd64")) "]}";

static void reads_one_document_after_the_other(void) {
        DocumentClient *client = NULL;
        Told told;
        setenv("CRT_LIBEXECDIR", DOCUMENT_DIRECTORY, 1);
        CHECK_NO_FAULT(document_client_new(event, &client, &fault));
        ask(client, json_index, strlen(json_index), false, &told);
        CHECK_FORMAT(told.r == 0, "%s", told.sentence);
        CHECK_INT(told.document.kind, DOCUMENT_INDEX);
        CHECK_STRING(told.document.index.manifests[0].platform.architecture, "amd64");
        document_done(&told.document);
        ask(client, json_manifest, strlen(json_manifest), false, &told);
        CHECK_FORMAT(told.r == 0, "%s", told.sentence);
        CHECK_INT(told.document.manifest.layers[0].size, 7023);
        document_done(&told.document);
        ask(client, json_manifest, strlen(json_manifest), true, &told);
        CHECK_INT(told.r, -EBADMSG);
        ask(client, "{", 1, false, &told);
        CHECK_INT(told.r, -EBADMSG);
        CHECK_CONTAINS(told.sentence, "manifest: ");
        ask(client, "{\"schemaVersion\":1}", 19, false, &told);
        CHECK_INT(told.r, -EOPNOTSUPP);
        ask(client, json_config, strlen(json_config), true, &told);
        CHECK_FORMAT(told.r == 0, "%s", told.sentence);
        CHECK_STRING(told.document.config.environment[0], "A=\x01\\");
        CHECK_STRING(told.document.config.command[0], "a\nb");
        CHECK_STRING(told.document.config.labels[0], "l");
        CHECK(told.size > 0);
        document_done(&told.document);
        document_client_free(client);
}

/* What is made of hostile documents takes its memory and its time in the worker. */
static void survives_what_its_worker_does_not(void) {
        static const struct {
                const char *begin, *piece, *end;
        } cases[] = {
                { "{\"a\":[", "[],", "[]]}" },
                { "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\"},\"config\":"
                  "{\"Cmd\":[",
                  "\"\",", "\"\"]}}" },
                { "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\"},\"config\":"
                  "{\"Cmd\":[\"",
                  "\\\\\\\\", "\"]}}" },
                { "", "[", "" },
                { "{\"a\":\"", "\x7f\x7f\x7f", "\"}" },
        };
        DocumentClient *client = NULL;
        setenv("CRT_LIBEXECDIR", DOCUMENT_DIRECTORY, 1);
        CHECK_NO_FAULT(document_client_new(event, &client, &fault));
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                size_t size = LIMIT_IMAGE_CONFIG_SIZE + (i == 4), step = strlen(cases[i].piece);
                char *text = calloc(1, size + 1), *p = stpcpy(text, cases[i].begin);
                Told told;
                while (p + step + strlen(cases[i].end) <= text + size)
                        p = stpcpy(p, cases[i].piece);
                memset(stpcpy(p, cases[i].end), ' ', (size_t) (text + size - p) - strlen(cases[i].end));
                ask(client, text, size, true, &told);
                printf("# %s\n", told.r < 0 ? told.sentence : "read");
                CHECK(told.r == -EBADMSG || told.r == -EHOSTUNREACH || told.r == 0);
                CHECK(i == 2 || told.r < 0);
                document_done(&told.document);
                free(text);

                ask(client, json_config, strlen(json_config), true, &told);
                CHECK_FORMAT(told.r == 0, "after %zu: %s", i, told.sentence);
                document_done(&told.document);
        }
        document_client_free(client);
}

/* ---- a worker that lies ---- */

static void say(const void *data, size_t size, const int *fd) {
        (void) message_send(DOCUMENT_FD_CONTROL, data, size, fd, fd ? 1 : 0);
}

/* This program as crt-document: the document tells it what to do. */
static int lie(void) {
        for (;;) {
                DocumentOrder order;
                DocumentAnswer answer = { 0 };
                int fds[MESSAGE_FDS_MAX];
                size_t count, size;
                char *text = NULL;
                if (message_receive(DOCUMENT_FD_CONTROL, &order, sizeof(order), fds, &count) <= 0)
                        return 0;
                if (fd_read_all(fds[0], 1U << 20, &text, &size) < 0)
                        return 1;
                if (string_equal(text, "die"))
                        raise(SIGKILL);
                if (string_equal(text, "end"))
                        _exit(3);
                if (string_equal(text, "hang"))
                        pause();
                if (string_equal(text, "spin"))
                        for (;;)
                                ;
                if (string_equal(text, "babble"))
                        say("babble", 6, NULL);
                if (string_equal(text, "longer"))
                        say((char[sizeof(answer) + 1]){ 0 }, sizeof(answer) + 1, NULL);
                if (string_equal(text, "descriptor"))
                        say(&answer, sizeof(answer), &fds[0]);
                if (string_equal(text, "endless") && ftruncate(fds[1], 1L << 40) < 0)
                        return 1;
                if (string_equal(text, "broken"))
                        answer.error = -EIO;
                if (string_equal(text, "positive"))
                        answer.error = 74;
                if (string_equal(text, "bad"))
                        answer.error = -EBADMSG;
                memset(answer.sentence, '\xff', answer.error != 0 ? sizeof(answer.sentence) : 0);
                if (strchr(text, '\n'))
                        (void) fd_write_all(fds[1], text, size);
                say(&answer, sizeof(answer), NULL);
                if (string_after(text, HEAD_IMAGE "diff")) /* and again */
                        say(&answer, sizeof(answer), NULL);
                free(text);
                fd_close_many(fds, count);
        }
}

static void make_liar(void) {
        char directory[64], target[4096] = "";
        snprintf(directory, sizeof(directory), "/proc/%i/fd/%i", (int) getpid(), check_directory());
        CHECK_OK(readlink("/proc/self/exe", target, sizeof(target) - 1));
        CHECK(symlinkat(target, check_directory(), PROGRAM) >= 0 || errno == EEXIST);
        setenv("CRT_LIBEXECDIR", directory, 1);
}

static void is_not_taken_in(void) {
        static const struct {
                const char *text;
                int error;
                const char *part;
                bool is_manifest;
        } cases[] = {
                { "die", -EHOSTUNREACH, "was killed by SIGKILL" },
                { "end", -EHOSTUNREACH, "ended with status 3" },
                { "babble", -EHOSTUNREACH, "not understood" },
                { "longer", -EHOSTUNREACH, "not understood" },
                { "descriptor", -EHOSTUNREACH, "not understood" },
                { "nothing", -EHOSTUNREACH, "told what can't be" },
                { "endless", -EHOSTUNREACH, "told what can't be" },
                { "broken", -EHOSTUNREACH, "has failed: ???" },
                { "positive", -EHOSTUNREACH, "has failed: ???" },
                { "bad", -EBADMSG, "???" },
                { a_manifest, -EHOSTUNREACH, "another document" },
                { HEAD_MANIFEST CONFIG LAYER "end\t4\n", -EHOSTUNREACH, "record 4: it is not the end",
                  true },
                { a_config, -EHOSTUNREACH, "another document", true },
                { HEAD_IMAGE "env\tA\n", -EHOSTUNREACH, "record 2: it is not NAME=value" },
        };
        DocumentClient *client = NULL;
        make_liar();
        CHECK_NO_FAULT(document_client_new(event, &client, &fault));
        for (size_t i = 0; i < ELEMENTS_OF(cases); i++) {
                Told told;
                ask(client, cases[i].text, strlen(cases[i].text), !cases[i].is_manifest, &told);
                CHECK_FORMAT(told.r == cases[i].error, "%zu: %i, %s", i, told.r, told.sentence);
                CHECK_CONTAINS(told.sentence, cases[i].part);
                CHECK(string_is_utf8(told.sentence, strlen(told.sentence)));

                /* The next one is asked as if nothing had been. */
                ask(client, a_config, strlen(a_config), true, &told);
                CHECK_FORMAT(told.r == 0, "after %zu: %s", i, told.sentence);
                document_done(&told.document);
        }
        document_client_free(client);
}

static void does_not_wait_for_ever(void) {
        static const char *const texts[] = { "hang", "spin" };
        DocumentClient *client = NULL;
        Told told;
        make_liar();
        CHECK_NO_FAULT(document_client_new(event, &client, &fault));
        for (size_t i = 0; i < ELEMENTS_OF(texts); i++) {
                document_client_set_patience(client, 100000);
                ask(client, texts[i], strlen(texts[i]), true, &told);
                CHECK_INT(told.r, -EHOSTUNREACH);
                CHECK_CONTAINS(told.sentence, "does not come to an end");
                document_client_set_patience(client, 60000000);
                ask(client, a_config, strlen(a_config), true, &told);
                CHECK_FORMAT(told.r == 0, "%s", told.sentence);
                document_done(&told.document);
        }
        document_client_free(client);
}

/* The second one is told of no document. */
static void hears_nothing_that_was_not_asked(void) {
        static const char twice[] = HEAD_IMAGE "diff\t" SAMPLE_DIGEST "\nend\t2\n";
        DocumentClient *client = NULL;
        make_liar();
        CHECK_NO_FAULT(document_client_new(event, &client, &fault));
        for (int i = 0; i < 20; i++) {
                Told told;
                ask(client, twice, strlen(twice), true, &told);
                CHECK(told.r == 0 || (told.r == -EHOSTUNREACH && i > 0));
                document_done(&told.document);
        }
        document_client_free(client);
}

static void free_in_callback(DocumentReply *reply, void *userdata) {
        DocumentClient **client = userdata;
        *client = document_client_free(*client);
}

static void can_be_freed_at_any_time(void) {
        static const char *const texts[] = { a_config, "bad", "die", "babble" };
        make_liar();
        for (size_t i = 0; i < 2 * ELEMENTS_OF(texts); i++) {
                const char *text = texts[i / 2];
                DocumentClient *client = NULL;
                int fd = fd_new_sealed_memfd("document", text, strlen(text));
                CHECK_NO_FAULT(document_client_new(event, &client, &fault));
                CHECK_NO_FAULT(document_client_read(client, &(DocumentSource){ .fd = fd, .is_config = true },
                                                    free_in_callback, &client, &fault));
                close(fd);
                if (i % 2 == 0)
                        client = document_client_free(client);
                while (client)
                        CHECK_OK(sd_event_run(event, UINT64_MAX));
        }
}

int main(int argc, char *argv[]) {
        if (string_equal(argv[0], PROGRAM))
                return lie();
        sigset_t child;
        sigemptyset(&child);
        sigaddset(&child, SIGCHLD);
        sigprocmask(SIG_BLOCK, &child, NULL); /* as sd-event wants it */
        sd_event_new(&event);
        int r = check_run((const Check[]){
                CHECK_CASE(gives_back_what_was_written),
                CHECK_CASE(takes_every_field),
                CHECK_CASE(refuses_what_is_not_written_so),
                CHECK_CASE(refuses_too_many),
                CHECK_CASE(reads_one_document_after_the_other),
                CHECK_CASE(survives_what_its_worker_does_not),
                CHECK_CASE(is_not_taken_in),
                CHECK_CASE(does_not_wait_for_ever),
                CHECK_CASE(hears_nothing_that_was_not_asked),
                CHECK_CASE(can_be_freed_at_any_time),
                {},
        });
        sd_event_unref(event);
        return r;
}
