# Workflows and activities in SQL, run by the pool of workers.
#
# CPU time: a workflow's code is run from its top at each step, if it has not
# been kept where it waits, so steps may grow dearer.  A single worker runs
# workflows of 2,050 steps; the CPU time per step of all processes of the
# extension around step 2,000 is compared with that around step 100.  The
# workflow calls wf_activity() in an assignment, or in a PERFORM, which costs
# PL/pgSQL more.
#
# Latency: from the commit of a step to the start of the next, of a workflow
# that is alone.  The first is when the server began to write the commit's
# record, as it is kept for the row of the step's last event, so that the
# figure includes the wait for the disk; the second is when the next step's
# function reads the clock.  It is compared with an empty transaction's commit.
# A transaction that has done nothing at all does not commit anything, so it is
# one that has nothing but a record in the WAL, which no table knows of; it is
# a single statement, timed by its client.  The round trips of BEGIN and COMMIT
# with nothing between are shown as well.  The target is about commits that are
# durable; without synchronous_commit they wait for nothing.
#
# Steps per second: of many workflows and 8 workers, whose steps write a row
# each, from the first start to the last close.  The base is what 8 clients
# can commit of such empty transactions.

package Steps;

use strict;
use warnings;

use Bench;
use Server;

my $rounds = number_of('ROUNDS', $quick ? 1 : 5);
my $workers = 8;

my $steps = 2050;				# of a workflow whose CPU time is measured
my @early = (50, 150);
my @late = (1950, 2050);

my $clock_steps = 100;
my $clock_rounds = 3 * $rounds;	# many short ones: the machine may be busy with others
my $workflows = $quick ? 50 : 150;
my $workflow_steps = 20;

my %empty = (
	commit => "SELECT pg_logical_emit_message(true, '', '');\n",
	nothing => "BEGIN;\nCOMMIT;\n",
);

my $made = 0;

sub set
{
	my ($setting, $value) = @_;

	sql("ALTER SYSTEM SET $setting = '$value'", 'SELECT pg_reload_conf()');
	wait_for("SELECT setting = '$value' FROM pg_settings WHERE name = '$setting'");
	return;
}

# Starts so many workflows, and waits until they are done; a pattern of
# their ids.
sub run_workflows
{
	my ($type, $number, $activity, $each) = @_;
	my $name = 'run' . ++$made;

	sql("SELECT count(wf_start('$name-' || i, '$type',
			jsonb_build_object('workflow', '$name-' || i, 'activity', '$activity', 'steps', $each)))
		FROM generate_series(1, $number) i");
	sql('CALL steps.finish()');
	die "bench: a workflow $type did not complete\n"
	  if sql("SELECT count(*) FROM wf.execution WHERE workflow_id LIKE '$name-%' AND status = 'Completed'") != $number;
	return "$name-%";
}

# Microseconds of CPU time per step, early and late.
sub cpu_of
{
	my ($type) = @_;
	my $ids = run_workflows($type, 1, 'meter', $steps);

	return map {
		my ($from, $to) = @$_;
		sql("SELECT (max(ns) - min(ns)) / 1000.0 / ($to - $from) FROM steps.cpu
			WHERE workflow LIKE '$ids' AND step IN ($from, $to)")
	} \@early, \@late;
}

sub cpu
{
	my $report = heading("CPU us per step around step 2,000 and step 100, $rounds workflow(s) each", 'late', 'early', 'spread');
	my %figures;

	set('workflow_interrupt.max_workers_per_role', 1);
	foreach my $round (1 .. $rounds)
	{
		progress("steps, CPU time: round $round/$rounds");
		push @{ $figures{$_} }, [ cpu_of($_) ] foreach qw(assigning performing);
	}
	foreach ([ 'result := wf_activity(...)', 'assigning' ], [ 'PERFORM wf_activity(...)', 'performing' ])
	{
		my ($label, $type) = @$_;
		my @rows = @{ $figures{$type} };
		my @ratios = sort { $a <=> $b } map { $_->[1] / $_->[0] } @rows;

		$report .= line("  $label", map({ my $i = $_; sprintf '%.0f', median(map { $_->[$i] } @rows) } 1, 0),
			median(@ratios), undef, 8, sprintf('%.2f-%.2f', @ratios[ 0, -1 ]));
	}
	return $report;
}

# Microseconds that transactions took, as their client saw them, one by one.
sub times_of
{
	my ($script) = @_;
	my @times;

	run_command('sh', '-c', "rm -f steps.log.* && pgbench -n -M prepared -t $clock_steps -l --log-prefix=steps.log -f $script.sql >/dev/null");
	open my $log, '-|', 'cat steps.log.*' or die "bench: could not read the log: $!\n";
	while (my $line = <$log>)
	{
		push @times, (split / /, $line)[2];
	}
	close $log;
	die "bench: pgbench logged other than $clock_steps transactions\n" if @times != $clock_steps;
	# a virtual machine's clock may stand still
	return grep { $_ > 0 } @times[ 20 .. $#times ];
}

# Microseconds from the commit of a step to the start of the next one.
sub gaps
{
	my $ids = run_workflows('assigning', 1, 'clock', $clock_steps);
	my @gaps = split /\n/, sql("SELECT extract(epoch FROM gap) * 1e6 FROM (
		SELECT event_id, (attributes ->> 'result')::timestamptz
			- lag(pg_xact_commit_timestamp(v.xmin)) OVER (ORDER BY event_id) AS gap
		FROM wf.event v JOIN wf.execution e USING (shard, run_id)
		WHERE workflow_id LIKE '$ids' AND event_type = 'ActivityTaskCompleted') AS step
		WHERE gap IS NOT NULL ORDER BY event_id");

	die "bench: there are other than $clock_steps steps\n" if @gaps != $clock_steps - 1;
	return @gaps[ 20 .. $#gaps ];
}

sub latency
{
	my ($sync) = @_;
	my %times;
	my $report = '';

	foreach my $round (1 .. $clock_rounds)
	{
		progress("steps, latency: round $round/$clock_rounds");
		push @{ $times{gap} }, gaps();
		push @{ $times{$_} }, times_of($_) foreach sort keys %empty;
	}
	foreach my $percent (50, 90, 99)
	{
		foreach ([ 'empty commit', 'commit', $percent == 50 && $sync eq 'on' ? 5 : undef ], [ 'BEGIN; COMMIT', 'nothing' ])
		{
			my ($label, $base, $most) = @$_;
			my ($gap, $time) = map { percentile($percent, @{ $times{$_} }) } 'gap', $base;

			$report .= line("  p$percent, $label", map({ sprintf '%.0f', $_ } $gap, $time), $gap / $time, undef, $most);
		}
	}
	return $report;
}

# Steps per second of all workers.
sub rate
{
	my $ids = run_workflows('assigning', $workflows, 'step', $workflow_steps);
	my $done = sql("SELECT count(*) FROM steps.done WHERE workflow LIKE '$ids'");
	my $all = $workflows * $workflow_steps;

	die "bench: $done steps instead of $all\n" if $done != $all;
	return $all / sql("SELECT extract(epoch FROM max(close_time) - min(start_time)) FROM wf.execution WHERE workflow_id LIKE '$ids'");
}

sub throughput
{
	my ($sync) = @_;
	my (@rates, @bases);

	foreach my $round (1 .. $rounds)
	{
		progress("steps per second: round $round/$rounds");
		push @rates, rate();
		push @bases, pgbench('commit.sql', $workers, $quick ? 250 : 1000, {});
	}
	my @ratios = sort { $a <=> $b } map { $rates[$_] / $bases[$_] } 0 .. $#rates;
	my ($target, $verdict) = judge(median(@rates), 500);

	return line("  synchronous_commit $sync", sprintf('%.0f', median(@rates)), sprintf('%.0f', median(@bases)), median(@ratios),
		undef, undef, sprintf('%.2f-%.2f', @ratios[ 0, -1 ])) =~ s/\n\z/  $target $verdict\n/r;
}

sub part
{
	Server::make_database('steps');
	run_file('steps.sql');
	foreach my $name (keys %empty)
	{
		open my $script, '>', "$name.sql" or die "bench: could not write $name.sql: $!\n";
		print $script $empty{$name};
		close $script;
	}
	sql('ALTER SYSTEM SET max_worker_processes = 20', 'ALTER SYSTEM SET track_commit_timestamp = on',
		'ALTER SYSTEM SET workflow_interrupt.max_workers = 8');
	Server::stop();
	Server::start();

	my $report = cpu();
	my %lines;
	foreach my $sync ('on', 'off')
	{
		set('synchronous_commit', $sync);
		set('workflow_interrupt.max_workers_per_role', 2);
		$lines{latency} .= "synchronous_commit $sync\n" . latency($sync);
		set('workflow_interrupt.max_workers_per_role', $workers);
		$lines{rate} .= throughput($sync);
	}
	sql('ALTER SYSTEM RESET synchronous_commit', 'SELECT pg_reload_conf()');
	return $report .
	  heading("Microseconds from a step's commit to the next step's start", 'step', 'base') . $lines{latency} .
	  heading("Steps/s of $workers workers, empty commits/s of $workers clients", 'steps', 'commits', 'spread') . $lines{rate};
}

1;
