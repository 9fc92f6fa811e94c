# Transactions per second, by pgbench.
#
# All variants of a case take turns inside each round, starting with another
# one each time; a ratio is the median of the ratios within the rounds.  Every
# call meets a run of its own, made beforehand, so that it does its whole work.

package Throughput;

use strict;
use warnings;

use IPC::Open2;

use Bench;
use Latency;
use Server;

my $rounds = number_of('ROUNDS', $quick ? 1 : 7);

# Variants: on which side, how to set notification, argument of the twin.
my %variants = (
	'PL/pgSQL + NOTIFY' => { side => 'twin', notify => 'true' },
	'PL/pgSQL silent' => { side => 'twin', notify => 'false' },
	'deferred' => { side => 'wf', notify => 'deferred' },
	'transactional' => { side => 'wf', notify => 'transactional' },
	'off' => { side => 'wf', notify => 'off' },
);
my @names = ('PL/pgSQL + NOTIFY', 'PL/pgSQL silent', 'deferred', 'transactional', 'off');

# The calls; :id numbers the run, :notify is the twin's.
my %calls = (
	cancel => {
		wf => "SELECT wf_cancel('idle' || :id, '$reason');",
		twin => "SELECT twin.cancel('idle' || :id, '$reason', notify => :notify);",
	},
	start => {
		wf => "SELECT wf_start('new' || :id, 'bench', '$input', 'bench');",
		twin => "SELECT twin.start('new' || :id, 'bench', '$input', 'bench', notify => :notify);",
	},
);
my @operations = qw(cancel start);

my @clients = (1, 8);

# A slice is to take so long, in seconds; the first round finds out how many
# transactions that are, with so many calls.
my $slice_time = 0.6;
my $trial_calls = 240;

my %transactions;				# of each client in a slice, by case and variant
my %next_id;					# first unused run, by operation and side
my %made;						# how many calls there were

# How many idle runs the first round uses, on one side.
sub trial_pool_size
{
	return $trial_calls * @clients * 2 * 3;
}

# How many idle runs each of the other rounds uses, at most on either side.
sub pool_size
{
	my %size = (wf => 0, twin => 0);

	foreach my $case (grep { /^cancel / } keys %transactions)
	{
		my ($clients) = $case =~ /(\d+)/;
		$size{ $variants{$_}{side} } += $clients * $transactions{$case}{$_} foreach @names;
	}
	return $size{wf} > $size{twin} ? $size{wf} : $size{twin};
}

# Makes so many more idle runs.
sub add_pool
{
	my ($size) = @_;

	sql("SELECT twin.fill('idle', $size, 'idle', " . trial_pool_size() . ')', 'VACUUM ANALYZE');
	$next_id{cancel}{$_} = trial_pool_size() foreach 'wf', 'twin';
	return;
}

sub write_script
{
	my ($file, $call, $notify) = @_;

	$call =~ s/:notify/$notify/;
	open my $script, '>', $file or die "bench: could not write $file: $!\n";
	print $script "\\set n :n + 1\n",
	  "\\set id :base + :client_id * :each + :n\n", "$call\n";
	close $script;
	return;
}

# One slice; the transactions per second.
sub slice
{
	my ($operation, $name, $clients, $sync, $each) = @_;
	my $variant = $variants{$name};
	my $side = $variant->{side};
	my $base = $next_id{$operation}{$side} // 0;
	my $file = "$operation-$side-$variant->{notify}.sql";

	$next_id{$operation}{$side} = $base + $clients * $each;
	$made{$operation}{$side} += $clients * $each;
	write_script($file, $calls{$operation}{$side}, $variant->{notify})
	  unless -f $file;
	return pgbench($file, $clients, $each, { n => 0, base => $base, each => $each },
		synchronous_commit => $sync,
		$side eq 'wf' ? ('workflow_interrupt.notify' => $variant->{notify}) : ());
}

# All calls have done what they should.
sub check
{
	foreach my $side ('wf', 'twin')
	{
		my $canceled = sql("SELECT count(*) FROM $side.execution WHERE cancel_requested AND workflow_id LIKE 'idle%'");
		my $started = sql("SELECT count(*) FROM $side.execution WHERE workflow_id LIKE 'new%'");

		die "bench: $canceled runs of schema $side were canceled in $made{cancel}{$side} calls\n"
		  if $canceled != $made{cancel}{$side};
		die "bench: $started runs of schema $side were started in $made{start}{$side} calls\n"
		  if $started != $made{start}{$side};
	}
	return;
}

# One round, of all cases and variants; tps go to the ends of the lists
# {operation}{clients}{sync}{variant}.  The first round is number 0.
sub round
{
	my ($round, $tps) = @_;

	foreach my $sync ('off', 'on')
	{
		foreach my $clients (@clients)
		{
			foreach my $operation (@operations)
			{
				foreach my $i (0 .. $#names)
				{
					my $name = $names[ ($i + $round) % @names ];
					my $each = \$transactions{"$operation $clients $sync"}{$name};

					if ($round == 0)
					{
						my $speed = slice($operation, $name, $clients, $sync, $trial_calls / $clients);
						$$each = int($speed * $slice_time / $clients) + 10;
						next;
					}
					push @{ $tps->{$operation}{$clients}{$sync}{$name} },
					  slice($operation, $name, $clients, $sync, $$each);
				}
			}
		}
	}
	return;
}

# The ratios of two lists, round by round.
sub ratios
{
	my ($list, $base) = @_;

	return map { $list->[$_] / $base->[$_] } 0 .. $#$list;
}

sub part
{
	Latency::build();
	Server::make_runs('throughput', trial_pool_size(), 1);
	my $channel = sql("SELECT wf_channel('workflow', 'bench')");
	my $listener = open2(my $heard, my $stdin, './latency', 'listen', $channel);
	wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND state = 'idle'");

	my $tps = {};
	progress('throughput: a first round');
	round(0, $tps);
	my $pool = pool_size() * $rounds;
	progress("throughput: making $pool runs to cancel");
	add_pool($pool);
	for (1 .. $rounds)
	{
		progress("throughput: round $_/$rounds");
		round($_, $tps);
	}
	check();
	close $stdin;
	chomp(my $notifications = <$heard> // 0);
	waitpid $listener, 0;
	die "bench: the listener heard nothing\n" if $notifications == 0;

	my $report = heading("Transactions per second, $rounds round(s)", 'tps', 'NOTIFY', 'spread');
	my %least = (off => 1.8, on => 2.3);
	foreach my $operation (@operations)
	{
		foreach my $sync ('off', 'on')
		{
			foreach my $clients (@clients)
			{
				my $case = $tps->{$operation}{$clients}{$sync};
				my $base = $case->{'PL/pgSQL + NOTIFY'};

				$report .= "$operation, $clients client(s), synchronous_commit $sync\n";
				foreach my $name (@names)
				{
					next if $name eq 'PL/pgSQL + NOTIFY';
					my @ratios = sort { $a <=> $b } ratios($case->{$name}, $base);
					$report .= line("  $name", int median(@{ $case->{$name} }), int median(@$base),
						median(@ratios), $name eq 'deferred' && $clients == 8 ? $least{$sync} : undef, undef,
						sprintf('%.2f-%.2f', @ratios[ 0, -1 ]));
				}
			}
		}
	}
	return $report;
}

1;
