# What the parts of the benchmark share: SQL, statistics, the table.

package Bench;

use strict;
use warnings;

use Exporter qw(import);
use Time::HiRes qw(sleep);

our @EXPORT = qw(sql run_file run_command output_of number_of percentile median
  wait_for pgbench progress heading line judge verdict $quick $input $reason);

our $quick = $ENV{QUICK} // 0;

# Arguments that all calls get.
our $input = '{"order": 4711, "customer": "c-17"}';
our $reason = 'the customer changed their mind';

my ($met_targets, $judged) = (0, 0);

# Runs SQL in the benchmark's database, one -c each; returns what it prints.
sub sql
{
	my (@statements) = @_;

	return output_of('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1',
		map { ('-c', $_) } @statements);
}

# Runs a file of SQL there.
sub run_file
{
	my ($file) = @_;

	run_command('psql', '-Xq', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-f', $file);
	return;
}

# Runs a command, which must succeed.
sub run_command
{
	my (@command) = @_;

	system(@command) == 0
	  or die "bench: failed: @command\n";
	return;
}

# What a command prints; it must succeed.
sub output_of
{
	my (@command) = @_;

	open my $pipe, '-|', @command or die "bench: could not run $command[0]: $!\n";
	my $output = do { local $/; <$pipe> } // '';
	close $pipe or die "bench: failed: @command\n";
	chomp $output;
	return $output;
}

# A number from the environment.
sub number_of
{
	my ($name, $default) = @_;
	my $value = $ENV{$name} // '';

	return $default if $value eq '';
	die "bench: $name must be a positive number\n" unless $value =~ /^[1-9]\d*$/;
	return $value;
}

# The value that so many percent of the values do not exceed.
sub percentile
{
	my ($percent, @values) = @_;
	my @sorted = sort { $a <=> $b } @values;

	return $sorted[ int($percent / 100 * $#sorted + 0.5) ];
}

sub median
{
	my (@values) = @_;
	my @sorted = sort { $a <=> $b } @values;

	return ($sorted[ int($#sorted / 2) ] + $sorted[ int(@sorted / 2) ]) / 2;
}

# Waits until a query says t.
sub wait_for
{
	my ($query) = @_;

	for (1 .. 500)
	{
		return if sql($query) eq 't';
		sleep 0.02;
	}
	die "bench: waited in vain for: $query\n";
}

# Runs a script of pgbench: so many transactions of each client.  Variables of
# the script, and settings of the sessions, can be given.  Returns the
# transactions per second.
sub pgbench
{
	my ($file, $clients, $each, $variables, %settings) = @_;

	local $ENV{PGOPTIONS} = join ' ', map { "-c $_=$settings{$_}" } sort keys %settings;
	my $output = output_of(
		'pgbench', '-n', '-M', 'prepared', '-c', $clients, '-j', $clients > 1 ? 2 : 1,
		'-t', $each, map({ ('-D', "$_=$variables->{$_}") } sort keys %$variables), '-f', $file);
	my ($tps) = $output =~ /^tps = ([\d.]+)/m;
	my ($done) = $output =~ /^number of transactions actually processed: (\d+)/m;

	die "bench: pgbench failed:\n$output\n"
	  unless $tps && $done == $clients * $each;
	return $tps;
}

# Says what is going on, on a line of its own that the next one overwrites
# when somebody looks.
sub progress
{
	my ($text) = @_;

	if (-t STDERR)
	{
		printf STDERR "\r%-78s\r", $text;
	}
	elsif ($text ne '' && $text !~ /\d\/\d/)
	{
		print STDERR "$text\n";
	}
	return;
}

# A line of the table, with a ratio that is to be at least or at most so much.
# The spread is that of the ratio within the rounds.
sub line
{
	my ($what, $value, $base, $ratio, $least, $most, $spread) = @_;
	my ($target, $verdict) = judge($ratio, $least, $most);

	return sprintf("%-38s %9s %9s %6s %11s  %-7s %s", $what, $value, $base,
		defined $ratio ? sprintf('%.2f', $ratio) : '', $spread // '', $target, $verdict) =~ s/\s*\z/\n/r;
}

# Compare a figure with its target, if it has one; both in words.
sub judge
{
	my ($figure, $least, $most) = @_;

	return ('', '') unless defined $least || defined $most;
	my $met = defined $least ? $figure >= $least : $figure <= $most;

	$judged++;
	$met_targets++ if $met;
	return (defined $least ? sprintf('>= %.2f', $least) : sprintf('<= %.2f', $most),
		$met ? 'met' : 'MISSED');
}

# How many targets were met, of how many.
sub verdict
{
	return ($met_targets, $judged);
}

sub heading
{
	my ($title, $value, $base, $spread) = @_;

	return sprintf("\n%s\n%-38s %9s %9s %6s %11s  target\n%s\n", $title, '', $value, $base,
		'ratio', $spread // '', '-' x 86);
}

1;
