# Workflows in SQL outlive pg_dump and pg_restore: they go on in the new
# database, under another roof and perhaps with other OIDs

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SqlWorkerTest;
use Test::More;
use WfiTest;

my $conf = q(
max_worker_processes = 20
workflow_interrupt.renotify_interval = '200ms'
);
my $old = new_node('old', conf => $conf);
my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';

$old->safe_psql('postgres', q[
	CREATE ROLE ann LOGIN;
	CREATE ROLE "Bob 7" LOGIN;
	CREATE ROLE carl LOGIN;
	CREATE DATABASE app;
]);
prepare_database($old, 'app');
$old->safe_psql('app', q[
	GRANT USAGE ON SCHEMA test TO ann, "Bob 7", carl;
	GRANT INSERT, SELECT ON test.log TO ann, "Bob 7";
	GRANT USAGE ON SEQUENCE test.log_id_seq TO ann, "Bob 7";
	GRANT EXECUTE ON FUNCTION wf_register_workflow, wf_register_activity, wf_activity, wf_activity_start, wf_await, wf_sleep, wf_timer_start,
		wf_signal_receive, wf_local_activity, wf_activity_heartbeat, wf_activity_heartbeat_details TO ann, "Bob 7", carl;
	CREATE SCHEMA "Ann's" AUTHORIZATION ann;
	CREATE SCHEMA bob AUTHORIZATION "Bob 7";
	CREATE SCHEMA carl AUTHORIZATION carl;
	SET ROLE ann;
	CREATE FUNCTION "Ann's".flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		running bigint := wf_activity_start('running', start_to_close_timeout => '1 hour');
		timer bigint := wf_timer_start('10 seconds');
		signal jsonb;
	BEGIN
		PERFORM wf_activity('step', '"first"'), wf_local_activity('note');
		signal := wf_signal_receive('go');
		PERFORM wf_activity('step', '"second"'), wf_await(timer), wf_activity('of_bob');
		RETURN jsonb_build_array(signal, wf_await(running));
	END $$;
	CREATE FUNCTION "Ann's".step(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ INSERT INTO test.log (what) VALUES ('step ' || (input ->> 0)) RETURNING input $$;
	CREATE FUNCTION "Ann's".note(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ INSERT INTO test.log (what) VALUES ('note') RETURNING input $$;
	-- the first attempt sends a heartbeat and then runs until the end
	CREATE FUNCTION "Ann's".running(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		IF wf_activity_heartbeat_details() IS NULL THEN
			PERFORM wf_activity_heartbeat('"half way"'), pg_sleep(3600);
		END IF;
		RETURN jsonb_build_array(current_user, wf_activity_heartbeat_details());
	END $$;
	SELECT wf_register_workflow('flow', '"Ann''s".flow(jsonb)'), wf_register_activity('step', '"Ann''s".step(jsonb)'),
		wf_register_activity('note', '"Ann''s".note(jsonb)'), wf_register_activity('running', '"Ann''s".running(jsonb)');
	SET ROLE "Bob 7";
	CREATE FUNCTION bob.act(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ INSERT INTO test.log (what) VALUES ('bob') RETURNING input $$;
	SELECT wf_register_activity('of_bob', 'bob.act(jsonb)');
	SET ROLE carl;
	CREATE FUNCTION carl.act(input jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT input $$;
	SELECT wf_register_activity('of_carl', 'carl.act(jsonb)');
	RESET ROLE;
	SELECT wf_start('order', 'flow', '1');
	SELECT wf_start('done', 'nobody knows'), wf_terminate('done');
]);
$old->poll_query_until('app', q(SELECT count(*) = 2 FROM test.log)) or BAIL_OUT('the workflow does not run');
$old->poll_query_until('app', q(SELECT heartbeat_details = '"half way"' FROM wf.activity WHERE activity_type = 'running'))
  or BAIL_OUT('no heartbeat in the table');
$old->poll_query_until('app', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker' AND state = 'active'));
$old->safe_psql('app', q(DROP FUNCTION carl.act; DROP OWNED BY carl; DROP ROLE carl));
# Before long, timers and time-outs of the workflow will add to it.
my $last = $old->safe_psql('app', q(SELECT max(event_id) FROM wf_history('order')));
my $history = qq(SELECT event_id, event_type, event_time AT TIME ZONE 'UTC', attributes FROM wf_history('order') WHERE event_id <= $last ORDER BY event_id);
my $events = $old->safe_psql('app', $history);
$old->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $old->connstr('app') ], 'dump');

# Another server: the driver is there before what is restored, and the roles
# have other OIDs.
my $new = new_node('new', conf => $conf);
$new->safe_psql('postgres', q[
	CREATE ROLE somebody LOGIN SUPERUSER;
	CREATE ROLE somebody_else LOGIN SUPERUSER;
	CREATE ROLE "Bob 7" LOGIN;
	CREATE ROLE more LOGIN;
	CREATE ROLE ann LOGIN;
	CREATE DATABASE app;
]);
isnt($new->safe_psql('app', q(SELECT 'ann'::regrole::oid)), $old->safe_psql('app', q(SELECT 'ann'::regrole::oid)), 'a role has another OID there');
$new->command_ok([ 'pg_restore', '--exit-on-error', '-d', $new->connstr('app'), $dump ], 'restore');
wait_for_driver($new, 'app');
is($new->safe_psql('app', q(SELECT name, function, role FROM wf.registration ORDER BY name)),
	q(flow|"Ann's".flow(jsonb)|ann
note|"Ann's".note(jsonb)|ann
of_bob|bob.act(jsonb)|"Bob 7"
running|"Ann's".running(jsonb)|ann
step|"Ann's".step(jsonb)|ann), 'registrations are there, but for those of a role that was dropped');
is($new->safe_psql('app', $history), $events, 'and the history');
is($new->safe_psql('app', 'SELECT * FROM wf_check()'), '', 'all is sound as it was restored');

# What was running there times out here, and goes on from its heartbeat.
my $lost = q(SELECT wf_update_activity_options('order', activity_id, start_to_close_timeout => '1 s') FROM wf.activity WHERE activity_type = 'running');
$new->safe_psql('app', $lost);
$new->safe_psql('app', q(SELECT wf_signal('order', 'go', '"now"')));
ok($new->poll_query_until('app', q(SELECT status = 'Completed' FROM wf.execution WHERE workflow_id = 'order')), 'the workflow ends here')
  or diag($new->safe_psql('app', $history));
is($new->safe_psql('app', q(SELECT string_agg(what || ' by ' || who, ', ' ORDER BY id) FROM test.log)),
	'step first by ann, note by ann, step second by ann, bob by Bob 7', '... each step is done once, by whom it was registered');
is($new->safe_psql('app', q(SELECT wf_result('order'))), '["now", ["ann", "half way"]]', '... with the heartbeat of then');
is($new->safe_psql('app', 'SELECT * FROM wf_check()'), '', 'all is sound in the end');
is($new->safe_psql('app', q(SELECT count(*) FROM wf_history('order') WHERE event_type::text ~ '^WorkflowTask(Failed|TimedOut)')), 0, 'and the code found all that it had seen');

# Into the same server, beside the original, by plain SQL
$old->safe_psql('postgres', 'CREATE DATABASE copy');
$old->command_ok([ 'pg_restore', '-f', "$dump.sql", $dump ], 'as SQL');
$old->command_ok([ 'psql', '-XqAt', '-o', File::Spec->devnull, '-v', 'ON_ERROR_STOP=1', '-f', "$dump.sql", $old->connstr('copy') ], '... into a second database of the server');
$old->safe_psql('copy', $lost);
$old->safe_psql('copy', q(SELECT wf_signal('order', 'go', '"now"')));
ok($old->poll_query_until('copy', q(SELECT status = 'Completed' FROM wf.execution WHERE workflow_id = 'order')), 'the copy ends');
is($old->safe_psql('app', q(SELECT status FROM wf.execution WHERE workflow_id = 'order')), 'Running', '... and the original does not mind');

# What a session knows of a run is about another one when the extension was
# dropped, and an older state of the database restored.
$old->safe_psql('postgres', 'CREATE DATABASE again');
is($old->safe_psql('again', q[
	SET client_min_messages = error;
	CREATE EXTENSION workflow_interrupt;
	CREATE FUNCTION signals(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN jsonb_build_array(wf_signal_receive('s'), wf_signal_receive('s')); END $$;
	CREATE PROCEDURE work() LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM wf_register_workflow('signals', 'signals(jsonb)');
		PERFORM wf_work();
		PERFORM wf_unregister_workflow('signals');
	END $$;
	DO $$ BEGIN PERFORM wf_start('w', 'signals'); END $$;
	CALL work();
	CREATE TABLE run AS SELECT to_jsonb(e) AS r FROM wf.execution e;
	CREATE TABLE event AS SELECT to_jsonb(e) AS r FROM wf.event e;
	DO $$ BEGIN PERFORM wf_signal('w', 's', '"lost"'); END $$;
	CALL work();
	DROP EXTENSION workflow_interrupt;
	CREATE EXTENSION workflow_interrupt;
	INSERT INTO wf.execution SELECT r.* FROM run, jsonb_populate_record(NULL::wf.execution, run.r) r;
	INSERT INTO wf.event SELECT r.* FROM event, jsonb_populate_record(NULL::wf.event, event.r) r;
	DO $$ BEGIN PERFORM wf_signal('w', 's', '"first"'); END $$;
	CALL work();
	DO $$ BEGIN PERFORM wf_signal('w', 's', '"second"'); END $$;
	CALL work();
	SELECT wf_result('w');
]), '["first", "second"]', 'a session forgets what it knew of an earlier life of the extension');
check_sound($old);

$old->stop('fast');
$new->stop('fast');
done_testing();
