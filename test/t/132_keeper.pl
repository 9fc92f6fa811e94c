# Workflow code with a long history, which a worker's keeper keeps where it
# waits: the code sees what a replay would show it, and asks for the same

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SqlWorkerTest;
use Test::More;
use WfiTest;

my $node = new_node('main', conf => q(
max_worker_processes = 20
workflow_interrupt.max_workers_per_role = 1
));

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Make and register a function.
sub code
{
	my ($kind, $name, $body) = @_;

	sql(qq[CREATE FUNCTION test."$name"(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$ $body \$\$;
		GRANT USAGE ON SCHEMA test TO PUBLIC;
		GRANT EXECUTE ON FUNCTION test."$name" TO PUBLIC;
		SET ROLE coder;
		SELECT wf_register_$kind('$name', 'test."$name"(jsonb)')]);
}

sub until_event
{
	my ($id, $event_id) = @_;

	wait_until($node, "SELECT next_event_id > $event_id FROM wf.execution WHERE workflow_id = '$id'");
}

# Of the one worker there is, and perhaps of its helper
my $keeper = "FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt keeper'";


prepare_database($node);
sql(q[
	CREATE ROLE coder LOGIN;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO coder;
	CREATE SEQUENCE test.calls;
	GRANT ALL ON SEQUENCE test.calls TO coder;
]);
code('activity', 'step', q[
BEGIN
	IF input = '13' THEN
		RAISE EXCEPTION 'bad luck';
	END IF;
	RETURN input;
END]);
code('activity', 'signal', q[
BEGIN
	PERFORM wf_signal(wf_activity_info() ->> 'workflow_id', input #>> '{}', input);
	RETURN NULL;
END]);
code('activity', 'nap', q[BEGIN PERFORM pg_sleep(0.02); RETURN input; END]);
# Wait until the worker's keeper has come.
code('activity', 'await keeper', q[
BEGIN
	WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt keeper' AND state IS NOT NULL) LOOP
		PERFORM pg_sleep(0.02), pg_stat_clear_snapshot();
	END LOOP;
	RETURN NULL;
END]);

#
# Steps of all kinds, in one code: what it returns is a digest of all it saw
#

code('workflow', 'everything', q[
DECLARE
	seen text[];
	handles bigint[];
	caught text;
BEGIN
	FOR i IN 1..150 LOOP
		IF i = 75 AND input IS NULL THEN
			-- not for long at a time, so that the keeper stays
			WHILE wf_signal_receive('gate', '200 ms') IS NULL LOOP
			END LOOP;
		END IF;
		seen := seen || wf_activity(CASE WHEN input IS NULL THEN 'step' ELSE input #>> '{}' END, to_jsonb(i % 10))::text;
		IF i % 10 = 0 THEN
			BEGIN
				PERFORM wf_activity('step', '13', retry_policy => '{"maximum_attempts": 1}');
			EXCEPTION WHEN SQLSTATE 'WF011' THEN
				caught := SQLERRM;
			END;
			handles := ARRAY[wf_activity_start('step', '1'), wf_activity_start('step', '2'), wf_timer_start('1 hour')];
			PERFORM wf_await_any(handles), wf_await(handles[1]), wf_await(handles[2]), wf_timer_cancel(handles[3]);
			PERFORM wf_sleep('1 ms'), wf_activity('signal', to_jsonb('signal ' || i));
			seen := seen || wf_local_activity('step', to_jsonb(i))::text || wf_random()::text || wf_uuid()::text || wf_now()::text;
			seen := seen || wf_signal_receive('signal ' || i, '0')::text || wf_cancel_requested()::text;
		END IF;
	END LOOP;
	PERFORM wf_activity('step', '0');
	RETURN to_jsonb(md5(array_to_string(seen, ' ', 'null')));
END]);
sql(q(SELECT wf_start('everything', 'everything')));
wait_until($node, "SELECT count(*) > 0 $keeper");
ok(sql("SELECT usename $keeper LIMIT 1") eq 'coder', 'a long history gets a keeper, which is of the role that registered the code');
is(sql("SELECT bool_and(pg_terminate_backend(pid)) $keeper"), 't', 'without it');
my $ended = sql('SELECT clock_timestamp()');
sql("SELECT wf_signal('everything', 'gate', 'true')");
like(closed($node, 'everything'), qr/^Completed [0-9a-f]{32}$/, '... or with another one, the code goes on as it began');

# All of it by replay, once more: it must fit, and give the same
my $result = sql(q(SELECT wf_result('everything')));
$node->append_conf('postgresql.conf', "workflow_interrupt.workflow_cache_size = 0");
$node->reload;
wait_until($node, q(SELECT setting = '0' FROM pg_settings WHERE name = 'workflow_interrupt.workflow_cache_size'));
sql(q(SELECT count(*) FROM wf_reset('everything', wf_reset_point('everything', 'LastWorkflowTask'), 'again')));
like(closed($node, 'everything'), qr/^Completed [0-9a-f]{32}$/, 'a replay asks for the same');
is(sql(q(SELECT wf_result('everything'))), $result, '... and comes to the same');
no_task_failed($node, 'no workflow task has failed');
$node->append_conf('postgresql.conf', "workflow_interrupt.workflow_cache_size = '16MB'");
$node->reload;
wait_until($node, q(SELECT setting = '16384' FROM pg_settings WHERE name = 'workflow_interrupt.workflow_cache_size'));

#
# Code that is kept is not run from its top again, and still cannot write
#

code('workflow', 'counted', q[
BEGIN
	RAISE LOG 'from the top';
	FOR i IN 1..600 LOOP
		PERFORM wf_activity(CASE i WHEN 60 THEN 'await keeper' ELSE 'step' END, '1');
	END LOOP;
	RETURN NULL;
END]);
# another keeper is not started within a second
wait_until($node, "SELECT clock_timestamp() > timestamptz '$ended' + interval '1 second'");
sql(q(SELECT wf_start('counted', 'counted')));
is(closed($node, 'counted'), 'Completed', 'a workflow of 600 steps');
my $tops = () = slurp_file($node->logfile) =~ /LOG:  from the top/g;
cmp_ok($tops, '>=', 40, '... runs from its top while it is short');
cmp_ok($tops, '<=', 400, '... and hardly ever then');

# What keepers can do nothing for, they are seldom asked about
code('workflow', 'local', q[
BEGIN
	RAISE LOG 'at the top';
	FOR i IN 1..300 LOOP
		PERFORM wf_activity(CASE WHEN i <= 60 THEN 'nap' ELSE 'step' END, '1');
		PERFORM wf_local_activity('step', '1');
	END LOOP;
	RETURN NULL;
END]);
sql(q(SELECT wf_start('local', 'local')));
is(closed($node, 'local'), 'Completed', 'a workflow with a local activity for each task');
$tops = () = slurp_file($node->logfile) =~ /LOG:  at the top/g;
cmp_ok($tops, '<=', 650, '... is run from its top twice for each, as ever');

code('workflow', 'calls', q[
BEGIN
	PERFORM nextval('test.calls');
	FOR i IN 1..200 LOOP
		PERFORM wf_activity('step', '1');
	END LOOP;
	RETURN NULL;
EXCEPTION WHEN read_only_sql_transaction THEN
	RETURN '"refused"';
END]);
sql(q(SELECT wf_start('calls', 'calls')));
is(closed($node, 'calls'), 'Completed refused', 'it cannot even count its calls');

#
# A cancel, a signal and a time-out find code that is kept, or was
#

code('workflow', 'patient', q[
DECLARE
	news jsonb;
BEGIN
	FOR i IN 1..100 LOOP
		PERFORM wf_activity('step', '1');
	END LOOP;
	news := wf_signal_receive('news');
	PERFORM wf_activity('step', '1');
	PERFORM wf_sleep('1 hour');
	RETURN news;
EXCEPTION WHEN SQLSTATE 'WF001' THEN
	FOR i IN 1..20 LOOP
		PERFORM wf_activity('step', '1');
	END LOOP;
	RETURN coalesce(news, '"nothing"') || '["cleaned up"]';
END]);
sql(q(SELECT wf_start('patient', 'patient')));
until_event('patient', 603);
wait_until($node, "SELECT count(*) > 0 AND bool_and(state = 'idle') $keeper", 'code that waits for long is not kept, but the keeper stays');
sql(q(SELECT wf_signal('patient', 'news', '"good"')));
until_event('patient', 611);
sql(q(SELECT wf_cancel('patient')));
is(closed($node, 'patient'), 'Completed ["good", "cleaned up"]', '... it gets its signal, and its cancel');
code('activity', 'cancel', q[
BEGIN
	PERFORM pg_sleep(0.02), wf_cancel('impatient') FROM wf_history('impatient') HAVING max(event_id) > 500;
	RETURN input;
END]);
sql(q(SELECT wf_start('impatient', 'everything', '"cancel"')));
is(closed($node, 'impatient'), 'Canceled', 'a cancel reaches code that is kept');

#
# Code that has read a table stands in nobody's way for long
#

sql('CREATE TABLE test.price (amount int); INSERT INTO test.price VALUES (7); GRANT ALL ON test.price TO PUBLIC; ALTER TABLE test.price OWNER TO coder');
code('activity', 'alter', q[BEGIN ALTER TABLE test.price ADD more int; RETURN NULL; END]);
code('workflow', 'reader', q[
DECLARE
	price int;
BEGIN
	FOR i IN 1..100 LOOP
		price := (SELECT max(amount) FROM test.price);
		PERFORM wf_activity(CASE WHEN i = 90 THEN 'alter' ELSE 'step' END, '1');
	END LOOP;
	RETURN to_jsonb(price);
END]);
sql(q(SELECT wf_start('reader', 'reader')));
is(closed($node, 'reader'), 'Completed 7', 'an activity can alter a table that the code has read');

#
# What a keeper does not see yet, or not any more
#

code('workflow', 'target', q[
BEGIN
	FOR i IN 1..60 LOOP
		PERFORM wf_activity('step', '1');
	END LOOP;
	RETURN wf_signal_receive('news');
END]);
code('activity', 'work', q[
BEGIN
	PERFORM wf_signal('target', 'news', '"fresh"'), wf_work('default');
	RETURN NULL;
END]);
code('workflow', 'worker', q[
BEGIN
	FOR i IN 1..60 LOOP
		PERFORM wf_activity('nap', '1');
	END LOOP;
	PERFORM wf_activity('work', NULL);
	RETURN NULL;
END]);
sql(q(SELECT wf_start('target', 'target')));
until_event('target', 363);
sql(q(SELECT wf_start('worker', 'worker')));
is(closed($node, 'worker'), 'Completed', 'an activity can call wf_work()');
is(closed($node, 'target'), 'Completed fresh', '... for code that is to learn of what has not been committed');

code('workflow', 'changing', q[BEGIN FOR i IN 1..200 LOOP PERFORM wf_activity('nap', '"old"'); END LOOP; RETURN NULL; END]);
sql(q(SELECT wf_start('changing', 'changing')));
until_event('changing', 500);
sql(q(CREATE OR REPLACE FUNCTION test.changing(input jsonb) RETURNS jsonb LANGUAGE plpgsql
	AS $$ BEGIN FOR i IN 1..200 LOOP PERFORM wf_activity('nap', '"new"'); END LOOP; RETURN NULL; END $$));
my $changed = sql(q(SELECT next_event_id FROM wf.execution WHERE workflow_id = 'changing'));
is(closed($node, 'changing'), 'Completed', 'code that is replaced while it is kept');
is(sql(qq(SELECT count(*) FROM wf_history('changing') WHERE event_type = 'ActivityTaskScheduled' AND attributes ->> 'input' = 'old'
	AND event_id > $changed + 6)), '0', '... is that of the next workflow task');

code('workflow', 'touchy', q[
BEGIN
	FOR i IN 1..200 LOOP
		BEGIN
			PERFORM wf_activity('nap', '1');
		EXCEPTION WHEN query_canceled THEN
			NULL;
		END;
	END LOOP;
	RETURN NULL;
END]);
sql(q(SELECT wf_start('touchy', 'touchy')));
until_event('touchy', 400);
sql("SELECT pg_cancel_backend(pid) $keeper") foreach 1 .. 20;
is(closed($node, 'touchy'), 'Completed', 'code that handles errors nobody is to handle');
is(sql(q(SELECT count(*) FROM wf_history('touchy'))), '1205', '... asks for no more than else');

#
# What code has on its stack across its waits: blocks, a cursor, settings, a
# role; and answers larger than the queue
#

code('workflow', 'stack', q[
DECLARE
	row record;
	n int := 0;
BEGIN
	SET LOCAL work_mem = '77kB';
	SET LOCAL ROLE visitor;
	FOR row IN SELECT i FROM generate_series(1, 120) AS i LOOP
		BEGIN
			PERFORM set_config('test.n', row.i::text, true), wf_activity(CASE WHEN row.i <= 60 THEN 'nap' ELSE 'step' END, '1');
			IF row.i % 7 = 0 THEN
				RAISE EXCEPTION 'undone';
			END IF;
		EXCEPTION WHEN OTHERS THEN
			n := n + jsonb_array_length(wf_activity('step', jsonb_build_array(row.i, repeat('x', 1000 * row.i))));
			CONTINUE;
		END;
		n := n + (current_user = 'visitor' AND current_setting('work_mem') = '77kB' AND current_setting('test.n') = row.i::text)::int;
	END LOOP;
	RETURN jsonb_build_array(n, length(repeat('y', 500000)));
END]);
sql(q(CREATE ROLE visitor; GRANT visitor TO coder; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO visitor));
sql(q(SELECT wf_start('stack', 'stack')));
is(closed($node, 'stack'), 'Completed [137, 500000]', 'code finds all as it was before its wait');
no_task_failed($node, 'no workflow task has failed');

#
# Keepers go
#

code('workflow', 'stuck', q[
BEGIN
	FOR i IN 1..60 LOOP
		PERFORM wf_activity('nap', '1');
	END LOOP;
	LOOP
	END LOOP;
END]);
sql(q(SELECT wf_start('stuck', 'stuck', task_timeout => '1s')));
wait_until($node, q(SELECT EXISTS (SELECT FROM wf_history('stuck') WHERE event_type = 'WorkflowTaskTimedOut' AND event_id > 360)),
	'code that never waits has a time-out');
sql(q(SELECT wf_terminate('stuck')));
wait_until($node, "SELECT count(*) = 0 $keeper", '... which ends its keeper');

sql(q(SELECT wf_start('last', 'everything', '"nap"')));
until_event('last', 400);
wait_until($node, "SELECT count(*) > 0 $keeper");
sql(q(SELECT wf_terminate('last', missing_ok => true), pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker'));
wait_until($node, "SELECT count(*) = 0 $keeper", 'a keeper ends with its worker');
is(sql('SELECT count(*) FROM wf_check()'), '0', 'everything is sound');

#
# They do not take the place of a worker: here is none but for the launchers,
# the driver, one worker and its keeper.  (Where that worker is held up it gets
# a helper, which has to go before a keeper comes.)
#

$node->append_conf('postgresql.conf', "max_worker_processes = 5\nworkflow_interrupt.worker_idle_timeout = '100ms'");
$node->restart;
sql(q[
	CREATE ROLE other LOGIN;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO other;
]);
code('workflow', 'endless', q[BEGIN LOOP PERFORM wf_activity('nap', '1'); END LOOP; END]);
sql(q[
	CREATE FUNCTION test."other"(input jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT input';
	GRANT EXECUTE ON FUNCTION test."other" TO PUBLIC;
	SET ROLE other;
	SELECT wf_register_workflow('other', 'test."other"(jsonb)', 'other');
]);
sql(q(SELECT wf_start('endless', 'endless')));
wait_until($node, "SELECT count(*) > 0 $keeper", 'the last process there may be is a keeper');
sql(q(SELECT wf_start('other', 'other', '1', task_queue => 'other')));
is(closed($node, 'other'), 'Completed 1', 'a keeper makes room for the worker of another role');
is(sql(q(SELECT status FROM wf.execution WHERE workflow_id = 'endless')), 'Running', '... while its own worker goes on');
sql(q(SELECT wf_terminate('endless')));

done_testing();
