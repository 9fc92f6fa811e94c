# wf_check() beside work: nobody waits for it, it waits for nobody, and what
# others are just doing is no finding

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WfiTest;

my $node = new_node('main');
$node->safe_psql('postgres', q(
CREATE EXTENSION workflow_interrupt;

-- Another one may have come first.
CREATE FUNCTION try(call text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT ' || call;
EXCEPTION WHEN SQLSTATE 'WF003' OR SQLSTATE 'WF005' OR SQLSTATE 'WF008' OR SQLSTATE 'WF010' THEN
	NULL;
END $$;

-- Some work until it is enough, each step in a transaction of its own.
CREATE TABLE enough ();
CREATE PROCEDURE work(worker text) LANGUAGE plpgsql AS $$
DECLARE
	i int := 0;
	t record;
	w text;
BEGIN
	WHILE NOT EXISTS (SELECT FROM enough) LOOP
		i := i + 1;
		w := format('%s %s', worker, i % 7);
		PERFORM try(format('wf_signal_with_start(%L, ''T'', ''s'', task_queue => ''q'', request_id => %L)', w, worker || i));
		COMMIT;
		FOR t IN SELECT * FROM wf_poll_workflow_task('q', 3) LOOP
			PERFORM wf_respond_workflow_task_completed(t.task_token, jsonb_build_array(
				jsonb_build_object('command_type', 'StartTimer', 'timer_id', t.started_event_id::text,
					'start_to_fire_timeout', format('%s.%ss', i % 3, 100 + i % 900)),
				jsonb_build_object('command_type', 'ScheduleActivityTask', 'activity_id', t.started_event_id::text,
					'activity_type', 'A', 'task_queue', 'q', 'start_to_close_timeout', '60s')));
		END LOOP;
		COMMIT;
		-- one that nobody completes, so that events wait in a buffer
		PERFORM wf_poll_workflow_task('q');
		COMMIT;
		FOR t IN SELECT * FROM wf_poll_activity_task('q', 2) LOOP
			COMMIT;
			PERFORM try(format('wf_heartbeat(%L, ''1'')', t.task_token));
			COMMIT;
			PERFORM try(format(CASE i % 4 WHEN 0 THEN 'wf_respond_activity_task_failed(%L, ''{"message": "bad"}'')'
				ELSE 'wf_respond_activity_task_completed(%L)' END, t.task_token));
			COMMIT;
		END LOOP;
		PERFORM try(format(CASE i % 11
			WHEN 3 THEN 'wf_cancel(%L)'
			WHEN 5 THEN 'wf_reset(%1$L, wf_reset_point(%1$L, ''FirstWorkflowTask''), ''test'')'
			WHEN 7 THEN 'wf_terminate(%L)'
			ELSE '%L' END, w));
		COMMIT;
	END LOOP;
END $$;
));

# Several at work, and checks meanwhile.
my @output;
my @workers = map {
	IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', "CALL work('worker $_')" ],
		'<', \undef, '>', \$output[ 2 * $_ ], '2>', \$output[ 2 * $_ + 1 ]);
} 0 .. 2;
ok($node->poll_query_until('postgres', 'SELECT count(*) > 21 FROM wf.execution'), 'some work has begun, and some begun again');
is($node->safe_psql('postgres', 'SELECT * FROM wf_check()'), '', 'nothing is found in work under way') for 1 .. 20;
$node->safe_psql('postgres', 'INSERT INTO enough DEFAULT VALUES');
$_->finish foreach @workers;
is(join('', map { $_ // '' } @output), '', 'the work was done');
note($node->safe_psql('postgres', q(SELECT count(*) || ' runs, ' || sum(next_event_id - 1) || ' events' FROM wf.execution)));

# All is locked that can be locked by those who work, until the check is done.
my $s = open_session($node);
$s->query_safe('BEGIN');
$s->query_safe('SELECT count(*) FROM (SELECT FROM wf.execution FOR UPDATE) x');
$s->query_safe('SELECT count(*) FROM (SELECT FROM wf.activity FOR UPDATE) x');
$s->query_safe('SELECT count(*) FROM (SELECT FROM wf.task FOR UPDATE) x');
is($node->safe_psql('postgres', "SET lock_timeout = '20s'; SELECT count(*) FROM wf_check()"),
	'0', 'a check waits for no lock');
$s->query_safe('ROLLBACK');

# The other way round: whoever has checked holds no rows.  (The driver may
# hold some, but never for long.)
$s->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$s->query_safe('SELECT count(*) FROM wf_check()');
is($s->query_safe(q(SELECT string_agg(DISTINCT mode, ' ') FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('relation', 'tuple')
	AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'wf'::regnamespace))),
	'AccessShareLock', 'a check holds no locks but of a reader');
is($s->query_safe('SELECT pg_current_xact_id_if_assigned() IS NULL'), 't', 'and wrote nothing');
$node->safe_psql('postgres', "SET lock_timeout = '20s'; SELECT wf_terminate(workflow_id) FROM wf.execution WHERE is_current AND close_time IS NULL");
is($s->query_safe('SELECT count(*) FROM wf_check()'), '0', 'it goes on seeing its snapshot');
$s->query_safe('COMMIT');

# Whoever may execute it needs no more; nobody else may.
$node->safe_psql('postgres', 'CREATE ROLE auditor; CREATE ROLE other; GRANT EXECUTE ON FUNCTION wf_check TO auditor');
is($node->safe_psql('postgres', 'SET ROLE auditor; SELECT count(*) FROM wf_check()'), '0', 'EXECUTE is enough');
my (undef, undef, $stderr) = $node->psql('postgres', 'SET ROLE other; SELECT count(*) FROM wf_check()');
like($stderr, qr/permission denied for function wf_check/, 'and needed');

$s->quit;
check_sound($node);
$node->stop;
done_testing();
