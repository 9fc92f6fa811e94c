# Notifications: deferred, transactional, off; and who hears what when

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WfiTest;

# Unclaimed tasks are not announced again while we count.
my $node = new_node('main', conf => q(
max_prepared_transactions = 5
workflow_interrupt.renotify_interval = '1h'
));
my ($stdout, $stderr, $ret);
my $n = 0;

# SQL that starts a workflow of an id of its own, with a task on a queue.
sub start
{
	my ($queue) = @_;
	$n++;
	return "SELECT wf_start('w$n', 't', task_queue => \$q\$$queue\$q\$)";
}

# The queues in notices, in order.
sub queues
{
	return join ' ', map { $_->[1] =~ /"task_queue":"(.*?)"/ } @_;
}

$node->safe_psql('postgres', 'CREATE EXTENSION workflow_interrupt');
my $driver = wait_for_driver($node, 'postgres');
my $l = listener($node, 'postgres', qw(q other end prepared));
my $s = open_session($node);

#
# Deferred, the default
#

is($s->query_safe('SHOW workflow_interrupt.notify'),
	'deferred', 'deferred is the default');

$s->query_safe(start('q'));
my @notices = wait_for_notice($l, 'q');
is($notices[0]->[0], 'wf_workflow_q', 'channel of a queue');
my $pid = $s->query_safe('SELECT pg_backend_pid()');
ok($notices[0]->[2] == $driver || $notices[0]->[2] == $pid,
	'the transaction has sent it, or the driver if there was one just before');
is($notices[0]->[1],
	'{"task_queue":"q","shard":' . $node->safe_psql('postgres', "SELECT wf.shard_of('default', 'w$n')") . '}',
	'payload of a queue');

# More than a few at once are the driver's.
$s->query_safe('BEGIN; '
	  . join('; ', map { start($_) } qw(q other end prepared five six))
	  . '; COMMIT');
@notices = wait_for_notice($l, 'q');
push @notices, wait_for_notice($l, $_)
  for grep { my $q = $_; !grep { $_->[1] =~ /"$q"/ } @notices } qw(other end prepared);
is_deeply([ grep { $_->[2] != $driver } @notices ],
	[], 'the driver has sent the notices of a transaction with many');

# Nothing before the commit.  A mark is announced after all that was committed
# before, so it shows that this queue had its time.
$s->query_safe('BEGIN');
$s->query_safe(start('q'));
$node->safe_psql('postgres', mark('other'));
is(queues(wait_for_notice($l, 'other')), 'other', 'no notice before commit');
$s->query_safe('COMMIT');
is(queues(wait_for_notice($l, 'q')), 'q', 'notice after commit');

# Nothing about what was rolled back.
$s->query_safe('BEGIN');
$s->query_safe(start('q'));
$s->query_safe('ROLLBACK');
$s->query_safe(mark('end'));
is(queues(wait_for_notice($l, 'end')), 'end', 'no notice after ROLLBACK');

$s->query_safe('BEGIN');
$s->query_safe('SAVEPOINT a');
$s->query_safe(start('q'));
$s->query_safe('ROLLBACK TO a');
$s->query_safe(start('other'));
$s->query_safe('COMMIT');
is(queues(wait_for_notice($l, 'other')), 'other', 'no notice after ROLLBACK TO');

$s->query_safe('BEGIN');
$s->query_safe('SAVEPOINT a');
$s->query_safe('SAVEPOINT b');
$s->query_safe(start('q'));
$s->query_safe('RELEASE b');
$s->query_safe(start('other'));
$s->query_safe('ROLLBACK TO a');
$s->query_safe('SAVEPOINT c');
$s->query_safe('SAVEPOINT d');
$s->query_safe(start('end'));
$s->query_safe('RELEASE c');
$s->query_safe('COMMIT');
is(queues(wait_for_notice($l, 'end')), 'end', 'savepoints released and rolled back');

$s->query_safe('BEGIN');
$s->query_safe(start('q'));
$s->query_safe('SAVEPOINT a');
$s->query_safe(start('q'));
$s->query_safe('ROLLBACK TO a');
$s->query_safe('COMMIT');
is(queues(wait_for_notice($l, 'q')), 'q', 'marked outside, rolled back inside');

$s->query_safe(q(
DO $$
BEGIN
	FOR i IN 1 .. 100 LOOP
		BEGIN
			PERFORM wf_start('exception ' || i, 't', task_queue => 'q');
			PERFORM 1 / 0;
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
		BEGIN
			PERFORM wf_start('exception ' || i, 't', task_queue => 'other');
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
	END LOOP;
END $$));
$s->query_safe(mark('end'));
is(queues(wait_for_notice($l, 'end')), 'other end', 'exception blocks');

# Many tasks on one queue in one transaction are one notice, about no shard in
# particular.
$s->query_safe("SELECT wf_start('many ' || i, 't', task_queue => 'q') FROM generate_series(1, 1000) i");
$s->query_safe(mark('end'));
@notices = wait_for_notice($l, 'end');
is(queues(@notices), 'q end', 'one notice for many tasks');
is($notices[0]->[1], '{"task_queue":"q","shard":null}', 'which are in several shards');

# Many transactions, too: at once for the first, then once in a while by a
# transaction, and by the driver.
$node->append_conf('postgresql.conf', "workflow_interrupt.notify_interval = '1s'");
$node->reload;
$node->poll_query_until('postgres', q(SELECT current_setting('workflow_interrupt.notify_interval') = '1s'));
my $begin = time;
$s->query_safe(start('q')) for 1 .. 50;
$s->query_safe(mark('end'));
@notices = wait_for_notice($l, 'end');
cmp_ok(scalar(@notices), '<', 6 + 2 * (time - $begin), 'notices about one queue coalesce');
$node->adjust_conf('postgresql.conf', 'workflow_interrupt.notify_interval', "'5ms'");
$node->reload;
$node->poll_query_until('postgres', q(SELECT current_setting('workflow_interrupt.notify_interval') = '5ms'));

# PREPARE TRANSACTION works.  Nobody can know when it will be committed, so
# its tasks will be announced when they have waited for a while, see below.
$s->query_safe('BEGIN');
$s->query_safe(start('prepared'));
$s->query_safe(q(PREPARE TRANSACTION 'p'));
$s->query_safe(mark('end'));
is(queues(wait_for_notice($l, 'end')), 'end', 'PREPARE TRANSACTION');

# Names that need escaping, and names that are long.
foreach my $name ('a "b" \\ c', '_x', "a\tb", 'UPPER', 'x' x 52, 'x' x 400,
	"\x01" x 1000, "\xc3\xa9" x 1000)
{
	my $listener = listener($node, 'postgres', $name);

	$s->query_safe(start($name));
	my $payload = (wait_for_notice($listener))[-1]->[1];
	$payload =~ s/'/''/g;
	is($node->safe_psql('postgres', "SELECT '$payload'::jsonb ->> 'task_queue' = \$q\$$name\$q\$"),
		't', 'payload of a queue with a name of ' . length($name) . ' bytes');
	$listener->{psql}->quit;
}

#
# Transactional
#

$s->query_safe('SET workflow_interrupt.notify = transactional');
$pid = $s->query_safe('SELECT pg_backend_pid()');
$s->query_safe(start('end'));
@notices = wait_for_notice($l, 'end');
is($notices[-1]->[2], $pid, 'transactional: the session itself has sent it');

$s->query_safe('BEGIN');
$s->query_safe(start('q'));
$s->query_safe('SAVEPOINT a');
$s->query_safe(start('other'));
$s->query_safe('ROLLBACK TO a');
$s->query_safe('COMMIT');
$s->query_safe(start('end'));
is(queues(wait_for_notice($l, 'end')), 'q end', 'transactional: subtransactions');

($ret, $stdout, $stderr) = $node->psql('postgres',
	'SET workflow_interrupt.notify = transactional; BEGIN;' . start('q') . q(; PREPARE TRANSACTION 'other'));
like($stderr, qr/cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY/,
	'transactional: PREPARE TRANSACTION is refused');

#
# Off
#

$s->query_safe('SET workflow_interrupt.notify = off');
$s->query_safe(start('q'));
$s->query_safe('RESET workflow_interrupt.notify');
$s->query_safe(mark('end'));
is(queues(wait_for_notice($l, 'end')), 'end', 'off: no notice');

#
# Queues that are announced although nobody marked them.  From here on there
# can be more notices than asked for.
#

# Again deferred; more queues than fit into shared memory.
my %listeners = map { $_ => listener($node, 'postgres', $_) } qw(m1 m1500 m3000);
$s->query_safe("SELECT wf_start('queue ' || i, 't', task_queue => 'm' || i) FROM generate_series(1, 3000) i");
foreach my $queue (sort keys %listeners)
{
	wait_for_notice($listeners{$queue}, $queue);
	pass("notice about queue $queue of many");
	$listeners{$queue}->{psql}->quit;
}

# The tasks that were prepared
$s->query_safe(q(COMMIT PREPARED 'p'));
$node->append_conf('postgresql.conf', "workflow_interrupt.renotify_interval = '200ms'");
$node->reload;
@{ $l->{seen} } = ();
for (1 .. 3)
{
	@notices = wait_for_notice($l, 'prepared');
	is($notices[-1]->[2], $driver, 'tasks that nobody claims are announced by the driver');
}

$s->quit;
$l->{psql}->quit;

#
# Not preloaded: transactional
#

my $plain = PostgreSQL::Test::Cluster->new('plain');
$plain->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$plain->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$plain->start;
$plain->safe_psql('postgres', 'CREATE EXTENSION workflow_interrupt');
is($plain->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'workflow_interrupt%')),
	'0', 'not preloaded: no background process');

$l = listener($plain, 'postgres', qw(q end));
$s = open_session($plain);
$pid = $s->query_safe('SELECT pg_backend_pid()');
$s->query_safe('BEGIN');
$s->query_safe(start('q'));
$s->query_safe('ROLLBACK');
$s->query_safe(start('end'));
@notices = wait_for_notice($l, 'end');
is(queues(@notices), 'end', 'not preloaded: a notice after the commit only');
is($notices[0]->[2], $pid, 'not preloaded: the session itself has sent it');
($ret, $stdout, $stderr) = $plain->psql('postgres', 'BEGIN;' . start('q') . q(; PREPARE TRANSACTION 'p'));
like($stderr, qr/cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY/,
	'not preloaded: PREPARE TRANSACTION is refused');
($ret, $stdout, $stderr) = $plain->psql('postgres',
	q(CREATE FUNCTION f(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1'; SELECT wf_register_workflow('f', 'f(jsonb)')));
like($stderr, qr/NOTICE:  no background worker will run function public\.f\(jsonb\)\nDETAIL:  The library is not in shared_preload_libraries\./,
	'not preloaded: who registers a function is told');
($ret, $stdout, $stderr) = $plain->psql('postgres', 'DROP EXTENSION workflow_interrupt');
is($ret, 0, 'not preloaded: DROP EXTENSION');
$s->quit;
$l->{psql}->quit;

check_sound($node);
$node->stop;
check_sound($plain);
$plain->stop;
done_testing();
