# Roles whose workers cannot be what they were: nobody becomes somebody else,
# nothing is left for the next task, and no worker is started over and over

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SqlWorkerTest;
use Test::More;
use WfiTest;

# how often a worker was started is to be seen in the log
my $node = new_node('main', conf => q(
max_worker_processes = 20
log_min_messages = debug1
workflow_interrupt.max_workers = 6
workflow_interrupt.max_workers_per_role = 2
workflow_interrupt.worker_idle_timeout = '1h'
));
my $once = q('{"retry_policy": {"maximum_attempts": 1}}');

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Have a role define an activity and register it.
sub activity
{
	my ($role, $name, $body) = @_;

	sql(qq[
		SET ROLE $role;
		CREATE OR REPLACE FUNCTION $role.$name(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$ $body \$\$;
		SELECT wf_register_activity('$name', '$role.$name(jsonb)');
	]);
}

# What came of one attempt of an activity.
sub attempt
{
	my ($id, $type) = @_;

	sql(qq(SELECT test.act('$id', '$type', NULL, $once)));
	return outcome($node, $id);
}

# How many workers of ann were started since that place in the log?  (Others may
# just come back from what was before.)
sub started
{
	my $role = sql("SELECT 'ann'::regrole::oid");
	my $n = () = slurp_file($node->logfile, $_[0]) =~ /registering background worker "workflow_interrupt worker for role $role /g;
	return $n;
}

prepare_database($node);
sql(q[
	CREATE ROLE admin LOGIN SUPERUSER;
	CREATE ROLE ann LOGIN;
	CREATE ROLE bob LOGIN;
	CREATE ROLE boss NOLOGIN;
	GRANT boss TO ann;
	GRANT USAGE ON SCHEMA public, test TO ann, bob, boss;
	CREATE SCHEMA admin AUTHORIZATION admin;
	CREATE SCHEMA ann AUTHORIZATION ann;
	CREATE SCHEMA bob AUTHORIZATION bob;
	GRANT EXECUTE ON FUNCTION wf_register_workflow, wf_register_activity, wf_unregister_activity, wf_activity, wf_local_activity TO PUBLIC;
]);
my $whoami = q[BEGIN RETURN jsonb_build_array(session_user, current_user); END];
activity('admin', 'of_admin', $whoami);
activity('ann', 'of_ann', $whoami);
activity('bob', 'of_bob', $whoami);

#
# Nothing is left for the next task
#

# A superuser's function can become somebody else for good.  Whose functions
# would that worker run then, and what could they become?
activity('admin', 'disguise', q[BEGIN EXECUTE 'SET SESSION AUTHORIZATION bob'; RETURN to_jsonb(session_user); END]);
is(attempt('disguise', 'disguise'), 'ActivityTaskCompleted bob', 'somebody else for the time being');
is(attempt('undisguised', 'of_admin'), 'ActivityTaskCompleted ["admin", "admin"]', 'but not for the next task');
is(attempt('bob', 'of_bob'), 'ActivityTaskCompleted ["bob", "bob"]', '... nor does it run tasks of the other one');

sql('SET ROLE ann; CREATE SEQUENCE ann.s');
activity('ann', 'leave', q[BEGIN
	EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT 1';
	EXECUTE 'PREPARE prepared AS SELECT 1';
	RETURN to_jsonb(nextval('ann.s')); END]);
activity('ann', 'find', q[DECLARE
	last text;
BEGIN
	BEGIN
		last := currval('ann.s');
	EXCEPTION WHEN object_not_in_prerequisite_state THEN
	END;
	RETURN jsonb_build_array((SELECT count(*) FROM pg_cursors WHERE is_holdable), (SELECT count(*) FROM pg_prepared_statements WHERE name = 'prepared'),
		last); END]);
is(attempt('leave', 'leave'), 'ActivityTaskCompleted 1', 'cursors, prepared statements and sequences');
is(attempt('find', 'find'), 'ActivityTaskCompleted [0, 0, null]', '... are gone for the next task');

#
# A role of its own for each session
#

sql(q(ALTER ROLE ann SET role = 'boss'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker'));
my $offset = -s $node->logfile;
is(attempt('ann', 'of_ann'), 'ActivityTaskCompleted ["ann", "ann"]', 'it runs with the rights of the registrant whatever its sessions begin with');
cmp_ok(started($offset), '<=', 10, '... in a worker that did not take many to start');
sql(q(ALTER ROLE ann RESET role));
# Errors are how its code ends while it waits, and no reason to end the worker
sql(q(ALTER ROLE ann SET exit_on_error = on; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker'));
$offset = -s $node->logfile;
activity('ann', 'fails', q[BEGIN RAISE 'no'; END]);
is(attempt('fails', 'fails'), 'ActivityTaskFailed P0001: no', 'errors do not end the worker');
is(attempt('after it', 'of_ann'), 'ActivityTaskCompleted ["ann", "ann"]', '... which goes on');
unlike(slurp_file($node->logfile, $offset), qr/FATAL:  no/, '... whatever the role has set');
sql(q(ALTER ROLE ann RESET exit_on_error));

#
# A role that must not log in: since version 17 its workers can
#

sql(q[
	SET ROLE ann;
	CREATE FUNCTION ann.flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_activity('of_ann'); END $$;
	SELECT wf_register_workflow('flow', 'ann.flow(jsonb)');
]);
$offset = -s $node->logfile;
sql(q(ALTER ROLE ann NOLOGIN));
my $can = $node->pg_version >= 17;
my $connected = attempt('nologin', 'of_ann');
sql(q(SELECT wf_start('nologin flow', 'flow', task_timeout => '1s')));
my $flow_ended = q(SELECT EXISTS (SELECT FROM wf_history('nologin flow') WHERE event_type = 'WorkflowExecutionCompleted'));
if ($can)
{
	is($connected, 'ActivityTaskCompleted ["ann", "ann"]', 'a role that may not log in');
	wait_until($node, $flow_ended, '... has workflows, too');
}
else
{
	is($connected, 'ActivityTaskFailed 28000: could not run function ann.of_ann(jsonb): role "ann", which registered it, is not permitted to log in',
		'a role that may not log in');
	wait_until($node, q(SELECT EXISTS (SELECT FROM wf_history('nologin flow') WHERE event_type = 'WorkflowTaskFailed'
			AND attributes #>> '{failure,message}' ~ 'role "ann", which registered it, is not permitted to log in')),
		'... and its workflow task say so');
}
sql(q(ALTER ROLE ann LOGIN));
wait_until($node, $flow_ended, '... and ends when it may');
unlike(slurp_file($node->logfile, $offset), qr/FATAL|PANIC/, '... with no worker that could not connect');
cmp_ok(started($offset), '<=', 4, '... and few that were started');

#
# A worker that has nothing to do does not come back at once
#

# One is stuck, the other leaves the same function alone; then it is gone.
activity('ann', 'stuck', q[BEGIN PERFORM pg_sleep(3600); RETURN NULL; END]);
sql(q(SELECT test.act('stuck 1', 'stuck'), test.act('stuck 2', 'stuck')));
wait_until($node, q(SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'ann' AND wait_event = 'PgSleep'), 'one worker is stuck');
is(attempt('ann again', 'of_ann'), 'ActivityTaskCompleted ["ann", "ann"]', 'another one is not');
$offset = -s $node->logfile;
sql(q(DELETE FROM wf.function WHERE role = 'ann'::regrole; SET ROLE bob; SELECT wf_unregister_activity('of_bob'), wf_register_activity('of_bob', 'bob.of_bob(jsonb)')));
is(attempt("bob $_", 'of_bob'), 'ActivityTaskCompleted ["bob", "bob"]', "while the role has nothing registered, others work: $_") foreach 1 .. 5;
wait_until($node, q(SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'ann'), 'the idle worker ends');
is(attempt("bob $_", 'of_bob'), 'ActivityTaskCompleted ["bob", "bob"]', "and still: $_") foreach 6 .. 10;
cmp_ok(started($offset), '<=', 2, 'and no worker comes in its place');
sql(q(SELECT wf_terminate('stuck 1'), wf_terminate('stuck 2')));

#
# Roles take turns
#

$node->append_conf('postgresql.conf', "workflow_interrupt.max_workers = 1\nworkflow_interrupt.worker_idle_timeout = '10ms'");
$node->reload;
wait_until($node, q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt worker'), 'room for one worker');
foreach my $roles ([ 'ann', 'bob' ], [ 'bob', 'ann' ])
{
	my ($busy, $other) = @$roles;

	activity($busy, "busy_$busy", q[BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END]);
	activity($other, "of_$other", $whoami);
	sql("SELECT test.act('busy $busy ' || i, 'busy_$busy') FROM generate_series(1, 200) i");
	wait_until($node, qq(SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = '$busy' AND wait_event = 'PgSleep')), "$busy has it");
	is(attempt("turn of $other", "of_$other"), qq(ActivityTaskCompleted ["$other", "$other"]), "$other gets a turn");
	cmp_ok(sql(qq(SELECT count(*) FROM wf.activity WHERE activity_type = 'busy_$busy')), '>', 0, "... before $busy is done");
	sql(qq(SELECT wf_terminate(workflow_id) FROM wf.execution WHERE workflow_id ~ '^busy' AND status = 'Running'));
}
$node->append_conf('postgresql.conf', "workflow_interrupt.max_workers = 6\nworkflow_interrupt.worker_idle_timeout = '1h'");
$node->reload;

#
# What a local activity wrote cannot be committed
#

sql(q[
	CREATE TABLE bob.parent (id int PRIMARY KEY);
	CREATE TABLE bob.child (id int REFERENCES bob.parent DEFERRABLE INITIALLY DEFERRED);
	ALTER TABLE bob.parent OWNER TO bob;
	ALTER TABLE bob.child OWNER TO bob;
	SET ROLE bob;
	CREATE FUNCTION bob.flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_local_activity('insert'); END $$;
	SELECT wf_register_workflow('orphan', 'bob.flow(jsonb)');
]);
activity('bob', 'insert', q[BEGIN INSERT INTO bob.child VALUES (1); RETURN '"done"'; END]);
sql(q(SELECT wf_start('orphan', 'orphan', task_timeout => '1s')));
wait_until($node, q(SELECT EXISTS (SELECT FROM wf_history('orphan') WHERE event_type = 'WorkflowTaskFailed' AND attributes #>> '{failure,type}' = '23503')),
	'the workflow task fails, and its history says why');
sql(q(INSERT INTO bob.parent VALUES (1)));
wait_until($node, q(SELECT EXISTS (SELECT FROM wf_history('orphan') WHERE event_type = 'WorkflowExecutionCompleted')), '... and it goes on when that is mended');
is(sql(q(SELECT count(*) FROM bob.child)), 1, '... and was done once');

#
# Databases that are gone leave room for others
#

sql(q(DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format('CREATE ROLE many%s LOGIN', i); END LOOP; END $$));
$offset = -s $node->logfile;
foreach my $database (qw(first second))
{
	sql("CREATE DATABASE $database");
	prepare_database($node, $database);
	$node->safe_psql($database, q[
		CREATE FUNCTION test.whoami(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(current_user)';
		GRANT USAGE ON SCHEMA test TO PUBLIC;
		GRANT EXECUTE ON FUNCTION wf_register_activity TO PUBLIC;
		DO $$
		BEGIN
			FOR i IN 1..200 LOOP
				PERFORM set_config('role', 'many' || i, true);
				PERFORM wf_register_activity('of_many' || i, 'test.whoami(jsonb)');
			END LOOP;
		END $$;
		SELECT test.act('last', 'of_many200'), test.act('first', 'of_many1');
	]);
	ok( $node->poll_query_until($database,
			q(SELECT array_agg(attributes ->> 'result' ORDER BY attributes ->> 'result') = '{many1,many200}' FROM wf.event WHERE event_type = 'ActivityTaskCompleted')),
		"200 roles in the $database database");
	sql("DROP DATABASE $database");
}
unlike(slurp_file($node->logfile, $offset), qr/too many roles/, '... of which the ones do not keep the others out');

is(sql('SELECT * FROM wf_check()'), '', 'histories and state agree');
$node->stop('fast');
done_testing();
