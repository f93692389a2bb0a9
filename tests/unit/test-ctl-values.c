/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>
#include <unistd.h>

#include "ctl/format.h"
#include "ctl/parse-values.h"
#include "lib/strv.h"
#include "tests/unit/check.h"

#define SEC UINT64_C(1000000)

static void sizes_are_read(void) {
        static const struct {
                const char *text;
                uint64_t value;
        } good[] = {
                { "0", 0 },
                { "1000", 1000 },
                { "12B", 12 },
                { "1K", 1024 },
                { "512M", 512 << 20 },
                { "512m", 512 << 20 },
                { "1.5G", UINT64_C(1536) << 20 },
                { "2GiB", UINT64_C(2) << 30 },
                { "2gb", UINT64_C(2) << 30 },
                { "0.5k", 512 },
                { "1T", UINT64_C(1) << 40 },
        };
        static const char *const bad[] = {
                "", "M", "-1", "1Q", "1 M", "1Mx", "1.5.5", "20E", "99999999999999999999", "12BB"
        };
        uint64_t value;

        for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
                CHECK_OK(parse_size(good[i].text, &value, NULL));
                CHECK_INT(value, good[i].value);
        }
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                CHECK_FORMAT(parse_size(bad[i], &value, &fault) == -EINVAL && fault.text, "'%s' is taken",
                             bad[i]);
        }
}

static void cpus_become_per_cent(void) {
        uint64_t percent;
        CHECK_OK(parse_cpus("1.5", &percent, NULL));
        CHECK_INT(percent, 150);
        CHECK_OK(parse_cpus("2", &percent, NULL));
        CHECK_INT(percent, 200);
        CHECK_OK(parse_cpus("0.25", &percent, NULL));
        CHECK_INT(percent, 25);
        CHECK_ERROR(parse_cpus("0", &percent, NULL), -EINVAL);
        CHECK_ERROR(parse_cpus("0.001", &percent, NULL), -EINVAL);
        CHECK_ERROR(parse_cpus("1.5x", &percent, NULL), -EINVAL);
        CHECK_ERROR(parse_cpus("", &percent, NULL), -EINVAL);
}

static void spans_are_read(void) {
        uint64_t usec;
        CHECK_OK(parse_span("10", &usec, NULL));
        CHECK_INT(usec, 10 * SEC);
        CHECK_OK(parse_span("500ms", &usec, NULL));
        CHECK_INT(usec, SEC / 2);
        CHECK_OK(parse_span("1h 30min", &usec, NULL));
        CHECK_INT(usec, 5400 * SEC);
        CHECK_OK(parse_span("1h30min5s", &usec, NULL));
        CHECK_INT(usec, 5405 * SEC);
        CHECK_OK(parse_span("1.5h", &usec, NULL));
        CHECK_INT(usec, 5400 * SEC);
        CHECK_ERROR(parse_span("", &usec, NULL), -EINVAL);
        CHECK_ERROR(parse_span("1 fortnight", &usec, NULL), -EINVAL);
        CHECK_ERROR(parse_span("soon", &usec, NULL), -EINVAL);
        CHECK_ERROR(parse_span("99999999999w", &usec, NULL), -EINVAL);
}

static void times_are_read(void) {
        uint64_t now = UINT64_C(1700000000) * SEC, usec;
        setenv("TZ", "UTC", 1);
        CHECK_OK(parse_time("10min", now, &usec, NULL));
        CHECK_INT(usec, now - 600 * SEC);
        CHECK_OK(parse_time("-10min", now, &usec, NULL));
        CHECK_INT(usec, now - 600 * SEC);
        CHECK_OK(parse_time("10min ago", now, &usec, NULL));
        CHECK_INT(usec, now - 600 * SEC);
        CHECK_OK(parse_time("@1600000000", now, &usec, NULL));
        CHECK_INT(usec, UINT64_C(1600000000) * SEC);
        CHECK_OK(parse_time("2023-11-14", now, &usec, NULL));
        CHECK_INT(usec, UINT64_C(1699920000) * SEC);
        CHECK_OK(parse_time("2023-11-14 22:13:20", now, &usec, NULL));
        CHECK_INT(usec, now);
        CHECK_OK(parse_time("2023-11-14 22:13", now, &usec, NULL));
        CHECK_INT(usec, now - 20 * SEC);
        CHECK_OK(parse_time("today", now, &usec, NULL));
        CHECK_INT(usec, UINT64_C(1699920000) * SEC);
        CHECK_OK(parse_time("yesterday", now, &usec, NULL));
        CHECK_INT(usec, UINT64_C(1699833600) * SEC);
        CHECK_OK(parse_time("100y2", now, &usec, NULL) == -EINVAL ? 0 : -1);
        CHECK_ERROR(parse_time("2023-11-14 25:00", now, &usec, NULL), -EINVAL);
        CHECK_ERROR(parse_time("noon", now, &usec, NULL), -EINVAL);
}

static void volumes_are_taken_apart(void) {
        _cleanup_(volume_done) Volume volume = { 0 };
        CHECK_OK(parse_volume("/tmp:/data", &volume, NULL));
        CHECK_STRING(volume.source, "/tmp");
        CHECK_STRING(volume.destination, "/data");
        CHECK_STRING(volume.options[0], "rbind");
        CHECK_STRING(volume.options[1], "rw");
        CHECK(!volume.read_only && !volume.options[2]);
        volume_done(&volume);

        CHECK_OK(parse_volume("/tmp/../tmp:/data:ro,nosuid,bind", &volume, NULL));
        CHECK_STRING(volume.source, "/tmp");
        CHECK_STRING(volume.options[0], "bind");
        CHECK_STRING(volume.options[1], "ro");
        CHECK_STRING(volume.options[2], "nosuid");
        CHECK(volume.read_only);
}

static void bad_volumes_are_refused(void) {
        static const struct {
                const char *text;
                int error;
                const char *sentence;
        } bad[] = {
                { "/tmp", -EINVAL, "SOURCE:DESTINATION" },
                { "name:/data", -EINVAL, "named volumes" },
                { "/tmp:data", -EINVAL, "does not begin with '/'" },
                { "/tmp:", -EINVAL, "does not begin with '/'" },
                { "/tmp:/x:fast", -EINVAL, "'fast'" },
                { "/tmp:/x:ro:rw", -EINVAL, "'ro:rw'" },
                { "/no/such/place:/x", -ENOENT, "/no/such/place" },
        };
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                _cleanup_(fault_done) Fault fault = FAULT_NULL;
                Volume volume;
                CHECK_ERROR(parse_volume(bad[i].text, &volume, &fault), bad[i].error);
                CHECK_CONTAINS(fault.text, bad[i].sentence);
        }
}

static void environment_is_gathered(void) {
        _cleanup_strv_ char **strv = NULL;
        setenv("CTL_TEST_OWN", "mine", 1);
        unsetenv("CTL_TEST_NONE");
        CHECK_OK(parse_environment(&strv, "A=1", NULL));
        CHECK_OK(parse_environment(&strv, "CTL_TEST_OWN", NULL));
        CHECK_OK(parse_environment(&strv, "CTL_TEST_NONE", NULL));
        CHECK_OK(parse_environment(&strv, "A=2=3", NULL));
        CHECK_ERROR(parse_environment(&strv, "=x", NULL), -EINVAL);
        CHECK_INT(strv_length(strv), 2);
        CHECK_STRING(strv[0], "A=2=3");
        CHECK_STRING(strv[1], "CTL_TEST_OWN=mine");
}

static void environment_files_are_read(void) {
        char path[] = "/tmp/test-ctl-XXXXXX";
        static const char text[] = "# comment\n\n  A=1\r\nB=two words\n=bad\n";
        _cleanup_strv_ char **strv = NULL;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;

        int fd = mkstemp(path);
        CHECK(fd >= 0 && write(fd, text, sizeof(text) - 1) == sizeof(text) - 1);
        close(fd);
        int r = parse_environment_file(&strv, path, &fault);
        unlink(path);
        CHECK_ERROR(r, -EINVAL);
        CHECK_CONTAINS(fault.text, ":5: ");
        CHECK_STRING(strv[0], "A=1");
        CHECK_STRING(strv[1], "B=two words");
        CHECK_ERROR(parse_environment_file(&strv, "/no/such", NULL), -ENOENT);
}

static void sizes_are_shown(void) {
        FormatBuffer b;
        CHECK_STRING(format_size(0, b), "0B");
        CHECK_STRING(format_size(1023, b), "1023B");
        CHECK_STRING(format_size(1024, b), "1.0K");
        CHECK_STRING(format_size(1536, b), "1.5K");
        CHECK_STRING(format_size((1 << 20) - 1, b), "1023.9K");
        CHECK_STRING(format_size(54525952, b), "52.0M");
        CHECK_STRING(format_size(UINT64_MAX, b), "15.9E");
}

static void times_are_shown(void) {
        FormatBuffer b;
        CHECK_STRING(format_span(850000, b), "850ms");
        CHECK_STRING(format_span(3290000, b), "3.2s");
        CHECK_STRING(format_span(125 * SEC, b), "2min 5s");
        CHECK_STRING(format_span(3780 * SEC, b), "1h 3min");
        CHECK_STRING(format_span(4 * 86400 * SEC + 7200 * SEC, b), "4d 2h");
        CHECK_STRING(format_age(1000 * SEC, 0, b), "-");
        CHECK_STRING(format_age(1000 * SEC, 820 * SEC, b), "3min ago");
        CHECK_STRING(format_age(1000 * SEC, 2000 * SEC, b), "just now");
        CHECK_STRING(format_age(864000 * SEC, 1, b), "1w ago");
}

static void digests_are_shortened(void) {
        FormatBuffer b;
        CHECK_STRING(format_short_digest("sha256:0123456789abcdef0123", b), "0123456789ab");
        CHECK_STRING(format_short_digest("not-a-digest", b), "not-a-digest");
        CHECK_STRING(format_short_digest("localhost:port", b), "localhost:port");
}

static void terminals_are_safe(void) {
        _cleanup_free_ char *escape = format_printable("a\033[31mb\n\xff\xc3\xa9\xc2\x9b");
        CHECK_STRING(escape, "a\\x1b[31mb\\x0a\\xff\xc3\xa9\\xc2\\x9b");
        _cleanup_free_ char *cut = format_printable("x\xe2\x82");
        CHECK_STRING(cut, "x\\xe2\\x82");
}

static void commands_are_quoted(void) {
        char *const command[] = { (char *) "sh", (char *) "-c", (char *) "echo 'x'", (char *) "", NULL };
        _cleanup_free_ char *text = format_command(command);
        CHECK_STRING(text, "sh -c 'echo '\\''x'\\''' ''");
}

static void widths_count_characters(void) {
        CHECK_INT(format_width("aé…"), 3);
        CHECK_INT(format_prefix("aé…z", 2), 3);
        CHECK_INT(format_prefix("ab", 5), 2);
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(sizes_are_read),
                CHECK_CASE(cpus_become_per_cent),
                CHECK_CASE(spans_are_read),
                CHECK_CASE(times_are_read),
                CHECK_CASE(volumes_are_taken_apart),
                CHECK_CASE(bad_volumes_are_refused),
                CHECK_CASE(environment_is_gathered),
                CHECK_CASE(environment_files_are_read),
                CHECK_CASE(sizes_are_shown),
                CHECK_CASE(times_are_shown),
                CHECK_CASE(digests_are_shortened),
                CHECK_CASE(terminals_are_safe),
                CHECK_CASE(commands_are_quoted),
                CHECK_CASE(widths_count_characters),
                {},
        });
}
