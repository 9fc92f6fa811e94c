# What the parts of the benchmark share: SQL, statistics, the table.

package Bench;

use strict;
use warnings;

use Exporter qw(import);
use Time::HiRes qw(sleep);

our @EXPORT = qw(sql run_command output_of number_of percentile median
  wait_for progress $input $reason);

# Arguments that all calls get.
our $input = '{"order": 4711, "customer": "c-17"}';
our $reason = 'the customer changed their mind';

# Runs SQL in the benchmark's database, one -c each; returns what it prints.
sub sql
{
	my (@statements) = @_;

	return output_of('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1',
		map { ('-c', $_) } @statements);
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

1;
