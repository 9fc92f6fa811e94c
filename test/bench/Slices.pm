# Variants of a call, by pgbench, taking turns in slices of a fraction of a
# second: rounds in which each has one slice, starting with another one each
# time.  A first round finds out how many transactions a slice is.  Of a slice
# we know the calls per second, and the CPU time per call that its backends
# used, which they read themselves, once warm and at the end.  The first
# depends on what else the machine does, the second less; a ratio is the
# median of the ratios within the rounds.

package Slices;

use strict;
use warnings;

use Bench;

my $slice_time = 0.5;			# seconds
my $trial = 12;					# transactions of each client in the first round
my $warm = 4;					# transactions before CPU time counts

# A variant: a name, and what a transaction does.  Also: clients; how many
# calls a transaction is (1); settings of the sessions; next, the first of
# numbers that the transactions shall find as :id.  How many calls were done is
# counted.
sub variant
{
	my ($name, $transaction, %more) = @_;
	my $variant = { calls => 1, done => 0, settings => {}, name => $name, %more };

	open my $script, '>', "$name.sql" or die "bench: could not write $name.sql: $!\n";
	print $script "\\set n :n + 1\n", "\\set id :base + :client_id * :each + :n\n",
	  "\\if :n = $warm or :n = :each\n",
	  "INSERT INTO twin.cpu SELECT pg_backend_pid(), :n,
		split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint;\n",
	  "\\endif\n", "$transaction\n";
	close $script;
	return $variant;
}

# One slice; its calls per second, and microseconds of CPU time per call.
sub slice
{
	my ($variant, $each) = @_;
	my $calls = $variant->{calls};

	sql('TRUNCATE twin.cpu');
	my $tps = pgbench("$variant->{name}.sql", $variant->{clients}, $each,
		{ n => 0, base => $variant->{next} // 0, each => $each }, %{ $variant->{settings} });
	$variant->{next} += $variant->{clients} * $each if defined $variant->{next};
	$variant->{done} += $variant->{clients} * $each * $calls;
	my $ns = sql('SELECT sum(ns)::float / sum(n) FROM (
		SELECT max(ns) - min(ns) AS ns, max(n) - min(n) AS n FROM twin.cpu GROUP BY pid) AS used');
	return { rate => $tps * $calls, cpu => $ns / $calls / 1000 };
}

# Lets variants take turns, so many rounds; the slices of each are left in it.
sub compare
{
	my ($what, $rounds, @variants) = @_;

	foreach my $variant (@variants)
	{
		my $rate = slice($variant, $trial)->{rate};
		$variant->{each} = int($rate / $variant->{calls} * $slice_time / $variant->{clients}) + 2 * $warm;
		$variant->{slices} = [];
	}
	foreach my $round (1 .. $rounds)
	{
		progress("$what: round $round/$rounds");
		foreach my $i (0 .. $#variants)
		{
			my $variant = $variants[ ($i + $round) % @variants ];
			push @{ $variant->{slices} }, slice($variant, $variant->{each});
		}
	}
	return;
}

# A figure of a variant: rate or cpu.
sub figure
{
	my ($variant, $what) = @_;

	return median(map { $_->{$what} } @{ $variant->{slices} });
}

# A line that compares variants in one of these.
sub compared
{
	my ($label, $what, $variant, $base, $least, $most) = @_;
	my @ratios = sort { $a <=> $b }
	  map { $variant->{slices}[$_]{$what} / $base->{slices}[$_]{$what} } 0 .. $#{ $variant->{slices} };

	return line("  $label", map({ sprintf $what eq 'cpu' ? '%.1f' : '%.0f', figure($_, $what) } $variant, $base),
		median(@ratios), $least, $most, sprintf('%.2f-%.2f', @ratios[ 0, -1 ]));
}

1;
