# Launcher and drivers through the life of databases, of the extension, and of
# the server

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WfiTest;

# Nothing must wait for the driver to look around by itself.
my $node = new_node('main', conf => q(
workflow_interrupt.renotify_interval = '1h'
allow_in_place_tablespaces = on
max_worker_processes = 16
restart_after_crash = on
));
my ($ret, $stdout, $stderr);
my ($n, $pid, $old) = (0, 0, 0);

# A driver does its work in a database.
sub works
{
	my ($database, $what) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$n++;
	$node->safe_psql($database, "SELECT wf_start('w$n', 't', start_delay => '0.1s')");
	ok($node->poll_query_until($database,
			"SELECT count(*) = 1 FROM wf.task JOIN wf.execution USING (shard, run_id) WHERE workflow_id = 'w$n'"),
		$what);
}

sub launcher_pid
{
	return $node->safe_psql('postgres',
		q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt launcher'));
}

#
# The extension comes and goes
#

$node->poll_query_until('postgres',
	q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt launcher'));
is(launcher_pid() ne '', 1, 'a launcher');
ok(wait_for_no_driver($node, 'postgres'), 'no driver without the extension');

$node->safe_psql('postgres', 'BEGIN; CREATE EXTENSION workflow_interrupt; ROLLBACK');
$node->safe_psql('postgres', 'CREATE EXTENSION workflow_interrupt');
$pid = wait_for_driver($node, 'postgres');
works('postgres', 'CREATE EXTENSION after the server has started');

$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', 'CREATE EXTENSION workflow_interrupt');
wait_for_driver($node, 'second');
works('second', 'a second database');
is(driver_pid($node, 'postgres'), $pid, 'the first has kept its driver');

for my $round (1 .. 3)
{
	$node->safe_psql('second', 'DROP EXTENSION workflow_interrupt');
	ok(wait_for_no_driver($node, 'second'), "DROP EXTENSION, round $round");
	$node->safe_psql('second', 'CREATE EXTENSION workflow_interrupt');
	works('second', "CREATE EXTENSION again, round $round");
}
for my $round (1 .. 3)
{
	$node->safe_psql('second', 'DROP EXTENSION workflow_interrupt');
	$node->safe_psql('second', 'CREATE EXTENSION workflow_interrupt');
	works('second', "DROP and CREATE EXTENSION at once, round $round");
}
$node->safe_psql('second', 'BEGIN; DROP EXTENSION workflow_interrupt; CREATE EXTENSION workflow_interrupt; COMMIT');
works('second', 'DROP and CREATE EXTENSION in one transaction');
$node->safe_psql('second', 'BEGIN; DROP EXTENSION workflow_interrupt; ROLLBACK');
works('second', 'DROP EXTENSION that was rolled back');

# Nothing has been complained about so far.
unlike(slurp_file($node->logfile), qr/(?:ERROR|FATAL):.*\n.*workflow|terminating background worker|does not exist/,
	'nothing in the log');

#
# Commands that want a database for themselves
#

$old = driver_pid($node, 'second');
$node->safe_psql('postgres', 'ALTER DATABASE second RENAME TO renamed');
wait_for_driver($node, 'renamed', $old);
works('renamed', 'ALTER DATABASE RENAME');

$old = driver_pid($node, 'renamed');
$node->safe_psql('postgres', 'BEGIN; ALTER DATABASE renamed RENAME TO other; ROLLBACK');
wait_for_driver($node, 'renamed', $old);
works('renamed', 'ALTER DATABASE RENAME that was rolled back');

foreach my $strategy (qw(wal_log file_copy))
{
	$old = driver_pid($node, 'renamed');
	$node->safe_psql('postgres', "CREATE DATABASE $strategy TEMPLATE renamed STRATEGY $strategy");
	wait_for_driver($node, 'renamed', $old);
	works('renamed', "CREATE DATABASE, strategy $strategy: the template");
	wait_for_driver($node, $strategy);
	works($strategy, "CREATE DATABASE, strategy $strategy: the copy");
}

$node->safe_psql('postgres', q(CREATE TABLESPACE elsewhere LOCATION ''));
$old = driver_pid($node, 'renamed');
$node->safe_psql('postgres', 'ALTER DATABASE renamed SET TABLESPACE elsewhere');
wait_for_driver($node, 'renamed', $old);
works('renamed', 'ALTER DATABASE SET TABLESPACE');

# A command that fails after the driver has left
my $s = open_session($node, 'renamed');
$old = driver_pid($node, 'renamed');
($ret, $stdout, $stderr) = $node->psql('postgres', 'ALTER DATABASE renamed RENAME TO postgres');
like($stderr, qr/database "postgres" already exists/, 'ALTER DATABASE RENAME that fails');
wait_for_driver($node, 'renamed', $old);
works('renamed', 'a driver after the failed command');
$s->quit;

# A command of somebody who may not
$old = driver_pid($node, 'renamed');
$node->safe_psql('postgres', 'CREATE ROLE somebody CREATEDB');
foreach my $command ('DROP DATABASE renamed',
	'ALTER DATABASE renamed RENAME TO x',
	'ALTER DATABASE renamed SET TABLESPACE pg_default',
	'CREATE DATABASE x TEMPLATE renamed')
{
	($ret, $stdout, $stderr) = $node->psql('postgres', "SET ROLE somebody;\n$command");
	like($stderr, qr/must be owner|permission denied/, "refused: $command");
}
is(driver_pid($node, 'renamed'), $old, 'without any effect on the driver');

# A template has no driver, nor has a database nobody may connect to.
$node->safe_psql('postgres', 'ALTER DATABASE renamed IS_TEMPLATE true');
ok(wait_for_no_driver($node, 'renamed'), 'IS_TEMPLATE true');
$node->safe_psql('postgres', 'ALTER DATABASE renamed IS_TEMPLATE false');
wait_for_driver($node, 'renamed');
works('renamed', 'IS_TEMPLATE false');
$node->safe_psql('postgres', 'ALTER DATABASE renamed ALLOW_CONNECTIONS false');
ok(wait_for_no_driver($node, 'renamed'), 'ALLOW_CONNECTIONS false');
$node->safe_psql('postgres', 'ALTER DATABASE renamed ALLOW_CONNECTIONS true');
wait_for_driver($node, 'renamed');

my $offset = -s $node->logfile;
foreach my $database (qw(renamed wal_log file_copy))
{
	$node->safe_psql('postgres', "DROP DATABASE $database");
	pass("DROP DATABASE $database");
}
$node->safe_psql('postgres', 'CREATE DATABASE brief');
$node->safe_psql('brief', 'CREATE EXTENSION workflow_interrupt');
$node->safe_psql('postgres', 'DROP DATABASE brief');
pass('DROP DATABASE while a driver may be starting');
$node->safe_psql('postgres', 'CREATE DATABASE brief');
$node->safe_psql('brief', 'CREATE EXTENSION workflow_interrupt');
wait_for_driver($node, 'brief');
works('brief', 'a database of the same name');
$node->safe_psql('postgres', 'DROP DATABASE brief WITH (FORCE)');
unlike(slurp_file($node->logfile, $offset), qr/FATAL:|terminating/, 'drivers have left quietly');

#
# The setting that stops it all
#

$node->append_conf('postgresql.conf', 'workflow_interrupt.enabled = off');
$node->reload;
ok(wait_for_no_driver($node, 'postgres'), 'enabled = off');
$node->safe_psql('postgres', q(SELECT wf_start('resting', 't', start_delay => '0.01s')));
$node->adjust_conf('postgresql.conf', 'workflow_interrupt.enabled', 'on');
$node->reload;
wait_for_driver($node, 'postgres');
ok($node->poll_query_until('postgres',
		q(SELECT count(*) = 1 FROM wf.task JOIN wf.execution USING (shard, run_id) WHERE workflow_id = 'resting')),
	'enabled = on');

#
# Processes end, the server restarts
#

$node->safe_psql('postgres', q(SELECT wf_start('restart', 't', start_delay => '0.5s')));
$node->restart;
ok($node->poll_query_until('postgres',
		q(SELECT count(*) = 1 FROM wf.task JOIN wf.execution USING (shard, run_id) WHERE workflow_id = 'restart')),
	'what was due before a restart of the server happens after it');

$pid = wait_for_driver($node, 'postgres');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for_driver($node, 'postgres', $pid);
works('postgres', 'a driver that was terminated');

$pid = driver_pid($node, 'postgres');
my $launcher = launcher_pid();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'workflow_interrupt launcher' AND pid <> $launcher");
is(driver_pid($node, 'postgres'), $pid, 'a launcher that was terminated: the driver stays');
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', 'CREATE EXTENSION workflow_interrupt');
wait_for_driver($node, 'second');
works('second', 'its successor starts drivers');
is(driver_pid($node, 'postgres'), $pid, 'and has not touched the others');

# When a process crashes, the server restarts them all.
$pid = driver_pid($node, 'postgres');
$node->safe_psql('postgres', q(SELECT wf_start('crash', 't', start_delay => '0.5s')));
$offset = -s $node->logfile;
kill(9, $pid);
$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
# without a query, as a psql that cannot connect would not read it
ok($node->poll_query_until('postgres', undef, ''), 'the server is back');
ok($node->poll_query_until('postgres',
		q(SELECT count(*) = 1 FROM wf.task JOIN wf.execution USING (shard, run_id) WHERE workflow_id = 'crash')),
	'kill -9 of a driver');
wait_for_driver($node, 'postgres', $pid);
wait_for_driver($node, 'second');
works('second', 'after kill -9');
check_sound($node);
$node->stop;

#
# No room for drivers
#

# The launcher takes one of the slots, logical replication another.
my $small = new_node('small', conf => q(
workflow_interrupt.renotify_interval = '1h'
max_worker_processes = 3
));
$small->safe_psql('postgres', 'CREATE EXTENSION workflow_interrupt');
wait_for_driver($small, 'postgres');
$small->safe_psql('postgres', 'CREATE DATABASE second');
$small->safe_psql('second', 'CREATE EXTENSION workflow_interrupt');
$small->wait_for_log(qr/out of background worker slots for workflow_interrupt.*HINT:  You might need to increase (?:"?)max_worker_processes/s);
$small->safe_psql('second', q(SELECT wf_start('w', 't', start_delay => '0.01s')));
ok($small->poll_query_until('second', q(SELECT count(*) = 1 FROM wf_poll_workflow_task('default'))),
	'polling fires what is due in a database without a driver');
$small->safe_psql('postgres', 'DROP EXTENSION workflow_interrupt');
wait_for_driver($small, 'second');
pass('a slot that gets free is used');
my $count = () = slurp_file($small->logfile) =~ /out of background worker slots/g;
is($count, 1, 'said only once');
check_sound($small);
$small->stop;

done_testing();
