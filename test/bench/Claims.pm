# Activities that pollers take from a queue of a million.
#
# What is the floor of a poll?  A queue alone could do no better than to DELETE
# by primary key a row that nobody else wants.  But a poll also locks the run,
# marks the activity as started, reads its input and makes a token; a statement
# that only deletes is no measure of that.  So the floor does all of it, for a
# task it is told: the twin's poll (claims.sql) with keys that are disjoint,
# hence without search, without dead entries, without contention.  There are
# two, in PL/pgSQL and as one statement that the client prepares; the target is
# meant against either.  What the ratio lacks to 1, is what it costs us to
# find a task, plus what we do worse than plain SQL, minus what we do better.
# The bare DELETE is shown as well, and how much of a poll's instructions are
# the claim.
#
# With an old snapshot about, dead entries stay at the head of the queue.  The
# base is then the twin's poll with FOR UPDATE SKIP LOCKED, all of it again.

package Claims;

use strict;
use warnings;

use IPC::Open2;
use List::Util qw(sum);

use Bench;
use Instructions;
use Server;
use Slices;

my $rounds = number_of('ROUNDS', $quick ? 3 : 7);
my $tasks = $quick ? 200_000 : 1_000_000;
my $old_tasks = $tasks / 10;	# claimed after the old snapshot was taken
my $clients = 8;

my $queue;						# the number of the queue
my $poll = "wf_poll_activity_task('claims', identity => 'worker')";

# The same as twin.poll(), by key, in one statement.
sub poll_statement
{
	return "WITH task AS (
		DELETE FROM twin.task WHERE queue_id = $queue AND task_id = :id
		RETURNING shard, run_id, scheduled_event_id, attempt
	), run AS (
		SELECT e.shard, e.run_id, e.workflow_id, e.workflow_type, e.last_event_time,
			gen_random_uuid() AS secret
		FROM task t JOIN twin.execution e ON e.shard = t.shard AND e.run_id = t.run_id
		WHERE e.status = 'Running'
		FOR NO KEY UPDATE OF e SKIP LOCKED
	), started AS (
		UPDATE twin.activity a SET
			state = 'Started',
			started_time = greatest(clock_timestamp(), r.last_event_time),
			token = encode(substr(sha256(uuid_send(r.secret)), 1, 16), 'hex')::uuid,
			identity = 'worker',
			last_worker_identity = 'worker'
		FROM task t, run r
		WHERE a.shard = t.shard AND a.run_id = t.run_id AND a.scheduled_event_id = t.scheduled_event_id
			AND a.attempt = t.attempt AND a.started_time IS NULL AND NOT a.paused
		RETURNING a.*
	)
	SELECT format('a1.%s.%s.%s.%s.%s.%s', a.shard, a.run_id, a.scheduled_event_id, 0, a.attempt, r.secret),
		r.workflow_id, r.run_id, r.workflow_type, a.activity_id, a.activity_type, a.attempt,
		e.attributes -> 'input', a.heartbeat_details, a.first_scheduled_time, a.started_time,
		a.schedule_to_close_timeout, a.start_to_close_timeout, a.heartbeat_timeout
	FROM started a, run r, twin.event e
	WHERE e.shard = a.shard AND e.run_id = a.run_id AND e.event_id = a.scheduled_event_id;";
}

# Both sides have the same queue, and their polls write the same rows.
sub make_queue
{
	Server::make_database('claims');
	progress("claims: making $tasks tasks");
	run_file('claims.sql');
	sql("SELECT twin.fill_queue($tasks, $tasks / 100)", 'VACUUM ANALYZE', 'CHECKPOINT');
	$queue = sql('SELECT queue_id FROM wf.task LIMIT 1');
	sql("SELECT count(*) FROM $poll", "SELECT count(*) FROM twin.poll($queue, identity => 'worker')",
		"SELECT twin.check('run-1')");
	return;
}

# The ways to take tasks; those by key have a part of the twin's queue of
# their own.
sub variants
{
	my %more = (clients => $clients);

	return (
		poll => Slices::variant('poll', "SELECT * FROM $poll;", %more),
		batch => Slices::variant('poll-10', 'SELECT * FROM ' . $poll =~ s/,/, 10,/r . ';', %more, calls => 10),
		skip => Slices::variant('skip-locked', "SELECT * FROM twin.poll($queue, identity => 'worker');", %more),
		plpgsql => Slices::variant('by-key-plpgsql', "SELECT * FROM twin.poll($queue, :id, identity => 'worker');",
			%more, next => $tasks * 0.35),
		sql => Slices::variant('by-key-sql', poll_statement(), %more, next => $tasks * 0.6),
		delete => Slices::variant('delete', "DELETE FROM twin.task WHERE queue_id = $queue AND task_id = :id RETURNING *;",
			%more, next => $tasks * 0.8),
	);
}

# Every call took a task, beside those that were taken without being measured.
sub check
{
	my ($others, %variants) = @_;
	my ($ours, $twins) = ($others, $others);

	$ours += $_->{done} foreach @variants{qw(poll batch)};
	$twins += $_->{done} foreach @variants{qw(skip plpgsql sql delete)};
	foreach ([ wf => $ours ], [ twin => $twins ])
	{
		my ($side, $wanted) = @$_;
		my $taken = $tasks - sql("SELECT count(*) FROM $side.task");

		die "bench: $wanted calls took $taken tasks in schema $side\n" if $taken != $wanted;
	}
	my $started = sql('SELECT count(*) FROM wf.activity WHERE started_time IS NOT NULL');
	die "bench: $ours calls started $started activities\n" if $started != $ours;
	return;
}

# Takes tasks from the head of either queue, while the snapshot of another
# session, which is returned, needs them.  On the twin's side it is enough that
# they are dead.
sub grow_old
{
	my $session = open2(my $out, my $in, 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1');
	my $polls = $old_tasks / 1000;

	print $in "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'ready' FROM wf.task LIMIT 1;\n";
	$in->flush;
	die "bench: there is no old snapshot\n" if (<$out> // '') ne "ready\n";
	my $taken = sum(split /\n/, sql(("SELECT count(*) FROM " . $poll =~ s/,/, 1000,/r) x $polls));
	die "bench: $polls polls took $taken tasks instead of $old_tasks\n" if $taken != $old_tasks;
	sql("DELETE FROM twin.task WHERE task_id <
		(SELECT min(task_id) FROM twin.task) + $old_tasks");
	return sub {
		close $in;
		waitpid $session, 0;
	};
}

# Polls against the floors, and in batches.
sub compare_claims
{
	my ($sync, %variants) = @_;
	my ($poll, $batch) = @variants{qw(poll batch)};
	my $report = '';

	$_->{settings}{synchronous_commit} = $sync foreach values %variants;
	Slices::compare("claims, synchronous_commit $sync", $rounds, @variants{ sort keys %variants });
	foreach (
		[ 'rate', 'floor: PL/pgSQL by key', 'plpgsql', 0.85 ],
		[ 'cpu', 'CPU us', 'plpgsql' ],
		[ 'rate', 'floor: one statement by key', 'sql', 0.85 ],
		[ 'cpu', 'CPU us', 'sql' ],
		[ 'rate', 'a DELETE by key that starts nothing', 'delete' ],
		[ 'cpu', 'CPU us', 'delete' ],
		[ 'rate', 'SKIP LOCKED', 'skip' ])
	{
		my ($what, $label, $base, $least) = @$_;
		$report .= Slices::compared($label, $what, $poll, $variants{$base}, $least);
	}
	return $report . Slices::compared('10 at a time, by one', 'rate', $batch, $poll, 2.8) .
	  Slices::compared('CPU us', 'cpu', $batch, $poll);
}

# Polls against those of the twin, when dead entries cannot be removed.
sub compare_old
{
	my (%variants) = @_;
	my @both = @variants{qw(poll skip)};
	my $release = grow_old();

	$_->{settings}{synchronous_commit} = 'off' foreach @both;
	Slices::compare('claims, old snapshot', $rounds, @both);
	$release->();
	return Slices::compared('SKIP LOCKED', 'rate', @both, 5) . Slices::compared('CPU us', 'cpu', @both);
}

# How much of a poll is the claim: to find a task and to delete it.
sub instructions
{
	return '' unless Instructions::possible();
	my $calls = 40;
	my $mark = "SELECT pg_sleep(0);\n";

	sql('VACUUM wf.task', 'VACUUM twin.task');
	my $key = sql("SELECT min(task_id) FROM twin.task WHERE task_id > $tasks * 0.9");
	my @spans = (
		"EXECUTE nothing('a');\n" x $calls,
		"EXECUTE poll;\n" x $calls,
		join('', map { "EXECUTE del(" . ($key + $_) . ");\n" } 1 .. $calls));

	Server::stop();
	my @files = Instructions::run($Server::data, 'claims', join '',
		"PREPARE nothing(text) AS SELECT twin.nothing(\$1, 'a');\n",
		"PREPARE poll AS SELECT * FROM $poll;\n",
		"PREPARE del(bigint) AS DELETE FROM twin.task WHERE queue_id = $queue AND task_id = \$1 RETURNING *;\n",
		"EXECUTE nothing('a');\n" x 12, "EXECUTE poll;\n" x 12, map({ "EXECUTE del($key - $_);\n" } 1 .. 12),
		map { $mark, $_, $mark } @spans);
	Server::start();
	my ($nothing, $whole, $delete) = map { Instructions::total($files[$_]) / $calls } 1, 3, 5;
	my $claim = Instructions::inclusive($files[3],
		map { "wfi_store_$_" } qw(open_queue next_task delete_task close_queue)) / $calls;

	return heading('Net instructions, thousands', 'claim', 'base') .
	  line('  claim, of a whole poll', map({ sprintf '%.1f', $_ / 1000 } $claim, $whole - $nothing),
		$claim / ($whole - $nothing)) .
	  line('  claim, by a DELETE by key', map({ sprintf '%.1f', $_ / 1000 } $claim, $delete - $nothing),
		$claim / ($delete - $nothing));
}

sub part
{
	my $report = heading("Claims/s of $clients pollers from a queue of $tasks, $rounds round(s)", 'poll', 'base', 'spread');

	make_queue();
	my %variants = variants();
	foreach my $sync ('off', 'on')
	{
		$report .= "synchronous_commit $sync\n" . compare_claims($sync, %variants);
	}
	$report .= "with a snapshot that is $old_tasks claims old\n" . compare_old(%variants);
	check(1 + $old_tasks, %variants);
	return $report . instructions();
}

1;
