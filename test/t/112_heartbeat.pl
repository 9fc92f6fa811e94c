# Heartbeats in shared memory: when they come into the table, what they cost,
# and what becomes of them when the server crashes

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use WfiTest;

my $node = new_node('main', conf => q(
	wal_level = replica
	max_wal_senders = 1
	max_prepared_transactions = 1
	track_commit_timestamp = on
));
$node->safe_psql('postgres', 'CREATE EXTENSION workflow_interrupt');
wait_for_driver($node, 'postgres');

sub sql
{
	return $node->safe_psql('postgres', @_);
}

# Starts a workflow and its activity, both of that name; returns the token.
sub started
{
	my ($id, $options) = @_;

	$options //= '{}';
	return sql(qq(
		SELECT FROM wf_start('$id', 'type', task_queue => '$id');
		SELECT FROM wf_poll_workflow_task('$id') t, wf_respond_workflow_task_completed(task_token, jsonb_build_array(
			'{"command_type": "ScheduleActivityTask", "activity_type": "type", "start_to_close_timeout": "3600s"}'::jsonb
			|| '{"activity_id": "$id"}' || '$options'));
		SELECT task_token FROM wf_poll_activity_task('$id')));
}

# A heartbeat; what it is told.
sub beat
{
	my ($token, $details) = @_;

	return sql("SELECT wf_heartbeat('$token', '$details')");
}

# Of what kind an error is, or that there is none.
sub sqlstate
{
	my ($query, $database) = @_;
	my ($status, $out, $err) =
	  $node->psql($database // 'postgres', "\\set VERBOSITY sqlstate\n$query");

	return $err =~ /ERROR:  (\w+)/ ? $1 : "no error, $out";
}

# The pending activities of a workflow, in the table.
sub pending
{
	my ($id) = @_;

	return "FROM wf.activity JOIN wf.execution USING (shard, run_id) WHERE workflow_id = '$id'";
}

sub details
{
	my ($id) = @_;

	return sql('SELECT heartbeat_details ' . pending($id));
}

sub wait_for
{
	my ($name, $query) = @_;

	ok($node->poll_query_until('postgres', $query), $name);
}

sub wait_for_details
{
	my ($id, $details) = @_;

	wait_for("$id: $details is in the table", "SELECT heartbeat_details = '$details' " . pending($id));
}

# How many WAL records many heartbeats of an attempt write.
sub wal_records
{
	my ($token, $details) = @_;
	my $plan = sql(qq(EXPLAIN (ANALYZE, WAL, FORMAT JSON)
		SELECT wf_heartbeat('$token', $details) FROM generate_series(1, 1000) i));

	return $plan =~ /"WAL Records": (\d+)/ ? $1 : $plan;
}

#
# Into the table by itself, within about a second
#

my $token = started('a');
my @times;
foreach my $i (1 .. 3)
{
	is(beat($token, $i), '(f,f,f)', 'heartbeat');
	wait_for_details('a', $i);
	push @times, sql('SELECT extract(epoch FROM pg_xact_commit_timestamp(activity.xmin) - last_heartbeat_time) ' . pending('a'));
}
@times = sort { $a <=> $b } @times;
cmp_ok($times[1], '<', 5, 'normally soon');
diag(sprintf('heartbeat until it is in the table: %.2f, %.2f, %.2f s', @times));
is(sql('SELECT count(*) FROM wf_history(\'a\') WHERE event_type::text LIKE \'Activity%\''),
	'1', 'no event comes of it');

#
# It writes nothing, and waits for nobody's disk: here no commit that has to
# wait for its WAL comes to an end
#

is(wal_records($token, 'to_jsonb(i)'), '0', 'no WAL');
cmp_ok(wal_records($token, 'to_jsonb(repeat(i::text, 2000))'),
	'>', 999, 'unless the details are long');
is(wal_records($token, 'to_jsonb(i)'), '0', 'and none after them');

$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
$node->reload;
wait_for('no standby answers', q(SELECT current_setting('synchronous_standby_names') = 'nobody'));
is(beat($token, '"waits for nothing"'), '(f,f,f)', 'heartbeat waits for no commit');
wait_for_details('a', '"waits for nothing"');
my $waiting = $node->background_psql('postgres');
$waiting->query_until(qr/^$/, "SELECT wf_pause_activity('a', 'a');\n\\echo committed\n");
wait_for('whereas another transaction waits',
	q(SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'));
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$node->reload;
$waiting->query_until(qr/committed/, '');
$waiting->quit;
is(beat($token, '5'), '(f,t,f)', 'the first one after the commit tells');
is(sql(q(SELECT wf_unpause_activity('a', 'a'))), 't', 'unpaused');
is(beat($token, '6'), '(f,f,f)', 'again the first one tells');

#
# Somebody who keeps an activity locked does not keep others from being stored
#

my $locked = started('locked');
my $free = started('free');
my $session = open_session($node);
my $log_start = -s $node->logfile;
$session->query_safe(q(BEGIN; SELECT wf_pause_activity('locked', 'locked')));
is(beat($locked, '1'), '(f,f,f)', 'a heartbeat does not wait for an open transaction');
is(beat($free, '1'), '(f,f,f)', 'heartbeat');
wait_for_details('free', '1');
is(beat($locked, '2'), '(f,f,f)', 'nor does the next one');
is(beat($free, '2'), '(f,f,f)', 'heartbeat');
wait_for_details('free', '2');
is(details('locked'), '', 'the other is not in the table');
$session->query_safe('COMMIT');
wait_for_details('locked', '2');
is(beat($locked, '3'), '(f,t,f)', 'and knows now');
unlike(slurp_file($node->logfile, $log_start), qr/ERROR/, 'the driver has no trouble');

# A prepared one: nobody can tell how it ends, so the heartbeat waits.
foreach my $end ('COMMIT', 'ROLLBACK')
{
	my $prepared = started("prepared $end");

	$session->query_safe(qq(BEGIN; SELECT wf_pause_activity('prepared $end', 'prepared $end'); PREPARE TRANSACTION 'p'));
	my $beating = $node->background_psql('postgres');
	$beating->query_until(qr/^$/, "SELECT wf_heartbeat('$prepared', '1');\n\\echo told\n");
	wait_for("$end PREPARED: heartbeat waits", q(SELECT count(*) = 1 FROM pg_stat_activity
		WHERE wait_event_type = 'Lock' AND query LIKE '%wf_heartbeat%' AND pid <> pg_backend_pid()));
	$session->query_safe("$end PREPARED 'p'");
	like($beating->query_until(qr/told/, ''), $end eq 'COMMIT' ? qr/\(f,t,f\)/ : qr/\(f,f,f\)/, 'and tells the outcome');
	$beating->quit;
	is(wal_records($prepared, 'to_jsonb(i)'), '0', 'the next ones write no WAL again');
}
$session->quit;

#
# The end of an attempt
#

$token = started('retry', '{"retry_policy": {"initial_interval": "0.001s"}}');
my ($next, $carried) = split /\|/, sql(qq(
	SELECT FROM wf_heartbeat('$token', '1');
	SELECT FROM wf_heartbeat('$token', '2');
	SELECT FROM wf_respond_activity_task_failed('$token', '{"message": "m"}');
	DO \$\$ BEGIN
		WHILE NOT EXISTS (SELECT FROM wf.task WHERE kind = 'a' AND task_queue = 'retry') LOOP
			COMMIT;
		END LOOP;
	END \$\$;
	SELECT task_token, heartbeat_details FROM wf_poll_activity_task('retry')));
is($carried, '2', 'the next attempt gets the last details');
is(sqlstate("SELECT wf_heartbeat('$token', '3')"), 'WF005', 'heartbeat of the last attempt');
is(beat($next, '4'), '(f,f,f)', 'and of this one');
wait_for_details('retry', '4');

#
# The server crashes
#

my $alive = started('alive', '{"heartbeat_timeout": "3000s"}');
my $paused = started('paused');
my $dead = started('dead', '{"heartbeat_timeout": "5s", "retry_policy": {"initial_interval": "0.001s"}}');
my $flushed = beat($dead, '"flushed"') . beat($alive, '"flushed"');
is($flushed, '(f,f,f)(f,f,f)', 'heartbeats');
is(sql(q(SELECT wf_pause_activity('paused', 'paused'))), 't', 'paused');
wait_for_details($_, '"flushed"') foreach 'dead', 'alive';
# the driver does not wait for the disk; whoever does, takes its WAL along
sql(q(SELECT FROM pg_logical_emit_message(true, 'test', 'flush')));
beat($alive, '"later"');
$node->stop('immediate');
$node->start;
like(details('alive'), qr/^"(flushed|later)"$/, 'the last details that were flushed are there');
wait_for_driver($node, 'postgres');
is(beat($paused, '1'), '(f,t,f)', 'what was told is not forgotten');
is(beat($alive, '"again"'), '(f,f,f)', 'an old token is still good');
is(details('alive'), '"again"', 'its first heartbeat went to the table');
is(wal_records($alive, 'to_jsonb(i)'), '0', 'and only the first');
is(sql(q(SELECT wf_pause_activity('alive', 'alive'))), 't', 'paused');
is(beat($alive, '1'), '(f,t,f)', 'which is told');
wait_for('dead: has timed out', 'SELECT attempt = 2 AND dispatched ' . pending('dead'));
is(sql(q(SELECT attempt, heartbeat_details FROM wf_poll_activity_task('dead'))),
	'2|"flushed"', 'the next attempt gets what was flushed');
is(sqlstate("SELECT wf_heartbeat('$dead')"), 'WF005', 'its old token is not good any more');

#
# Without a driver everything goes to the table
#

beat($alive, '"with"');
$node->append_conf('postgresql.conf', 'workflow_interrupt.enabled = off');
$node->reload;
wait_for_no_driver($node, 'postgres');
is(beat($alive, '"without"'), '(f,t,f)', 'no driver');
is(details('alive'), '"without"', 'it is in the table at once');
$node->append_conf('postgresql.conf', 'workflow_interrupt.enabled = on');
$node->reload;
wait_for_driver($node, 'postgres');
is(details('alive'), '"without"', 'the driver brings nothing older');
is(wal_records($alive, 'to_jsonb(i)'), '0', 'shared memory is used again');

#
# Another database knows no attempts of this one; nor does another life of the
# extension
#

sql('CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION workflow_interrupt');
is(sqlstate("SELECT wf_heartbeat('$alive')", 'other'), 'WF005', 'token of another database');
sql('DROP EXTENSION workflow_interrupt');
wait_for_no_driver($node, 'postgres');
sql('CREATE EXTENSION workflow_interrupt');
wait_for_driver($node, 'postgres');
is(sqlstate("SELECT wf_heartbeat('$alive')"), 'WF005', 'token of an earlier life of the extension');

check_sound($node);
$node->stop;
done_testing();
