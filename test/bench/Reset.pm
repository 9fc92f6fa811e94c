# Resets of long histories, against an INSERT ... SELECT of the same rows into
# a table with the same primary key.
#
# Both are one statement, in a session of its own that has done the same for a
# short history before.  A figure is CPU time of the backend, user and system.
# A reset does more than to copy: it rebuilds the run's state from the events,
# terminates the run before, and schedules a workflow task.  The rows stay in
# the server (they are counted), or go to the client.  Instructions, of which
# there are no targets, tell how far to trust the times of a busy machine.
#
# Memory is how much the peak of the backend's virtual size grows, which counts
# neither the pages of shared buffers that it meets, nor what it gives back.

package Reset;

use strict;
use warnings;

use IPC::Open2;

use Bench;
use Instructions;
use Server;

my $rounds = number_of('ROUNDS', $quick ? 3 : 15);
my @sizes = (1000, 10_000, 50_000);
my %most = (count => 1.25, rows => 1.3);
my $most_memory = 64;			# MB

my %runs;						# {size}: shard, run_id, point to reset to, id

sub make_runs
{
	Server::make_database('reset');
	run_file('reset.sql');
	foreach my $size (@sizes)
	{
		progress("reset: making a history of $size events");
		my $id = "run-$size";

		sql("CALL twin.make_history('$id', $size)");
		my ($shard, $run_id) = split /\|/, sql("SELECT shard, run_id FROM wf.execution WHERE workflow_id = '$id'");
		my $point = sql("SELECT wf_reset_point('$id', 'LastWorkflowTask')");
		die "bench: \"$id\" has $point events\n" if $point < $size || $point > $size + 10;
		$runs{$size} = { shard => $shard, run_id => $run_id, point => $point, id => $id };
	}
	sql('INSERT INTO twin.event SELECT * FROM wf.event', 'VACUUM ANALYZE');
	return;
}

# What is compared, for a size; the rows are counted or go to the client.
sub statement
{
	my ($side, $how, $size) = @_;
	my $run = $runs{$size};

	if ($side eq 'wf')
	{
		my $reset = "wf_reset('$run->{id}', $run->{point}, run_id => '$run->{run_id}')";
		return $how eq 'count' ? "SELECT count(*) FROM $reset" : "SELECT * FROM $reset";
	}
	return "INSERT INTO twin.event
		SELECT shard, (SELECT gen_random_uuid()), event_id, batch_id, event_time, event_type, attributes
		FROM wf.event WHERE shard = $run->{shard} AND run_id = '$run->{run_id}' AND event_id < $run->{point}"
	  . ($how eq 'count' ? '' : ' RETURNING *');
}

# Milliseconds of CPU time, and megabytes of memory, that a statement takes.
sub measure
{
	my ($side, $how, $size) = @_;
	my $used = "SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1),
		substring(pg_read_file('/proc/self/status') FROM 'VmPeak:\\s*(\\d+)');\n";
	my $psql = open2(my $out, my $in, 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1');

	print $in $used, "\\o /dev/null\n", statement($side, $how, $sizes[0]), ";\n\\o\n", $used,
	  "\\o /dev/null\n", statement($side, $how, $size), ";\n\\o\n", $used;
	close $in;
	chomp(my (undef, $before, $after) = <$out>);
	waitpid $psql, 0;
	die "bench: a statement failed\n" if $? != 0 || !defined $after;
	my ($ns0, $kb0, $ns1, $kb1) = map { split /\|/ } $before, $after;
	return { cpu => ($ns1 - $ns0) / 1e6, memory => ($kb1 - $kb0) / 1024 };
}

# A reset copies what it shall.
sub check
{
	my ($size) = @_;
	my $run = $runs{$size};
	my $columns = 'event_id, event_time, event_type, attributes';
	my $different = sql("WITH base AS (
			SELECT $columns FROM wf.event
			WHERE shard = $run->{shard} AND run_id = '$run->{run_id}' AND event_id < $run->{point}
		), new AS (
			SELECT $columns FROM wf_reset('$run->{id}', $run->{point}, run_id => '$run->{run_id}')
			WHERE event_id < $run->{point}
		)
		SELECT count(*) FROM ((TABLE base EXCEPT ALL TABLE new) UNION ALL (TABLE new EXCEPT ALL TABLE base)) AS d");

	die "bench: a reset made $different rows that differ\n" if $different != 0;
	return;
}

# Instructions of either side where the rows stay in the server, once warm.
sub instructions
{
	return '' unless Instructions::possible();
	my @measured = map { my $size = $_; map { [ $_, $size ] } 'wf', 'twin' } @sizes[ 0, 0, 1 ];
	my $report = "rows counted in the server, millions of instructions\n";

	progress('reset: instructions');
	Server::stop();
	my @files = Instructions::run($Server::data, 'reset', join '', map {
		my ($side, $size) = @$_;
		"SELECT pg_sleep(0);\n" . statement($side, 'count', $size) =~ s/\s+/ /gr . ";\nSELECT pg_sleep(0);\n"
	} @measured);
	Server::start();
	foreach my $i (1, 2)
	{
		my ($ours, $base) = map { Instructions::total($files[ 4 * $i + $_ ]) / 1e6 } 1, 3;
		$report .= line("  $measured[2 * $i][1] events", map({ sprintf '%.1f', $_ } $ours, $base), $ours / $base);
	}
	return $report;
}

sub part
{
	my (%figures, $report);

	make_runs();
	check($sizes[0]);

	my $bytes = sql("SELECT round(avg(pg_column_size(attributes))) FROM wf.event");
	foreach my $round (1 .. $rounds)
	{
		progress("reset: round $round/$rounds");
		sql('CHECKPOINT');		# so that nobody has to write old pages
		foreach my $size (@sizes)
		{
			foreach my $how ('count', 'rows')
			{
				foreach my $side ($round % 2 ? ('wf', 'twin') : ('twin', 'wf'))
				{
					push @{ $figures{$size}{$how}{$side} }, measure($side, $how, $size);
				}
			}
		}
	}

	$report = heading("Resets, milliseconds of CPU time; attributes of $bytes bytes; $rounds round(s)",
		'wf_reset', 'INSERT', 'spread');
	foreach my $how ('count', 'rows')
	{
		$report .= $how eq 'count' ? "rows counted in the server, by INSERT ... SELECT\n" :
		  "rows sent to the client, by INSERT ... RETURNING *\n";
		foreach my $size (@sizes)
		{
			my ($ours, $base) = @{ $figures{$size}{$how} }{qw(wf twin)};
			my @ratios = sort { $a <=> $b } map { $ours->[$_]{cpu} / $base->[$_]{cpu} } 0 .. $#$ours;

			$report .= line("  $size events", map({ sprintf '%.1f', median(map { $_->{cpu} } @$_) } $ours, $base),
				median(@ratios), undef, $size > 1000 ? $most{$how} : undef, sprintf('%.2f-%.2f', @ratios[ 0, -1 ]));
		}
	}
	foreach my $how ('count', 'rows')
	{
		my ($ours, $base) = @{ $figures{ $sizes[-1] }{$how} }{qw(wf twin)};
		my ($memory, $other) = map { percentile(100, map { $_->{memory} } @$_) } $ours, $base;
		my ($target, $verdict) = judge($memory, undef, $most_memory);

		$report .= sprintf "%-38s %9.1f %9.1f %27s %s\n", "memory at $sizes[-1] events, $how, MB",
		  $memory, $other, $target, $verdict;
	}
	return $report . instructions();
}

1;
