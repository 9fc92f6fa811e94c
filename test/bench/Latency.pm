# Time from a commit to a worker's wake-up, by latency.c.

package Latency;

use strict;
use warnings;

use Bench;
use Server;

my $wakeups = number_of('WAKEUPS', $quick ? 100 : 500);

# Builds the program that measures.
sub build
{
	my $pg_config = $ENV{PG_CONFIG} // 'pg_config';

	run_command($ENV{CC} // 'cc', '-O2', '-Wall', 'latency.c', '-o', 'latency',
		'-I' . output_of($pg_config, '--includedir'), '-L' . output_of($pg_config, '--libdir'), '-lpq');
	return;
}

sub part
{
	my $report = heading("Microseconds from COMMIT to the worker's wake-up, $wakeups commits each",
		'deferred', 'NOTIFY');

	build();
	Server::make_runs('latency', 1, 1);
	my $channel = sql("SELECT wf_channel('workflow', 'latency')");
	foreach my $sync ('off', 'on')
	{
		local $ENV{PGOPTIONS} = "-c synchronous_commit=$sync";
		my (%sent, %returned);

		progress("latency: synchronous_commit $sync");
		foreach (split /\n/, output_of('./latency', 'measure', $channel, $wakeups,
				"SELECT wf_start('$sync \$', 'bench', '$input', 'latency')",
				'SET workflow_interrupt.notify = deferred',
				'SET workflow_interrupt.notify = transactional'))
		{
			my ($label, $sent, $returned) = split / /;
			push @{ $sent{$label} }, $sent;
			push @{ $returned{$label} }, $returned;
		}
		foreach my $percent (50, 90, 99)
		{
			my ($ours, $base) = map { percentile($percent, @{ $sent{$_} }) } 'a', 'b';
			$report .= line("  sent, synchronous_commit $sync, p$percent", map({ sprintf '%.0f', $_ } $ours, $base),
				$ours / $base, undef, $percent == 50 ? 1.15 : undef);
		}
		foreach my $percent (50, 90, 99)
		{
			my ($ours, $base) = map { percentile($percent, @{ $returned{$_} }) } 'a', 'b';
			$report .= line("  returned, synchronous_commit $sync, p$percent", map({ sprintf '%.0f', $_ } $ours, $base));
		}
	}
	return $report;
}

1;
