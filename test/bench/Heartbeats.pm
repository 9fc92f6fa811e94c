# Heartbeats of a thousand running activities, against calls that do nothing.
#
# Every call is a transaction of its own, prepared by the client.  The target
# is about the no-op in PL/pgSQL, which has the same arguments and returns the
# same row; one in C, which returns an integer, is shown as well.  The cost of
# a call is the CPU time of its backend, at one client.

package Heartbeats;

use strict;
use warnings;

use Bench;
use Server;
use Slices;

my $rounds = number_of('ROUNDS', $quick ? 3 : 9);
my $activities = 1000;
my $calls = 25;					# in a run of the script

my @functions = qw(wf_heartbeat twin.nothing_plpgsql twin.nothing_c);

# A script that gets tokens of some activities at random, and then calls the
# function for each.
sub calls_of
{
	my ($function) = @_;

	return sprintf('\set group random(0, %d)', $activities / $calls - 1) . "\nSELECT " .
	  join(', ', map { "max(task_token) FILTER (WHERE number % $calls = $_) AS t$_" } 0 .. $calls - 1) .
	  " FROM twin.token WHERE number / $calls = :group \\gset\n" .
	  join "\n", map { "SELECT * FROM $function(:t$_, '{\"done\": 10}');" } 0 .. $calls - 1;
}

sub variants_of
{
	my ($clients, $sync) = @_;

	return map {
		Slices::variant($_, calls_of($_), clients => $clients, calls => $calls,
			settings => { synchronous_commit => $sync, plan_cache_mode => 'force_generic_plan' })
	} @functions;
}

# Bytes of WAL that a heartbeat writes, as its own backend counts them: the
# driver's flushes write some.  A transaction that has no id writes none when it
# commits either, and what is not written, need not be flushed.
sub wal_bytes
{
	my $output = sql('BEGIN',
		q(EXPLAIN (ANALYZE, WAL, FORMAT JSON) SELECT wf_heartbeat(task_token, '{"done": 10}') FROM twin.token),
		q(SELECT 'transaction ' || coalesce(pg_current_xact_id_if_assigned()::text, 'none')), 'COMMIT');

	die "bench: heartbeats made a transaction\n" if $output !~ /^transaction none$/m;
	die "bench: nothing is known of WAL\n" if $output !~ /"WAL Bytes": (\d+)/;
	return $1 / $activities;
}

sub part
{
	my $report = heading("Heartbeats of $activities running activities, $rounds round(s)", 'heartbeat', 'no-op', 'spread');
	my @variants;

	Server::make_database('heartbeats');
	run_file('heartbeats.sql');
	die "bench: there are fewer activities\n" if sql('SELECT count(*) FROM twin.token') != $activities;
	sql('VACUUM ANALYZE');
	foreach my $clients (1, 8)
	{
		foreach my $sync ('off', 'on')
		{
			@variants = variants_of($clients, $sync);
			Slices::compare("heartbeats, $clients client(s), $sync", $rounds, @variants);
			my ($heartbeat, $plpgsql, $c) = @variants;
			$report .= "$clients client(s), synchronous_commit $sync\n" .
			  Slices::compared('CPU us, PL/pgSQL no-op', 'cpu', $heartbeat, $plpgsql, undef, $clients == 1 ? 1.2 : undef) .
			  Slices::compared('CPU us, C no-op', 'cpu', $heartbeat, $c) .
			  Slices::compared('calls/s, PL/pgSQL no-op', 'rate', $heartbeat, $plpgsql) .
			  Slices::compared('calls/s, C no-op', 'rate', $heartbeat, $c);
		}
	}
	my $bytes = wal_bytes();
	return $report . line('WAL bytes, synchronous_commit on', sprintf('%.2f', $bytes), '', $bytes, undef, 0);
}

1;
