# Workers for SQL functions: they come and go, they interrupt activities, and
# nobody harms anybody else

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SqlWorkerTest;
use Test::More;
use Time::HiRes qw(time);
use WfiTest;

my $node = new_node('main', conf => q(
max_worker_processes = 20
workflow_interrupt.max_workers = 6
workflow_interrupt.max_workers_per_role = 3
workflow_interrupt.worker_idle_timeout = '1h'
));

sub sql { return $node->safe_psql('postgres', $_[0]) }

# How many rows of the log say something?
sub logged { return sql("SELECT count(*) FROM test.log WHERE what = '$_[0]'") }

sub wait_log { return wait_until($node, "SELECT EXISTS (SELECT FROM test.log WHERE what = '$_[0]')", $_[1]) }

# Wait until the activity of a workflow has a worker that runs a statement
# for it, and return the worker's process id.
sub wait_started
{
	my ($id, $wait_event) = @_;

	wait_until($node, "SELECT EXISTS (SELECT FROM wf.activity a JOIN wf.execution e USING (shard, run_id)
		JOIN pg_stat_activity s ON a.identity = 'workflow_interrupt worker ' || s.pid
		WHERE e.workflow_id = '$id' AND s.state = 'active'" . (defined $wait_event ? " AND s.wait_event = '$wait_event'" : '') . ')')
	  or BAIL_OUT("the activity of $id did not start");
	return sql("SELECT replace(a.identity, 'workflow_interrupt worker ', '') FROM wf.activity a JOIN wf.execution e USING (shard, run_id)
		WHERE e.workflow_id = '$id'");
}

# Which process the activity of a workflow, which is over, was run by.
sub worker_of
{
	return sql("SELECT replace(attributes ->> 'identity', 'workflow_interrupt worker ', '')
		FROM wf_history('$_[0]') WHERE event_type = 'ActivityTaskStarted'");
}

sub gone { return wait_until($node, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $_[0])", $_[1]) }

prepare_database($node);
sql(q[
	CREATE ROLE ann LOGIN;
	CREATE ROLE bob LOGIN;
	CREATE ROLE boss NOLOGIN;
	GRANT boss TO ann;
	GRANT USAGE ON SCHEMA public, test TO ann, bob, boss;
	GRANT INSERT, SELECT ON test.log TO ann, bob, boss;
	GRANT USAGE ON SEQUENCE test.log_id_seq TO ann, bob, boss;
	CREATE SCHEMA ann AUTHORIZATION ann;
	CREATE SCHEMA bob AUTHORIZATION bob;
	GRANT EXECUTE ON FUNCTION wf_register_workflow, wf_register_activity, wf_unregister_activity, wf_unregister_workflow, wf_work,
		wf_activity_heartbeat, wf_activity_heartbeat_details, wf_activity_info TO ann, bob;
]);

# Have a role define functions and register them.
sub functions
{
	my ($role, %bodies) = @_;

	foreach my $name (sort keys %bodies)
	{
		my ($kind, $body) = @{ $bodies{$name} };
		my $options = $kind eq 'stubborn' ? q(, options => '{"interruptible": false}') : '';
		$kind = 'activity' if $kind eq 'stubborn';
		sql(qq[
			SET ROLE $role;
			CREATE OR REPLACE FUNCTION $role.$name(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$ $body \$\$;
			SELECT wf_register_$kind('$name', '$role.$name(jsonb)'$options);
		]);
	}
}

#
# Who runs it
#

is(scalar worker_pids($node), 0, 'no worker before there is anything to do');
functions('ann',
	whoami => [ activity => q[BEGIN PERFORM test.log('whoami'); RETURN jsonb_build_array(session_user, current_user, current_setting('is_superuser')); END] ],
	escape => [ activity => q[BEGIN EXECUTE 'SET SESSION AUTHORIZATION postgres'; RETURN '1'; END] ],
	leave => [ activity => q[BEGIN
		EXECUTE 'SET ROLE boss'; EXECUTE 'SET work_mem = 77'; CREATE TEMP TABLE mine AS SELECT 1;
		PERFORM pg_advisory_lock(1), set_config('test.secret', 'yes', false);
		RETURN to_jsonb(current_user); END] ],
	find => [ activity => q[BEGIN RETURN jsonb_build_array(current_user, current_setting('work_mem') = '77kB', to_regclass('pg_temp.mine'),
		current_setting('test.secret', true), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), pg_backend_pid()); END] ]);

sql(q(SELECT test.act('who', 'whoami')));
is(outcome($node, 'who'), 'ActivityTaskCompleted ["ann", "ann", "off"]', 'as the role that registered it');
is(sql(q(SELECT what, who, pid IN (SELECT pid FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker' AND usename = 'ann') FROM test.log)),
	'whoami|ann|t', 'in a worker that is connected as that role');
sql(q(SELECT test.act('escape', 'escape', NULL, '{"retry_policy": {"maximum_attempts": 1}}')));
like(outcome($node, 'escape'), qr/^ActivityTaskFailed 42501: permission denied/, 'which is all that it can be');

sql(q(SELECT test.act('leave', 'leave')));
is(outcome($node, 'leave'), 'ActivityTaskCompleted boss', 'a role of its own, for the time being');
sql(q(SELECT test.act('find', 'find')));
like(outcome($node, 'find'), qr/^ActivityTaskCompleted \["ann", false, null, (?:null|""), 0, \d+\]$/, 'but nothing is left for the next task');

#
# Cancel
#

my $cleanup = q[
	EXCEPTION WHEN SQLSTATE 'WF001' THEN
		PERFORM test.log('cleanup of ' || (input ->> 'id')), pg_sleep(0.3);
		RAISE EXCEPTION 'stopped' USING ERRCODE = 'WF001', DETAIL = 'cleaned up';
	END];
my $swallow = q[EXCEPTION WHEN OTHERS THEN RETURN to_jsonb(SQLSTATE || ' ' || SQLERRM); END];
my %long = (
	sleeping => q[PERFORM pg_sleep(3600);],
	querying => q[PERFORM count(*) FROM generate_series(1, 1000000000) a;],
	looping => q[LOOP END LOOP;],
	beating => q[LOOP PERFORM wf_activity_heartbeat(); PERFORM pg_sleep(0.01); END LOOP;]);
# To be seen as soon as the handler would be called
my $begun = q[PERFORM set_config('application_name', 'begun', true);];
functions('ann', map { ($_ => [ activity => "BEGIN $begun $long{$_} RETURN '1'; $cleanup" ],
		"${_}_on" => [ activity => "BEGIN $begun $long{$_} RETURN '1'; $swallow" ]) } keys %long);
foreach my $name (sort keys %long)
{
	foreach my $type ($name, "${name}_on")
	{
		sql(qq(SELECT test.act('$type', '$type', '{"id": "$type"}')));
		wait_started($type);
		wait_until($node, q(SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'begun')));
		my $before = time;
		sql(qq(SELECT test.cancel_act('$type')));
		is(outcome($node, $type), $type eq $name ? 'ActivityTaskCanceled cleaned up' : 'ActivityTaskCompleted WF001 activity canceled',
			"cancel: $type");
		cmp_ok(time - $before, '<', 20, '... at once');
	}
	# what it did after the cancel was rolled back by the error that it raised
	is(logged("cleanup of $name"), 0, '... and what a canceled activity did is not done');
}

# Only once; what comes after that goes on, with heartbeats.
functions('ann',
	busy => [ activity => q[
		DECLARE n int := 0;
		BEGIN
			BEGIN
				PERFORM pg_sleep(3600);
			EXCEPTION WHEN SQLSTATE 'WF001' THEN
				FOR i IN 1..5 LOOP
					IF wf_activity_heartbeat(to_jsonb(i)) THEN n := n + 1; END IF;
					PERFORM pg_sleep(0.05);
				END LOOP;
			END;
			PERFORM test.log('busy');
			RETURN to_jsonb(n);
		END] ],
	stubborn => [ stubborn => q[
		BEGIN
			PERFORM pg_advisory_xact_lock_shared(1), pg_sleep(0.5);
			PERFORM test.log('slept');
			PERFORM wf_activity_heartbeat();
			RETURN '1';
		EXCEPTION WHEN SQLSTATE 'WF001' THEN RETURN to_jsonb('told'::text); END] ],
	insistent => [ activity => q[BEGIN PERFORM pg_sleep(3600); RETURN '1'; EXCEPTION WHEN query_canceled THEN RETURN to_jsonb('not this one'::text); END] ],
	wrapped => [ activity => q[
		BEGIN
			PERFORM pg_sleep(3600);
			RETURN '1';
		EXCEPTION WHEN SQLSTATE 'WF001' THEN RAISE EXCEPTION '% at line 2.', SQLERRM USING ERRCODE = 'external_routine_exception';
		END] ],
	admin => [ activity => q[BEGIN PERFORM pg_sleep(3600); RETURN '1'; EXCEPTION WHEN query_canceled THEN RETURN to_jsonb('by hand'::text); END] ]);
sql(q(SELECT test.act('busy', 'busy')));
wait_started('busy', 'PgSleep');
sql(q(SELECT test.cancel_act('busy')));
is(outcome($node, 'busy'), 'ActivityTaskCompleted 5', 'after the cancel, nothing is interrupted any more');
is(logged('busy'), 1, 'and what it did is done, as it completed');
my $session = open_session($node);
$session->query_safe('SELECT pg_advisory_lock(1)');
sql(q(SELECT test.act('stubborn', 'stubborn')));
wait_started('stubborn', 'advisory');
sql(q(SELECT test.cancel_act('stubborn')));
$session->quit;
is(outcome($node, 'stubborn'), 'ActivityTaskCompleted told', 'one that is not interruptible is told by its heartbeat');
sql(q(SELECT test.act('calls', 'insistent', NULL, '{"header": {"interruptible": true}}')));
wait_started('calls', 'PgSleep');
sql(q(SELECT test.cancel_act('calls')));
like(outcome($node, 'calls'), qr/^ActivityTaskCanceled/, 'no handler sees 57014');
sql(q(SELECT test.act('wrapped', 'wrapped')));
wait_started('wrapped', 'PgSleep');
sql(q(SELECT test.cancel_act('wrapped')));
like(outcome($node, 'wrapped'), qr/^ActivityTaskCanceled/, 'a language that lets it through without its SQLSTATE is canceled, too');
sql(q(SELECT test.act('admin', 'admin')));
sql('SELECT pg_cancel_backend(' . wait_started('admin', 'PgSleep') . ')');
is(outcome($node, 'admin'), 'ActivityTaskCompleted by hand', 'but of somebody else\'s interrupt it does');

#
# Terminate, reset and time-outs give it no say
#

functions('ann',
	deaf => [ activity => q[
		BEGIN
			PERFORM test.log('deaf');
			LOOP
				BEGIN
					PERFORM wf_activity_heartbeat('{"at": 1}'), pg_sleep(3600);
				EXCEPTION WHEN OTHERS OR query_canceled THEN PERFORM test.log('heard');
				END;
			END LOOP;
		END] ]);
sql(q(SELECT test.act('terminated', 'deaf')));
my $pid = wait_started('terminated', 'PgSleep');
sql(q(SELECT wf_terminate('terminated', 'enough')));
gone($pid, 'terminate ends the worker');
sql('GRANT EXECUTE ON FUNCTION wf_terminate TO ann');
functions('ann', judge => [ activity => q[BEGIN PERFORM test.log('judged'), wf_terminate('judged', 'by its own activity'); RETURN '1'; END] ]);
sql(q(SELECT test.act('judged', 'judge')));
wait_until($node, q(SELECT status = 'Terminated' FROM wf.execution WHERE workflow_id = 'judged'), 'an activity can terminate its own workflow');
is(logged('judged'), 1, '... and what it did is done');
sql(q(SELECT test.act('too long', 'deaf', NULL, '{"start_to_close_timeout": "3s", "retry_policy": {"maximum_attempts": 1}}')));
is(outcome($node, 'too long'), 'ActivityTaskTimedOut activity StartToClose timeout', 'start-to-close time-out');
gone(worker_of('too long'), '... ends the worker');
sql(q(SELECT test.act('silent', 'deaf', NULL, '{"heartbeat_timeout": "3s", "retry_policy": {"maximum_attempts": 1}}')));
is(outcome($node, 'silent'), 'ActivityTaskTimedOut activity Heartbeat timeout', 'heartbeat time-out');
gone(worker_of('silent'), '... ends the worker');
sql(q(SELECT test.act('by id', 'deaf')));
$pid = wait_started('by id', 'PgSleep');
sql(q(SELECT wf_respond_activity_task_completed_by_id('by id', '1', '"by somebody else"')));
gone($pid, 'an answer by somebody else ends the worker');
is(logged('deaf') . logged('heard'), '00', 'and of all that nothing is left');

# Heartbeat details reach the next attempt, even after that.
functions('ann',
	resume => [ activity => q[
		BEGIN
			IF wf_activity_heartbeat_details() IS NULL THEN
				PERFORM wf_activity_heartbeat(input), pg_sleep(3600);
			END IF;
			RETURN wf_activity_heartbeat_details();
		END] ],
	again => [ activity => q[
		BEGIN
			IF (wf_activity_info() ->> 'attempt')::int = 1 THEN
				PERFORM wf_activity_heartbeat(to_jsonb(repeat('x', 5000)));
				RAISE 'once';
			END IF;
			RETURN to_jsonb(length(wf_activity_heartbeat_details() ->> 0));
		END] ]);
sql(q(SELECT test.act('resume', 'resume', '{"row": 7}', '{"start_to_close_timeout": "1s", "retry_policy": {"initial_interval": "0.01s"}}')));
is(outcome($node, 'resume'), 'ActivityTaskCompleted {"row": 7}', 'heartbeat details outlive a time-out');
sql(q(SELECT test.act('again', 'again', NULL, '{"retry_policy": {"initial_interval": "0.01s"}}')));
is(outcome($node, 'again'), 'ActivityTaskCompleted 5000', 'and long ones an error');

# Workflow code that never ends is ended, too.
functions('ann', endless => [ workflow => q[BEGIN LOOP END LOOP; END] ]);
sql(q(SELECT wf_start('endless', 'endless', task_timeout => '1s')));
wait_until($node, q(SELECT EXISTS (SELECT FROM wf_history('endless') WHERE event_type = 'WorkflowTaskTimedOut')), 'workflow code is ended at its time-out');
sql(q(SELECT wf_terminate('endless')));

#
# Nobody starves
#

$node->poll_query_until('postgres', q(SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker' AND state = 'active')));
my $stuck = q[BEGIN PERFORM pg_sleep(3600); RETURN '1'; END];
functions('ann', stuck => [ activity => $stuck ]);
functions('bob', stuck_too => [ activity => $stuck ], other => [ activity => q[BEGIN RETURN '"other"'; END] ]);
sql("SELECT test.act('stuck ' || i, 'stuck'), test.act('stuck too ' || i, 'stuck_too') FROM generate_series(1, 10) i");
wait_until($node, q(SELECT count(*) = 4 FROM wf.activity WHERE state = 'Started' AND activity_type ~ 'stuck'), 'a function that is stuck');
sql(q(SELECT test.act('free', 'whoami')));
is(outcome($node, 'free'), 'ActivityTaskCompleted ["ann", "ann", "off"]', 'leaves a worker to the others of its role');
sql(q(SELECT test.act('free too', 'other')));
is(outcome($node, 'free too'), 'ActivityTaskCompleted other', '... and to other roles');
is(sql(q(SELECT count(*) FROM wf.activity WHERE state = 'Started' AND activity_type ~ 'stuck')), 4, 'and does not get it');
cmp_ok(scalar worker_pids($node, 'ann'), '<=', 3, 'no more workers than a role may have');
cmp_ok(scalar worker_pids($node), '<=', 6, 'nor than there may be');
sql(q(SELECT wf_terminate(workflow_id) FROM wf.execution WHERE workflow_id ~ '^stuck' AND status = 'Running'));
wait_until($node, q(SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker' AND state = 'active')), 'all of them are ended');

# Activities that take all workers of their role leave it one for workflow
# tasks, and for nothing else: a cancel is heard of.  An idle worker of another
# role makes room for it.
sql('GRANT EXECUTE ON FUNCTION wf_signal_receive, wf_activity TO ann');
functions('ann', waits => [ workflow => q[BEGIN PERFORM wf_signal_receive('never'); RETURN NULL; END] ],
	whose => [ workflow => q[BEGIN RETURN wf_activity('whoami'); END] ],
	map { ("stuck_$_" => [ activity => $stuck ]) } 1 .. 3);
sql(q(SELECT wf_start('waits', 'waits')));
wait_until($node, q(SELECT EXISTS (SELECT FROM wf_history('waits') WHERE event_type = 'WorkflowTaskCompleted')));
sql("SELECT test.act('stuck_' || i, 'stuck_' || i) FROM generate_series(1, 3) i");
wait_until($node, q(SELECT count(*) = 3 FROM wf.activity WHERE state = 'Started'), 'activities that take all workers of a role');
cmp_ok(scalar worker_pids($node, 'bob'), '>=', 1, '... and idle ones of another');
$node->append_conf('postgresql.conf', 'workflow_interrupt.max_workers = ' . scalar worker_pids($node));
$node->reload;
sql(q(SELECT wf_start('whose', 'whose')));
sql(q(SELECT wf_cancel('waits')));
is(closed($node, 'waits'), 'Canceled', '... do not keep a cancel from its workflow');
wait_until($node, q(SELECT EXISTS (SELECT FROM wf.activity WHERE activity_type = 'whoami')), '... nor another one from asking for an activity');
is(sql(q(SELECT state FROM wf.activity WHERE activity_type = 'whoami')), 'Scheduled', '... which waits');
cmp_ok(scalar worker_pids($node, 'ann'), '<=', 4, '... with one more worker');
sql(q(SELECT wf_terminate(workflow_id) FROM wf.execution WHERE workflow_id ~ '^stuck' AND status = 'Running'));
is(closed($node, 'whose'), 'Completed ["ann", "ann", "off"]', '... until there is one for it');

# When there is room for one only, roles take turns.
$node->append_conf('postgresql.conf', 'workflow_interrupt.max_workers = 1');
$node->reload;
functions('ann', turn => [ activity => q[BEGIN PERFORM pg_sleep(0.3); RETURN '"ann"'; END] ]);
sql("SELECT test.act('turn ' || i, 'turn') FROM generate_series(1, 20) i");
sql(q(SELECT test.act('turn of bob', 'other')));
is(outcome($node, 'turn of bob'), 'ActivityTaskCompleted other', 'one worker for two roles');
is(outcome($node, "turn $_"), 'ActivityTaskCompleted ann', "... $_") foreach 1, 20;

# So they do when the server has no room for more processes.
$node->append_conf('postgresql.conf', "workflow_interrupt.max_workers = 6\nmax_worker_processes = 4");
$node->restart;
foreach my $turn (1, 2)
{
	sql("SELECT test.act('process $turn', 'whoami')");
	is(outcome($node, "process $turn"), 'ActivityTaskCompleted ["ann", "ann", "off"]', "one process for two roles, turn $turn");
	sql("SELECT test.act('process $turn of bob', 'other')");
	is(outcome($node, "process $turn of bob"), 'ActivityTaskCompleted other', '... and for the other one');
}

# Runs whose tasks cannot be started do not keep workers from the others, nor
# from other queues, however many they are.
functions('ann', flow => [ workflow => q[BEGIN RETURN '1'; END] ]);
sql(q[
	CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE EXCEPTION 'not this one';
	END $$;
	CREATE TRIGGER refuse BEFORE UPDATE ON wf.execution FOR EACH ROW WHEN (NEW.workflow_id ~ '^refused') EXECUTE FUNCTION test.refuse();
	SELECT wf_start('refused ' || i, 'flow') FROM generate_series(1, 10) i;
	SELECT wf_start('behind them', 'flow');
]);
is(closed($node, 'behind them'), 'Completed 1', 'a task behind many that cannot be started');
sql(q[
	DROP TRIGGER refuse ON wf.execution;
	SELECT wf_terminate('refused ' || i) FROM generate_series(1, 10) i;
]);

#
# What is gone
#

$node->append_conf('postgresql.conf', 'max_worker_processes = 20');
$node->restart;
my $once = q('{"retry_policy": {"maximum_attempts": 1}}');
sql(q(DROP FUNCTION ann.whoami));
sql(qq(SELECT test.act('dropped', 'whoami', NULL, $once)));
like(outcome($node, 'dropped'), qr/^ActivityTaskFailed 42883: function ann\.whoami\(jsonb\) does not exist/, 'a function that was dropped');
functions('ann', whoami => [ activity => q[BEGIN RETURN '"back"'; END] ]);
sql(qq(SELECT test.act('back', 'whoami', NULL, $once)));
is(outcome($node, 'back'), 'ActivityTaskCompleted back', '... and made again');
sql(q(ALTER FUNCTION ann.whoami OWNER TO bob; GRANT EXECUTE ON FUNCTION ann.whoami TO PUBLIC));
sql(qq(SELECT test.act('stolen', 'whoami', NULL, $once)));
like(outcome($node, 'stolen'), qr/^ActivityTaskFailed 42883/, 'a function that is another role\'s now');
sql(q(ALTER FUNCTION ann.whoami OWNER TO ann; REVOKE EXECUTE ON FUNCTION ann.whoami FROM ann, PUBLIC));
sql(qq(SELECT test.act('revoked', 'whoami', NULL, $once)));
like(outcome($node, 'revoked'), qr/^ActivityTaskFailed 42501: permission denied for function/, 'a function that the role may not run');
sql(q(DROP SCHEMA bob CASCADE));
sql(qq(SELECT test.act('no schema', 'other', NULL, $once)));
like(outcome($node, 'no schema'), qr/^ActivityTaskFailed 42883: function bob\.other\(jsonb\) does not exist/, 'a schema that was dropped');
sql(q(REVOKE CONNECT ON DATABASE postgres FROM PUBLIC));
sql(qq(SELECT test.act('no connect', 'other', NULL, $once)));
like(outcome($node, 'no connect'), qr/^ActivityTaskFailed 28000: .*not permitted to connect/, 'a role that may not connect');
sql(q(GRANT CONNECT ON DATABASE postgres TO PUBLIC));
my $offset = -s $node->logfile;
functions('ann', flow => [ workflow => q[BEGIN RETURN '1'; END] ]);
sql(q(DROP OWNED BY bob; DROP ROLE bob; ALTER ROLE ann RENAME TO anna));
sql(qq(SELECT test.act('no role', 'other', NULL, $once)));
like(outcome($node, 'no role'), qr/^ActivityTaskFailed 42704: .*the role that registered it does not exist any more/, 'a role that was dropped');
sql(q(SELECT wf_start('renamed', 'flow')));
wait_until($node, q(SELECT status = 'Completed' FROM wf.execution WHERE workflow_id = 'renamed'), 'a role that was renamed is the same role');
unlike(slurp_file($node->logfile, $offset), qr/FATAL|PANIC/, 'no worker was started in vain');
is(sql(q(SELECT count(*) FROM wf.registration WHERE role::text ~ '^\d+$' AND name = 'other')), 1, 'its registration can be seen');
sql(q(SELECT wf_unregister_activity('other')));

#
# They come and go
#

$node->append_conf('postgresql.conf', "workflow_interrupt.worker_idle_timeout = '100ms'");
$node->reload;
sql(q(SELECT wf_start('wakes it', 'flow')));
wait_until($node, q(SELECT status = 'Completed' FROM wf.execution WHERE workflow_id = 'wakes it'), 'a workflow for a worker');
wait_until($node, q(SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker')), 'an idle worker ends');
sql(q(SELECT wf_start('brings it back', 'flow')));
wait_until($node, q(SELECT status = 'Completed' FROM wf.execution WHERE workflow_id = 'brings it back'), '... and another one comes');

$node->append_conf('postgresql.conf', "workflow_interrupt.worker_idle_timeout = '1h'");
$node->reload;
$node->safe_psql('postgres', 'CREATE DATABASE other');
prepare_database($node, 'other');
$node->safe_psql('other', q[
	CREATE FUNCTION test.stuck(jsonb) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(3600)';
	SELECT wf_register_activity('stuck', 'test.stuck(jsonb)');
	SELECT test.act('stuck', 'stuck');
]);
wait_until($node, q(SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'other' AND backend_type = 'workflow_interrupt worker' AND state = 'active')),
	'a worker in another database');
sql('DROP DATABASE other');
pass('... does not stand in the way of DROP DATABASE');
sql(q(SELECT wf_start('in between', 'flow')));
wait_until($node, q(SELECT status = 'Completed' FROM wf.execution WHERE workflow_id = 'in between'), 'nor does it harm others');

$node->append_conf('postgresql.conf', 'workflow_interrupt.max_workers = 0');
$node->reload;
wait_until($node, q(SELECT current_setting('workflow_interrupt.max_workers') = '0'));
my (undef, undef, $stderr) = $node->psql('postgres', q(SET ROLE anna; SELECT wf_register_workflow('flow', 'ann.flow(jsonb)')));
like($stderr, qr/NOTICE:  no background worker will run function .*\nDETAIL:  workflow_interrupt\.max_workers is 0\./, 'who registers a function is told when there are no workers');
$node->append_conf('postgresql.conf', 'workflow_interrupt.max_workers = 6');

$node->append_conf('postgresql.conf', 'workflow_interrupt.enabled = off');
$node->reload;
wait_until($node, q(SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker')), 'none when it is turned off');
sql(q(SELECT wf_start('later', 'flow')));
$node->append_conf('postgresql.conf', 'workflow_interrupt.enabled = on');
$node->reload;
wait_until($node, q(SELECT status = 'Completed' FROM wf.execution WHERE workflow_id = 'later'), 'when it is turned on, they do what has waited');
sql('DROP EXTENSION workflow_interrupt CASCADE');
wait_until($node, q(SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker')), 'none without the extension');

$node->stop('fast');
done_testing();
