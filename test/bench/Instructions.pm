# Instructions per call, by callgrind.
#
# A single-user backend executes everything in one run under valgrind.  Calls
# of pg_sleep() in between make callgrind write its counters and begin afresh.
# Each variant is warmed up first, so that its plans are made, and then counted
# in a few rounds.  What remains of an empty span is subtracted; that is the
# same as the difference of a run with the calls and one without.  Figures are
# net: less the instructions of a call that does nothing.

package Instructions;

use strict;
use warnings;

use Bench;
use Server;

my $span_calls = 40;
my $span_rounds = $quick ? 1 : 3;

my $warm_up = 12;
my @operations = qw(cancel terminate signal complete start);
my @variants = ('PL/pgSQL + NOTIFY', 'PL/pgSQL silent', 'deferred', 'transactional', 'off');

# What is called on either side.
my %calls = (
	wf => {
		types => 'text',
		cancel => "wf_cancel(\$1, '$reason')",
		terminate => "wf_terminate(\$1, '$reason')",
		signal => "wf_signal(\$1, 'paid', '$input')",
		complete => "wf_respond_workflow_task_completed(\$1, '[{\"command_type\": \"CompleteWorkflowExecution\", \"result\": $input}]')",
		start => "wf_start(\$1, 'bench', '$input', 'bench')",
	},
	twin => {
		types => 'text, boolean',
		cancel => "twin.cancel(\$1, '$reason', notify => \$2)",
		terminate => "twin.terminate(\$1, '$reason')",
		signal => "twin.signal(\$1, 'paid', '$input', notify => \$2)",
		complete => "twin.complete(\$1, \$2, \$3, '$input')",
		start => "twin.start(\$1, 'bench', '$input', 'bench', notify => \$2)",
	},
);

# Does the operation tell anybody?
sub notifies
{
	my ($operation) = @_;

	return $operation !~ /^(terminate|complete)$/;
}

# The variants of an operation.
sub variants_of
{
	my ($operation) = @_;

	return notifies($operation) ? @variants : ('PL/pgSQL silent', 'deferred', 'off');
}

# How many runs a measurement uses, on one side and in one state.
sub pool_size
{
	my ($rounds, $calls) = @_;

	return 3 * 3 * ($rounds * $calls + $warm_up);
}

# Tokens of the started workflow tasks, and their parts.
sub tokens
{
	return map { [ split /\|/ ] } split /\n/, sql(q(
		SELECT twin.token(execution), shard, run_id, task_token
		FROM wf.execution WHERE workflow_id ~ '^busy\d' ORDER BY run_id));
}

# The script for the backend, and to what each span between marks belongs.
sub script
{
	my ($rounds, $calls) = @_;
	my @tokens = tokens();
	my %next = map { $_ => 0 } qw(idle-wf idle-twin new-wf new-twin busy-wf busy-twin);
	my $mark = "SELECT pg_sleep(0);\n";
	my $script = "PREPARE nothing(text) AS SELECT twin.nothing(\$1, '$reason');\n";
	my @spans;

	foreach my $side ('wf', 'twin')
	{
		foreach my $operation (@operations)
		{
			my $types = $calls{$side}{types};
			my $call = $calls{$side}{$operation};

			$types = 'integer, uuid, uuid' if $call =~ /\$3/;
			$types = 'text' if $call !~ /\$2/;
			$script .= "PREPARE ${side}_$operation($types) AS SELECT $call;\n";
		}
	}

	# One call that does its work, on a run that no other has used.
	my $execute = sub {
		my ($operation, $side, $notify) = @_;
		my $pool = $operation eq 'start' ? 'new' : $operation eq 'complete' ? 'busy' : 'idle';
		my $n = $next{"$pool-$side"}++;
		my $arguments = "'$pool" . ($n + 1) . "'";

		if ($pool eq 'busy')
		{
			my ($token, @parts) = @{ $tokens[$n] };
			$arguments = $side eq 'wf' ? "'$token'" : sprintf "%s, '%s', '%s'", @parts;
		}
		elsif ($side eq 'twin' && notifies($operation))
		{
			$arguments .= ", $notify";
		}
		return "EXECUTE ${side}_$operation($arguments);\n";
	};

	# Rounds, the first to warm up; spans come in pairs, before and counted.
	foreach my $round (0 .. $rounds)
	{
		my $times = $round ? $calls : $warm_up;
		my $count = sub {
			my ($span, $before, @statements) = @_;
			push @spans, undef, $round ? $span : undef;
			$script .= join '', $before, $mark, @statements, $mark;
		};

		$count->('empty', '');
		$count->('nothing', '', ("EXECUTE nothing('idle1');\n") x $times);
		foreach my $operation (@operations)
		{
			foreach my $variant (variants_of($operation))
			{
				my $twin = $variant =~ /PL/;
				my $notify = $variant =~ /NOTIFY/ ? 'true' : 'false';

				$count->("$operation $variant",
					$twin ? '' : "SET workflow_interrupt.notify = $variant;\n",
					map { $execute->($operation, $twin ? 'twin' : 'wf', $notify) } 1 .. $times);
			}
		}
	}
	return ($script, @spans);
}

# The instructions in a file that callgrind wrote.
sub total
{
	my ($file) = @_;

	open my $out, '<', $file or die "bench: callgrind did not write $file\n";
	while (my $line = <$out>)
	{
		return $1 if $line =~ /^(?:totals|summary): (\d+)/;
	}
	die "bench: no total in $file\n";
}

# Is there what counts?
sub possible
{
	return `sh -c 'command -v valgrind'`;
}

# Instructions in a file that callgrind wrote, of functions, and of all that
# they call.
sub inclusive
{
	my ($file, @functions) = @_;
	my $table = output_of('callgrind_annotate', '--inclusive=yes', '--threshold=100', $file);
	my $sum = 0;

	foreach my $function (@functions)
	{
		my ($count) = $table =~ /^\s*([\d,]+) .*:\Q$function\E /m;

		die "bench: $function() is not in $file\n" unless defined $count;
		$sum += $count =~ tr/,//dr;
	}
	return $sum;
}

# Has a backend execute a script under callgrind; the server must be stopped.
# There is no driver then, and polls do not do its work either.  The files that
# it wrote: up to the first mark, and between each two.
sub run
{
	my ($directory, $database, $script) = @_;
	my $output = "callgrind-$database";
	my $marks = () = $script =~ /pg_sleep/g;

	mkdir $output or die "bench: could not make a directory: $!\n";
	open my $in, '>', "$output/in" or die "bench: could not write $output/in: $!\n";
	print $in $script;
	close $in;
	my $postgres = output_of('sh', '-c', 'command -v postgres');
	system("valgrind --tool=callgrind --dump-before=pg_sleep --callgrind-out-file=$output/out"
		  . " --log-file=$output/log '$postgres' --single -D '$directory' -c fsync=off"
		  . " -c full_page_writes=off -c workflow_interrupt.enabled=off $database <$output/in >$output/stdout 2>$output/stderr") == 0
	  or die "bench: valgrind failed, see $output/ in " . $ENV{PWD} . "\n";
	my $errors = `grep -E '(ERROR|FATAL|PANIC):' $output/stderr`;
	die "bench: calls under callgrind failed:\n$errors" if $errors ne '';
	return map { "$output/out.$_" } 1 .. $marks;
}

# Net instructions per call: {operation}{variant} is a list.  The server must
# be stopped; the script is what script() returned.
sub measure
{
	my ($directory, $database, $calls, $script, @spans) = @_;
	my (%totals, %net);

	progress('instructions: ' . (grep { defined } @spans) . ' spans under callgrind');
	my @files = run($directory, $database, $script);
	foreach my $i (0 .. $#spans)
	{
		push @{ $totals{ $spans[$i] } }, total($files[$i])
		  if defined $spans[$i];
	}
	my $empty = median(@{ $totals{empty} });
	my $nothing = median(map { ($_ - $empty) / $calls } @{ $totals{nothing} });
	foreach my $operation (@operations)
	{
		foreach my $variant (variants_of($operation))
		{
			$net{$operation}{$variant} =
			  [ map { ($_ - $empty) / $calls - $nothing } @{ $totals{"$operation $variant"} } ];
		}
	}
	return \%net;
}

sub part
{
	return "\nInstructions per call: skipped, there is no valgrind\n"
	  unless possible();

	my $pool = pool_size($span_rounds, $span_calls);
	Server::make_runs('instructions', $pool, $pool);
	my ($script, @spans) = script($span_rounds, $span_calls);
	Server::stop();
	my $net = measure($Server::data, 'instructions', $span_calls, $script, @spans);
	Server::start();

	my $report = heading('Net instructions per call, thousands', 'calls', 'naive');
	foreach my $operation (@operations)
	{
		my $naive = notifies($operation) ? 'PL/pgSQL + NOTIFY' : 'PL/pgSQL silent';
		my $base = median(@{ $net->{$operation}{$naive} });

		$report .= "$operation (naive: $naive)\n";
		foreach my $variant (variants_of($operation))
		{
			next if $variant eq $naive;
			my $value = median(@{ $net->{$operation}{$variant} });
			$report .= line("  $variant", map({ sprintf '%.1f', $_ / 1000 } $value, $base), $value / $base,
				undef, $variant eq 'deferred' && $operation ne 'start' ? 0.75 : undef);
		}
	}
	return $report;
}

1;
