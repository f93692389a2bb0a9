/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/format.h"
#include "ctl/json-writer.h"
#include "ctl/progress.h"
#include "ctl/table.h"
#include "lib/strv.h"
#include "tests/unit/check.h"

#define SEC UINT64_C(1000000)

/* ---- tables ---- */

static const Column columns[] = {
        { "NAME", "name", CELL_STRING, .elastic = true },
        { "SIZE", "size", CELL_SIZE },
        { "STATE", "state", CELL_STATE },
        { NULL, "pid", CELL_NUMBER },
        { NULL, "status", CELL_INTEGER },
};

static Table *sample(void) {
        static const char *const names[] = { "debian:bookworm", "a" };
        static const uint64_t sizes[] = { 54525952, 12 };
        Table *table;
        CHECK_OK(table_new(columns, ELEMENTS_OF(columns), &table));
        for (size_t i = 0; i < 2; i++) {
                CHECK_OK(table_add_row(table));
                CHECK_OK(table_set_string(table, 0, names[i]));
                CHECK_OK(table_set_number(table, 1, sizes[i]));
                CHECK_OK(table_set_string(table, 2, i == 0 ? "running" : "stopped"));
                CHECK_OK(table_set_integer(table, 4, i == 0 ? -1 : 7));
        }
        return table;
}

static char *shown(const Table *table, const TableStyle *style) {
        char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);
        CHECK_OK(table_write(table, file, style));
        fclose(file);
        return text;
}

static void columns_are_aligned(void) {
        _cleanup_(table_freep) Table *table = sample();
        _cleanup_free_ char *text = shown(table, &(TableStyle){ .legend = true });
        CHECK_STRING(text, "NAME             SIZE STATE\n"
                           "debian:bookworm 52.0M running\n"
                           "a                 12B stopped\n");
}

static void legend_is_left_out(void) {
        _cleanup_(table_freep) Table *table = sample();
        _cleanup_free_ char *text = shown(table, &(TableStyle){ 0 });
        CHECK_STRING(text, "debian:bookworm 52.0M running\na                 12B stopped\n");
}

static void narrow_terminals_cut_what_is_elastic(void) {
        _cleanup_(table_freep) Table *table = sample();
        _cleanup_free_ char *text = shown(table, &(TableStyle){ .width = 24 });
        CHECK_STRING(text, "debian:bo… 52.0M running\na            12B stopped\n");
        _cleanup_free_ char *narrow = shown(table, &(TableStyle){ .width = 5 });
        CHECK_STRING(narrow, "debian:… 52.0M running\na          12B stopped\n");
        _cleanup_free_ char *full = shown(table, &(TableStyle){ .width = 5, .full = true });
        CHECK_CONTAINS(full, "debian:bookworm ");
}

static void states_have_colours(void) {
        _cleanup_(table_freep) Table *table = sample();
        _cleanup_free_ char *text = shown(table, &(TableStyle){ .colour = true });
        CHECK_CONTAINS(text, "\033[0;32mrunning\033[0m\n");
}

static void cells_cannot_steer_the_terminal(void) {
        _cleanup_(table_freep) Table *table = sample();
        CHECK_OK(table_set_string(table, 0, "\033]0;title\a"));
        _cleanup_free_ char *text = shown(table, &(TableStyle){ 0 });
        CHECK_CONTAINS(text, "\\x1b]0;title\\x07");
}

static void tables_become_json(void) {
        _cleanup_(table_freep) Table *table = sample();
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);
        CHECK_OK(table_write_json(table, file, false));
        fclose(file);
        CHECK_STRING(text, "[{\"name\":\"debian:bookworm\",\"size\":54525952,\"state\":\"running\",\"pid\":"
                           "0,\"status\":-1},"
                           "{\"name\":\"a\",\"size\":12,\"state\":\"stopped\",\"pid\":0,\"status\":7}]\n");
}

static void json_is_escaped_and_indented(void) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *file = open_memstream(&text, &size);
        JsonWriter writer = JSON_WRITER_INIT(file, true);
        json_writer_begin(&writer, '{');
        json_writer_key(&writer, "a\"b");
        json_writer_string(&writer, "\033\n\\\xff");
        json_writer_key(&writer, "empty");
        json_writer_begin(&writer, '[');
        json_writer_end(&writer, ']');
        json_writer_key(&writer, "n");
        json_writer_string(&writer, "\033\n\\é");
        json_writer_end(&writer, '}');
        fclose(file);
        CHECK_STRING(text,
                     "{\n  \"a\\\"b\": \"\\ufffd\",\n  \"empty\": [],\n  \"n\": \"\\u001b\\n\\\\é\"\n}\n");
}

/* ---- progress ---- */

static void add(Progress *progress, const char *state, uint64_t done, uint64_t total) {
        ProgressPart part = { strdup("sha256:0123456789abcdef"), strdup("layer"), strdup(state), done,
                              total };
        CHECK_OK(progress_add_part(progress, &part));
        progress->done += done;
        progress->total += total;
}

static void bars_follow_the_bytes(void) {
        _cleanup_(progress_done) Progress progress = { .phase = strdup("downloading") };
        const ProgressStyle style = { .columns = 73, .rows = 24 };
        add(&progress, "done", 1000, 1000);
        add(&progress, "downloading", 512, 1024);
        add(&progress, "waiting", 0, 2048);
        add(&progress, "unpacking", 9999, 100);
        _cleanup_free_ char *text = progress_render(&progress, &style, SEC);
        CHECK_STRING(text, "layer    0123456789ab done        #################### 1000B\n"
                           "layer    0123456789ab downloading ##########.......... 512B / 1.0K\n"
                           "layer    0123456789ab waiting     .................... 2.0K\n"
                           "layer    0123456789ab unpacking   #################### 9.7K / 100B\n"
                           "downloading 11.2K / 4.0K\n");
}

static void no_line_is_wider_than_the_terminal(void) {
        _cleanup_(progress_done) Progress progress = { .phase = strdup("downloading"), .begun_usec = 1 };
        add(&progress, "downloading", 1023 << 10, 1023 << 10);
        add(&progress, "unpacking", 52 << 20, 1000 << 20);
        progress_sample(&progress, SEC, 0);
        progress_sample(&progress, 2 * SEC, 5 << 20);
        for (size_t width = 1; width < 130; width++) {
                const ProgressStyle style = { .columns = width, .rows = 24, .utf8 = true };
                _cleanup_free_ char *text = progress_render(&progress, &style, 2 * SEC);
                for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
                        CHECK_FORMAT(format_width(line) < MAX_OF(width, (size_t) 2), "%zu columns: '%s'",
                                     width, line);
        }
}

static void few_rows_show_what_is_under_way(void) {
        _cleanup_(progress_done) Progress progress = { 0 };
        for (unsigned i = 0; i < 20; i++)
                add(&progress, i == 13 || i == 17 ? "downloading" : i > 17 ? "waiting" : "done", 1, 2);
        for (size_t rows = 1; rows < 30; rows++) {
                const ProgressStyle style = { .columns = 80, .rows = rows };
                _cleanup_free_ char *text = progress_render(&progress, &style, SEC);
                size_t lines = 0;
                for (const char *p = text; *p; p++)
                        lines += *p == '\n';
                CHECK_FORMAT(lines < MAX_OF(rows, (size_t) 4), "%zu rows, %zu lines", rows, lines);
                CHECK_CONTAINS(text, "downloading");
                if (rows == 6)
                        CHECK(strstr(text, "and 17 more") && strstr(text, "waiting") &&
                              !strstr(text, "done"));
        }
}

static void rate_is_that_of_the_last_seconds(void) {
        _cleanup_(progress_done) Progress progress = { .total = 100 << 20 };
        CHECK_INT(progress_rate(&progress, SEC), 0);
        /* Long fast, then slow: what counts is the end. */
        uint64_t bytes = 0, now = SEC;
        for (unsigned i = 0; i < 100; i++, now += SEC / 4)
                progress_sample(&progress, now, bytes += 1 << 20);
        for (unsigned i = 0; i < 40; i++, now += SEC / 4)
                progress_sample(&progress, now, bytes += 1 << 10);
        uint64_t rate = progress_rate(&progress, now - SEC / 4);
        CHECK_FORMAT(rate > 3900 && rate < 4300, "%llu bytes a second", (unsigned long long) rate);
        /* Nothing more comes: the rate sinks. */
        CHECK(progress_rate(&progress, now + 60 * SEC) < 400);
}

static void rate_bears_many_samples_at_once(void) {
        _cleanup_(progress_done) Progress progress = { 0 };
        for (unsigned i = 0; i < 1000; i++)
                progress_sample(&progress, SEC + i * 1000, i * 1000);
        uint64_t rate = progress_rate(&progress, SEC + 999000);
        CHECK_FORMAT(rate > 990000 && rate < 1010000, "%llu bytes a second", (unsigned long long) rate);
}

static void summary_tells_what_is_left(void) {
        _cleanup_(progress_done) Progress progress = { .phase = strdup("downloading"), .begun_usec = SEC };
        add(&progress, "downloading", 10 << 20, 30 << 20);
        progress_sample(&progress, SEC, 0);
        progress_sample(&progress, 3 * SEC, 10 << 20);
        _cleanup_free_ char *line = progress_render_line(&progress, 3 * SEC);
        CHECK_STRING(line, "downloading 10.0M / 30.0M, 5.0M/s, 4.0s left, 0 of 1 parts");
}

static void beginning_is_shown_too(void) {
        _cleanup_(progress_done) Progress progress = { .begun_usec = SEC };
        const ProgressStyle style = { .columns = 80, .rows = 24 };
        _cleanup_free_ char *text = progress_render(&progress, &style, 4 * SEC);
        CHECK_STRING(text, "starting, 3.0s\n");
}

int main(void) {
        return check_run((const Check[]){
                CHECK_CASE(columns_are_aligned),
                CHECK_CASE(legend_is_left_out),
                CHECK_CASE(narrow_terminals_cut_what_is_elastic),
                CHECK_CASE(states_have_colours),
                CHECK_CASE(cells_cannot_steer_the_terminal),
                CHECK_CASE(tables_become_json),
                CHECK_CASE(json_is_escaped_and_indented),
                CHECK_CASE(bars_follow_the_bytes),
                CHECK_CASE(no_line_is_wider_than_the_terminal),
                CHECK_CASE(few_rows_show_what_is_under_way),
                CHECK_CASE(rate_is_that_of_the_last_seconds),
                CHECK_CASE(rate_bears_many_samples_at_once),
                CHECK_CASE(summary_tells_what_is_left),
                CHECK_CASE(beginning_is_shown_too),
                {},
        });
}
