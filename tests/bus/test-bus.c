/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The bus layer as a caller meets it: a private bus, probe-daemon on it, a polkit that answers what the case
 * wants, and gdbus as the client, as root or as an ordinary user. Run as root. */

#include <gio/gio.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define USER "65534"

static const char polkit_xml[] =
        "<node><interface name='org.freedesktop.PolicyKit1.Authority'><method name='CheckAuthorization'>"
        "<arg type='(sa{sv})' direction='in'/><arg type='s' direction='in'/><arg type='a{ss}' "
        "direction='in'/>"
        "<arg type='u' direction='in'/><arg type='s' direction='in'/><arg type='(bba{ss})' direction='out'/>"
        "</method></interface></node>";

typedef struct Fixture {
        char *directory;
        GSubprocess *bus;
        GSubprocess *daemon;
        GDBusConnection *connection;
        guint name;
        bool present;          /* polkit is there */
        const char *allows[3]; /* actions that it authorizes */
        GString *asked;        /* "action key=value key=value …\n" for each question */
} Fixture;

static void polkit_call(GDBusConnection *connection, const char *sender, const char *path,
                        const char *interface, const char *method, GVariant *arguments,
                        GDBusMethodInvocation *invocation, gpointer data) {
        Fixture *f = data;
        GVariant *subject = g_variant_get_child_value(arguments, 0);
        GVariantIter *details;
        const char *action, *key, *value;
        gboolean yes = FALSE;

        g_variant_get_child(arguments, 1, "&s", &action);
        g_variant_get_child(arguments, 2, "a{ss}", &details);
        g_string_append(f->asked, action);
        while (g_variant_iter_next(details, "{&s&s}", &key, &value))
                g_string_append_printf(f->asked, " %s=%s", key, value);
        g_string_append_c(f->asked, '\n');
        for (size_t i = 0; i < G_N_ELEMENTS(f->allows); i++)
                yes |= g_strcmp0(f->allows[i], action) == 0;
        g_dbus_method_invocation_return_value(invocation, g_variant_new("((bba{ss}))", yes, FALSE, NULL));
        g_variant_iter_free(details);
        g_variant_unref(subject);
}

static void spin_until(bool (*done)(Fixture *), Fixture *f) {
        gint64 end = g_get_monotonic_time() + 100 * G_USEC_PER_SEC;
        while (!done(f)) {
                g_assert_cmpint(g_get_monotonic_time(), <, end);
                g_main_context_iteration(NULL, FALSE);
                g_usleep(1000);
        }
}

static bool polkit_is_named(Fixture *f) {
        return f->present;
}

static void on_named(GDBusConnection *connection, const char *name, gpointer data) {
        ((Fixture *) data)->present = true;
}

static void polkit_start(Fixture *f) {
        static const GDBusInterfaceVTable vtable = { .method_call = polkit_call };
        GDBusNodeInfo *node = g_dbus_node_info_new_for_xml(polkit_xml, NULL);
        GError *error = NULL;
        g_dbus_connection_register_object(f->connection, "/org/freedesktop/PolicyKit1/Authority",
                                          node->interfaces[0], &vtable, f, NULL, &error);
        g_assert_no_error(error);
        f->name = g_bus_own_name_on_connection(f->connection, "org.freedesktop.PolicyKit1",
                                               G_BUS_NAME_OWNER_FLAGS_NONE, on_named, NULL, f, NULL);
        spin_until(polkit_is_named, f);
        g_dbus_node_info_unref(node);
}

static void daemon_start(Fixture *f) {
        GError *error = NULL;
        g_autofree char *program = g_test_build_filename(G_TEST_BUILT, "probe-daemon", NULL);
        f->daemon = g_subprocess_new(G_SUBPROCESS_FLAGS_NONE, &error, program, NULL);
        g_assert_no_error(error);
}

static void set_up(Fixture *f, gconstpointer data) {
        GError *error = NULL;
        f->directory = g_dir_make_tmp("crt-bus-XXXXXX", &error);
        g_assert_no_error(error);
        g_assert_cmpint(chmod(f->directory, 0755), ==, 0);
        g_autofree char *address = g_strdup_printf("unix:path=%s/socket", f->directory);
        g_autofree char *config = g_build_filename(f->directory, "bus.conf", NULL);
        g_autofree char *text =
                g_strdup_printf("<busconfig><type>system</type><listen>%s</listen><auth>EXTERNAL</"
                                "auth><policy context='default'>"
                                "<allow send_destination='*'/><allow eavesdrop='false'/><allow "
                                "own='*'/><allow user='*'/></policy>"
                                "</busconfig>",
                                address);
        g_file_set_contents(config, text, -1, &error);
        g_assert_no_error(error);
        g_autofree char *option = g_strdup_printf("--config-file=%s", config);
        f->bus = g_subprocess_new(G_SUBPROCESS_FLAGS_NONE, &error, "dbus-daemon", "--nofork", "--nopidfile",
                                  "--nosyslog", option, NULL);
        g_assert_no_error(error);
        g_setenv("DBUS_SYSTEM_BUS_ADDRESS", address, TRUE);
        for (int i = 0; !f->connection && i < 5000; i++) {
                g_usleep(10000);
                f->connection = g_dbus_connection_new_for_address_sync(
                        address,
                        G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                        NULL, NULL, NULL);
        }
        g_assert_nonnull(f->connection);
        f->asked = g_string_new(NULL);
        if (GPOINTER_TO_INT(data))
                polkit_start(f);
        daemon_start(f);
}

static void tear_down(Fixture *f, gconstpointer data) {
        if (f->name)
                g_bus_unown_name(f->name);
        g_subprocess_force_exit(f->daemon);
        g_subprocess_wait(f->daemon, NULL, NULL);
        g_object_unref(f->daemon);
        g_dbus_connection_close_sync(f->connection, NULL, NULL);
        g_object_unref(f->connection);
        g_subprocess_force_exit(f->bus);
        g_subprocess_wait(f->bus, NULL, NULL);
        g_object_unref(f->bus);
        g_autofree char *command = g_strdup_printf("rm -rf '%s'", f->directory);
        g_assert_cmpint(system(command), ==, 0);
        g_free(f->directory);
        g_string_free(f->asked, TRUE);
}

typedef struct Output {
        bool done;
        char *text;
} Output;

static void on_output(GObject *object, GAsyncResult *result, gpointer data) {
        Output *output = data;
        GError *error = NULL;
        g_subprocess_communicate_utf8_finish(G_SUBPROCESS(object), result, &output->text, NULL, &error);
        g_assert_no_error(error);
        output->done = true;
}

/* What gdbus prints, errors included, for a call by this user ("0" is root). The name may not be there yet.
 */
static char *call(const char *uid, const char *arguments) {
        Output output = { 0 };
        GError *error = NULL;
        g_autofree char *command = g_strdup_printf(
                "for i in $(seq 2000); do busctl status org.crt.Probe >/dev/null 2>&1 && break; sleep 0.02; "
                "done; "
                "exec 2>&1; setpriv --reuid %s --clear-groups gdbus call --system --timeout 100 --dest "
                "org.crt.Probe %s",
                uid, arguments);
        GSubprocess *process =
                g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error, "sh", "-c", command, NULL);
        g_assert_no_error(error);
        g_subprocess_communicate_utf8_async(process, NULL, NULL, on_output, &output);
        while (!output.done)
                g_main_context_iteration(NULL, TRUE);
        g_object_unref(process);
        return output.text;
}

#define PROBE "--object-path /org/crt/Probe --method org.crt.Probe1."
#define JOB "--object-path /org/crt/Probe/job/"
#define PROPERTIES " --method org.freedesktop.DBus.Properties."

static void expect(const char *uid, const char *arguments, const char *part) {
        g_autofree char *text = call(uid, arguments);
        if (!strstr(text, part))
                g_error("gdbus call %s as %s printed '%s', which lacks '%s'", arguments, uid, text, part);
}

static void refuses_what_has_no_rule(Fixture *f, gconstpointer data) {
        expect("0", PROBE "Unlisted", "no rule allows this call");
        expect(USER, PROBE "Unlisted", "no rule allows this call");
        expect("0", "--object-path /org/crt/Probe" PROPERTIES "Set a b \"<'c'>\"",
               "no rule allows this call");
}

static int unlisted_calls_that_ran(Fixture *f) {
        g_autofree char *text =
                call("0", "--object-path /org/crt/Probe --method org.crt.Probe1.Echo count {}");
        const char *mark = strstr(text, "ran:");
        g_assert_nonnull(mark);
        return atoi(mark + strlen("ran:"));
}

/* A refusal that nobody wants to hear is one all the same. */
static void refuses_calls_that_want_no_answer(Fixture *f, gconstpointer data) {
        static const char command[] =
                "setpriv --reuid " USER " --clear-groups busctl call --expect-reply=false "
                "org.crt.Probe /org/crt/Probe org.crt.Probe1 Unlisted";
        expect(USER, PROBE "Unlisted", "no rule");
        g_assert_cmpint(system(command), ==, 0);
        g_assert_cmpint(unlisted_calls_that_ran(f), ==, 0);
}

static void does_not_ask_about_root(Fixture *f, gconstpointer data) {
        expect("0", PROBE "Guarded hi {}", "'hi system");
        expect("0", PROBE "Guarded hi \"{'namespace': <'other'>}\"", "'hi other");
        g_assert_cmpstr(f->asked->str, ==, "");
}

static void refuses_then_allows_as_polkit_says(Fixture *f, gconstpointer data) {
        expect(USER, PROBE "Guarded hi {}", "polkit does not authorize org.crt.probe.guarded");
        g_assert_cmpstr(f->asked->str, ==, "org.crt.probe.guarded verb=Guarded namespace=u65534 thing=hi\n");
        f->allows[0] = "org.crt.probe.guarded";
        expect(USER, PROBE "Guarded hi {}", "'hi u65534");
}

static void asks_again_about_a_foreign_namespace(Fixture *f, gconstpointer data) {
        f->allows[0] = "org.crt.probe.guarded";
        expect(USER, PROBE "Guarded hi \"{'namespace': <'system'>}\"",
               "does not authorize org.crt.other-namespaces");
        expect(USER, PROBE "Echo hi \"{'namespace': <'system'>}\"",
               "does not authorize org.crt.other-namespaces");
        f->allows[1] = "org.crt.other-namespaces";
        expect(USER, PROBE "Guarded hi \"{'namespace': <'system'>}\"", "'hi system");
        expect(USER, PROBE "Guarded hi \"{'namespace': <'/'>}\"", "not a valid identifier");
}

static void keeps_members_of_siblings_for_them(Fixture *f, gconstpointer data) {
        expect(USER, PROBE "Internal hi {}", "is for crt's own services");
        expect("0", PROBE "Internal hi {}", "'hi system");
}

static void refuses_when_polkit_is_absent(Fixture *f, gconstpointer data) {
        expect(USER, PROBE "Guarded hi {}", "polkit does not answer");
        expect(USER, PROBE "Echo hi {}", "'hi u65534");
}

static void names_the_option_that_is_wrong(Fixture *f, gconstpointer data) {
        expect("0",
               PROBE "Echo hi \"{'text': <'t'>, 'flag': <true>, 'count': <uint32 7>, 'list': <['a', 'b']>, "
                     "'map': <{'k': 'v'}>}\"",
               "'hi system t 1 7 2 k=v ran:0'");
        expect("0", PROBE "Echo hi \"{'colour': <'red'>}\"", "option 'colour': not known");
        expect("0", PROBE "Echo hi \"{'count': <'1'>}\"", "option 'count': must have type 'u', not 's'");
        expect("0", PROBE "Echo hi \"{'map': <{'a=b': 'v'}>}\"", "'a=b' cannot be a key");
}

static void refuses_an_option_that_is_given_twice(Fixture *f, gconstpointer data) {
        /* gdbus would merge them */
        expect("0",
               PROBE "Echo hi {} >/dev/null; busctl call org.crt.Probe /org/crt/Probe org.crt.Probe1 Echo "
                     "'sa{sv}' "
                     "hi 2 count u 1 count u 1",
               "option 'count': given twice");
        expect("0",
               PROBE "Echo hi {} >/dev/null; busctl call org.crt.Probe /org/crt/Probe org.crt.Probe1 Echo "
                     "'sa{sv}' "
                     "hi 2 namespace s a namespace s b",
               "option 'namespace': given twice");
}

static void answers_those_who_wait_for_a_job(Fixture *f, gconstpointer data) {
        expect("0", PROBE "Begin finish {}", "/org/crt/Probe/job/system/_31");
        expect("0", JOB "system/_31 --method org.crt.Probe1.Job.Wait {}", "'answer': <'42'>");
        expect("0", JOB "system/_31" PROPERTIES "Get org.crt.Probe1.Job State", "'done'");
        expect("0", JOB "system/_31 --method org.crt.Probe1.Job.Cancel {}", "it has ended already: done");
        expect("0", PROBE "Begin fail {}", "/org/crt/Probe/job/system/_32");
        expect("0", JOB "system/_32 --method org.crt.Probe1.Job.Wait {}", "the bytes are not right");
}

static void joins_and_cancels_a_job(Fixture *f, gconstpointer data) {
        expect("0", PROBE "Begin wait {}", "/org/crt/Probe/job/system/_31");
        expect("0", PROBE "Begin wait {}", "/org/crt/Probe/job/system/_31");
        expect(USER, PROBE "Begin wait {}", "/org/crt/Probe/job/u65534/_32");
        expect("0", JOB "system/_31 --method org.crt.Probe1.Job.Cancel {}", "");
        expect("0", JOB "system/_31 --method org.crt.Probe1.Job.Wait {}", "cancelled");
}

static void lets_who_began_a_job_cancel_it(Fixture *f, gconstpointer data) {
        expect(USER, PROBE "Begin wait {}", "/org/crt/Probe/job/u65534/_31");
        expect("1", PROBE "Begin wait {}", "/org/crt/Probe/job/u1/_32");
        expect("1", JOB "u65534/_31 --method org.crt.Probe1.Job.Cancel {}",
               "does not authorize org.crt.probe.cancel");
        expect(USER, JOB "u65534/_31 --method org.crt.Probe1.Job.Cancel {}", "()");
        expect(USER, JOB "u65534/_31 --method org.crt.Probe1.Job.Wait {}", "cancelled");
}

static void shows_polkit_the_option_that_a_rule_names(Fixture *f, gconstpointer data) {
        expect(USER, PROBE "Guarded hi \"{'text': <'secret'>, 'count': <uint32 1>}\"", "does not authorize");
        g_assert_cmpstr(f->asked->str, ==,
                        "org.crt.probe.guarded verb=Guarded namespace=u65534 thing=hi text=secret\n");
}

static void hides_objects_of_other_namespaces(Fixture *f, gconstpointer data) {
        g_autofree char *mine = NULL, *all = NULL;
        expect("0", PROBE "Begin wait {}", "/org/crt/Probe/job/system/_31");
        expect(USER, PROBE "Begin wait {}", "/org/crt/Probe/job/u65534/_32");
        mine = call(USER, "--object-path /org/crt/Probe --method "
                          "org.freedesktop.DBus.ObjectManager.GetManagedObjects");
        g_assert_null(strstr(mine, "/job/system/"));
        g_assert_nonnull(strstr(mine, "/job/u65534/_32"));
        all = call("0", "--object-path /org/crt/Probe --method "
                        "org.freedesktop.DBus.ObjectManager.GetManagedObjects");
        g_assert_nonnull(strstr(all, "/job/system/_31"));
        g_assert_nonnull(strstr(all, "/job/u65534/_32"));
        expect(USER, JOB "system/_31" PROPERTIES "GetAll org.crt.Probe1.Job", "org.crt.other-namespaces");
}

static bool daemon_has_ended(Fixture *f) {
        return g_subprocess_get_identifier(f->daemon) == NULL;
}

static void exits_when_idle(Fixture *f, gconstpointer data) {
        expect("0", PROBE "Echo hi {}", "'hi");
        spin_until(daemon_has_ended, f);
        g_assert_true(g_subprocess_get_if_exited(f->daemon));
        g_assert_cmpint(g_subprocess_get_exit_status(f->daemon), ==, 0);
}

int main(int argc, char *argv[]) {
        static const struct {
                const char *name;
                void (*function)(Fixture *, gconstpointer);
                bool polkit;
        } cases[] = {
                { "/bus/refuses-what-has-no-rule", refuses_what_has_no_rule, true },
                { "/bus/refuses-calls-that-want-no-answer", refuses_calls_that_want_no_answer, true },
                { "/bus/does-not-ask-about-root", does_not_ask_about_root, true },
                { "/bus/refuses-then-allows-as-polkit-says", refuses_then_allows_as_polkit_says, true },
                { "/bus/asks-again-about-a-foreign-namespace", asks_again_about_a_foreign_namespace, true },
                { "/bus/keeps-members-of-siblings-for-them", keeps_members_of_siblings_for_them, true },
                { "/bus/refuses-when-polkit-is-absent", refuses_when_polkit_is_absent, false },
                { "/bus/names-the-option-that-is-wrong", names_the_option_that_is_wrong, true },
                { "/bus/refuses-an-option-that-is-given-twice", refuses_an_option_that_is_given_twice,
                  true },
                { "/bus/answers-those-who-wait-for-a-job", answers_those_who_wait_for_a_job, true },
                { "/bus/joins-and-cancels-a-job", joins_and_cancels_a_job, true },
                { "/bus/lets-who-began-a-job-cancel-it", lets_who_began_a_job_cancel_it, true },
                { "/bus/shows-polkit-the-option-that-a-rule-names",
                  shows_polkit_the_option_that_a_rule_names, true },
                { "/bus/hides-objects-of-other-namespaces", hides_objects_of_other_namespaces, true },
                { "/bus/exits-when-idle", exits_when_idle, true },
        };

        g_test_init(&argc, &argv, NULL);
        if (geteuid() != 0) {
                g_print("1..0 # SKIP needs root to call as different users\n");
                return 0;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                g_test_add(cases[i].name, Fixture, GINT_TO_POINTER(cases[i].polkit), set_up,
                           cases[i].function, tear_down);
        return g_test_run();
}
