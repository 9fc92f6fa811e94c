# wf_worker: what becomes of activities

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use WfiTest qw(check_sound);
use WorkerTest;

#
# The command line
#

my @usage_errors = (
	[ 'no command', ['--activity=t'], qr/option --activity needs TYPE=COMMAND, got "t"/ ],
	[ 'type given twice', [ '--activity=t=a', '--activity=t=b' ],
		qr/option --activity is given twice for type "t"/ ],
	[ 'no slots', ['--max-activities=0'], qr/must be in range 1\.\.1000/ ],
	[ 'bad grace period', ['--grace-period=1h'], qr/invalid value "1h"/ ],
	[ 'nothing to do', ['--task-queue=q'], qr/no workflow type or activity type specified/ ]);
foreach my $case (@usage_errors)
{
	my ($name, $options, $expected) = @$case;
	command_checks_all(
		[ $program, @$options ],
		1,
		[qr/^$/],
		[ $expected, qr/hint: Try "wf_worker --help"/ ],
		"usage error: $name");
}

my $node = new_node();

#
# What a command gets; workflows and activities of the same name in one worker
#

append_to_file("$dir/pay", <<'PERL');
#!/usr/bin/perl
use strict;
use warnings;
use JSON::PP;

if (!exists $ENV{WF_ACTIVITY_ID})
{
	my $history = decode_json(<STDIN>)->{history};
	my %seen = map { $_->{event_type} => $_->{attributes} } @$history;

	print encode_json([
		$seen{ActivityTaskCompleted}
		? { command_type => 'CompleteWorkflowExecution',
			result => $seen{ActivityTaskCompleted}->{result} }
		: { command_type => 'ScheduleActivityTask', activity_id => 'the "first"',
			activity_type => 'pay', start_to_close_timeout => '60s',
			input => $seen{WorkflowExecutionStarted}->{input} }
		]);
}
else
{
	my %environment = map { $_ => $ENV{$_} } grep { /^WF_/ } keys %ENV;

	print JSON::PP->new->pretty->encode({ environment => \%environment, input => join('', <STDIN>) });
}
PERL
chmod 0755, "$dir/pay";

my $worker;
{
	# as if this were an activity itself
	local $ENV{WF_HEARTBEAT_DETAILS} = 'of another activity';
	$worker = start_worker('both', '--poll-interval=600', '--identity=tester',
		"--workflow=pay=$dir/pay", "--activity=pay=$dir/pay");
}
wait_for('worker sleeps', q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE application_name = 'wf_worker' AND state = 'idle' AND query LIKE '%wf_poll_%'));
my $begin = time();
sql(q(SELECT wf_start('both', 'pay', '["größe", 1]', task_queue => 'both')));
wait_for_event('both', 'WorkflowExecutionCompleted');
cmp_ok(time() - $begin, '<', 100, 'notifications woke the worker');
is( sql(q(
	SELECT r -> 'input', r -> 'environment' = jsonb_build_object('WF_WORKFLOW_ID', 'both',
		'WF_RUN_ID', e.run_id, 'WF_WORKFLOW_TYPE', 'pay', 'WF_ACTIVITY_ID', 'the "first"',
		'WF_ACTIVITY_TYPE', 'pay', 'WF_ATTEMPT', '1', 'WF_TASK_QUEUE', 'both',
		'WF_NAMESPACE', 'default', 'WF_HEARTBEAT_FD', '3')
	FROM wf.execution e, wf_result('both') r WHERE workflow_id = 'both')),
	q("[\"größe\", 1]\n"|t), 'command saw its input and environment');
is(attribute('both', 'ActivityTaskStarted', '{identity}'), 'tester', 'identity is recorded');
stop_worker($worker);
unlike(worker_log($worker), qr/größe|warning/, 'nothing private in the log');

#
# Results
#

my @results = (
	[ 'json', q(printf %s '{"a": [1, 2.50, true, null, "\\u00e4\\n", {}, []]}'),
		'{"a": [1, 2.50, true, null, "ä\n", {}, []]}' ],
	[ 'scalar', 'echo " -1e2 "', '-100' ],
	[ 'text', 'printf "a \\"b\\"\\n\\n"', '"a \"b\"\n"' ],
	[ 'almost-json', q(printf '[1, 2'), '"[1, 2"' ],
	[ 'two-values', q(printf '1 2'), '"1 2"' ],
	[ 'bad-number', 'echo 01', '"01"' ],
	[ 'bad-escape', q(printf '%s' '"\x"'), '"\"\\\\x\""' ],
	[ 'json-but-not-jsonb', q(printf '%s' '"\u0000"'), '"\"\\\\u0000\""' ],
	[ 'huge-number', 'echo 1e1000000', '"1e1000000"' ],
	[ 'empty', 'echo', '' ],
	[ 'stdin-ignored', 'exec <&-; echo 1', '1' ],
	# more than a pipe holds, in both directions at a time
	[ 'both-ways', 'cat', '"' . 'x' x 100_000 . '"' ],
	# what has left its group and keeps the output open is not waited for
	[ 'escaped', 'setsid sleep 30 & echo 1', '1' ]);
foreach my $case (@results)
{
	my ($id, $command, $expected) = @$case;

	schedule($id, 'echo', input => 'x' x 100_000);
	run_worker($id, "--activity=echo=$command");
	is(closing_event($id), 'ActivityTaskCompleted', "$id: completed");
	is(attribute($id, 'ActivityTaskCompleted', '{}') ne '' &&
		sql("SELECT attributes -> 'result' FROM wf_history('$id') WHERE event_type = 'ActivityTaskCompleted'"),
		$expected, "$id: result");
}

schedule('no-input', 'count');
run_worker('no-input', '--activity=count=wc -c');
is(attribute('no-input', 'ActivityTaskCompleted', '{result}'), '0', 'no input is no input');

schedule('big', 'big');
run_worker('big', '--activity=big=head -c 1500000 /dev/zero | tr "\\0" x');
is(sql(q(SELECT length(attributes ->> 'result') FROM wf_history('big')
	WHERE event_type = 'ActivityTaskCompleted')), '1500000', 'big result');

#
# Failures
#

my %once = (retry_policy => { maximum_attempts => 1 });
my @failures = (
	[ 'status', 'echo some trouble >&2; exit 3',
		qr/^command failed with exit status 3$/, 'ExitStatus3', qr/^some trouble$/ ],
	[ 'missing', 'no_such_program_at_all',
		qr/^command failed with exit status 127$/, 'ExitStatus127', qr/no_such_program_at_all/ ],
	[ 'signal', 'kill -9 $$', qr/^command was terminated by signal 9: /, 'Signal9', qr/^$/ ],
	# nobody asked this one to cancel
	[ 'term', 'kill -TERM $$', qr/^command was terminated by signal 15: /, 'Signal15', qr/^$/ ],
	[ 'term-status', 'exit 143', qr/^command failed with exit status 143$/, 'ExitStatus143', qr/^$/ ],
	[ 'utf8', 'printf "\\351"',
		qr/^output of command was not accepted: invalid byte sequence/, 'OutputNotAccepted', qr/^$/ ],
	[ 'null', 'printf "a\\0b"',
		qr/^output of command was not accepted: invalid byte sequence/, 'OutputNotAccepted', qr/^$/ ],
	[ 'flood', 'head -c 17000000 /dev/zero',
		qr/^command wrote more than 16 MiB to standard output$/, 'OutputTooLarge', qr/^$/ ],
	[ 'flood-details', 'head -c 17000000 /dev/zero >&3',
		qr/^command wrote a line of more than 16 MiB to descriptor 3$/, 'OutputTooLarge', qr/^$/ ]);
foreach my $case (@failures)
{
	my ($id, $command, $message, $type, $trace) = @$case;

	schedule($id, 'broken', %once);
	my $log = run_worker($id, "--activity=broken=$command");
	is(closing_event($id), 'ActivityTaskFailed', "$id: failed");
	like(attribute($id, 'ActivityTaskFailed', '{failure,message}'), $message, "$id: message");
	is(attribute($id, 'ActivityTaskFailed', '{failure,type}'), $type, "$id: type");
	like(attribute($id, 'ActivityTaskFailed', '{failure,stack_trace}'), $trace, "$id: end of standard error");
	is( attribute($id, 'ActivityTaskFailed', '{retry_state}'),
		$type =~ /Output/ ? 'NonRetryableFailure' : 'MaximumAttemptsReached', "$id: retry state");
	like($log, qr/warning: task of activity "$id" of workflow "$id", run \S+, attempt 1, failed: /,
		"$id: logged");
}

schedule('too-large', 'big');
run_worker('too-large', '--activity=big=head -c 3000000 /dev/zero | tr "\\0" x');
is(closing_event('too-large'), 'ActivityTaskFailed', 'result over the limit: failed');
is(attribute('too-large', 'ActivityTaskFailed', '{failure,message}'),
	'Complete result exceeds size limit.', 'result over the limit: message');
is(attribute('too-large', 'ActivityTaskFailed', '{retry_state}'),
	'NonRetryableFailure', 'result over the limit: not retried');

schedule('large-details', 'big');
run_worker('large-details', '--activity=big=(head -c 3000000 /dev/zero | tr "\\0" x; echo) >&3; sleep 1000');
is(closing_event('large-details'), 'ActivityTaskFailed', 'details over the limit: failed');
is(attribute('large-details', 'ActivityTaskFailed', '{failure,message}'),
	'Heartbeat details exceed size limit.', 'details over the limit: message');

schedule('unknown', 'nobody', %once);
run_worker('unknown', '--workflow=w=true', '--activity=a=true', '--activity=b=true');
is(attribute('unknown', 'ActivityTaskFailed', '{failure,message}'),
	'this worker has no command for activity type "nobody", only for "a", "b"', 'unknown type: message');
is(attribute('unknown', 'ActivityTaskFailed', '{retry_state}'),
	'MaximumAttemptsReached', 'unknown type: another worker might know it');

schedule('given-up', 'broken', retry_policy => { non_retryable_error_types => ['ExitStatus4'] });
run_worker('given-up', '--activity=broken=exit 4');
is(attribute('given-up', 'ActivityTaskFailed', '{retry_state}'),
	'NonRetryableFailure', 'an exit status may be declared final');

#
# Retries and details of heartbeats
#

my %soon = (retry_policy => { initial_interval => '0.1s', maximum_interval => '0.1s' });

schedule('third', 'third', %soon);
$worker = start_worker('third', '--activity=third=[ $WF_ATTEMPT = 3 ] || exit $WF_ATTEMPT; echo $WF_ATTEMPT');
is(closing_event('third'), 'ActivityTaskCompleted', 'third attempt succeeds');
is(attribute('third', 'ActivityTaskStarted', '{attempt}'), '3', 'it is recorded as the third');
is(attribute('third', 'ActivityTaskStarted', '{last_failure,type}'), 'ExitStatus2', 'with the failure before it');
is(attribute('third', 'ActivityTaskCompleted', '{result}'), '3', 'command knew its attempt');
stop_worker($worker);

# the first writes JSON, the second nothing, the third text
schedule('details', 'details', %soon, heartbeat_timeout => '60s');
$worker = start_worker('details', '--activity=details='
	. 'echo "$WF_HEARTBEAT_DETAILS" >>' . "$dir/details;"
	. 'case $WF_ATTEMPT in 1) echo 1 >&3; printf "{\\"n\\":\\n[2]}\\n{\\"n\\": 3}\\n\\nunfinished" >&3; exit 1;;'
	. '2) exit 1;; 3) echo 50 % >&3; exit 1;; esac');
is(closing_event('details'), 'ActivityTaskCompleted', 'details: completed');
is( slurp_file("$dir/details"), qq(\n{"n": 3}\n{"n": 3}\n"50 %"\n),
	'each attempt gets the last whole line of those before');
stop_worker($worker);

# details arrive while the command runs
schedule('progress', 'progress');
$worker = start_worker('progress', '--activity=progress='
	. 'i=0; while [ $i -lt 1000 ]; do echo $i >&3; i=$((i+1)); done; printf "\\351\\n" >&3;' . gate('progress'));
my $run = q(FROM wf.activity JOIN wf.execution USING (run_id) WHERE workflow_id);
wait_for('details arrive', "SELECT heartbeat_details = '\"?\"' $run = 'progress'");
open_gate('progress');
is(closing_event('progress'), 'ActivityTaskCompleted', 'progress: completed');
stop_worker($worker);

# here, time itself is tested: this takes longer than the time-out, of which
# the worker waits for a third
schedule('alive', 'alive', heartbeat_timeout => '6s', %once);
run_worker('alive', '--activity=alive=sleep 8; echo $WF_ATTEMPT');
is(closing_event('alive'), 'ActivityTaskCompleted', 'worker heartbeats for a silent command');

#
# Cancellation: there is no heartbeat time-out, so only the notification tells
#

my %trap = (
	'completes' => [ q(trap 'echo done; exit 0' TERM), 'ActivityTaskCompleted', '{result}', 'done' ],
	'cancels' => [ q(trap 'echo "{\"cleaned\": true}"; exit 143' TERM), 'ActivityTaskCanceled', '{details,cleaned}', 'true' ],
	'says-nothing' => [ q(trap 'exit 143' TERM), 'ActivityTaskCanceled', '{details}', '' ],
	'fails' => [ q(trap 'echo cleanup failed >&2; exit 7' TERM), 'ActivityTaskFailed', '{failure,type}', 'ExitStatus7' ],
	'dies' => [ q(echo '{"at": 5}' >&3; :), 'ActivityTaskCanceled', '{details,at}', '5' ]);
foreach my $id (sort keys %trap)
{
	my ($trap, $type, $path, $expected) = @{ $trap{$id} };

	schedule($id, 'trap', %soon);
	$worker = start_worker($id, '--poll-interval=600', "--activity=trap=$trap; " . gate($id));
	my $pid = pid_at_gate($id);
	cancel_activity($id);
	is(closing_event($id), $type, "$id: $type");
	is(attribute($id, $type, $path), $expected, "$id: what it says");
	ok(is_gone($pid), "$id: command has ended");
	is(attribute($id, $type, '{retry_state}'), 'CancelRequested', "$id: no retry") if $id eq 'fails';
	stop_worker($worker);
}

# from the commit of the request to the signal
append_to_file("$dir/clock", <<'PERL');
use strict;
use warnings;
use Time::HiRes qw(time);

$SIG{TERM} = sub { my $now = time(); printf "%.6f\n", $now; exit 143 };
open(my $file, '>', "$ARGV[0].new") or die;
print $file "$$\n";
close($file);
rename("$ARGV[0].new", $ARGV[0]);
sleep while 1;
PERL
$worker = start_worker('clock', '--poll-interval=600', "--activity=clock=exec perl $dir/clock $dir/\$WF_WORKFLOW_ID.pid");
my @delays;
foreach my $i (1 .. 10)
{
	schedule("clock-$i", 'clock', task_queue => 'clock');
	pid_at_gate("clock-$i");
	cancel_activity("clock-$i");
	closing_event("clock-$i");
	push @delays, sql(qq(
		SELECT 1000 * ((SELECT attributes ->> 'details' FROM wf_history('clock-$i')
				WHERE event_type = 'ActivityTaskCanceled')::float8
			- extract(epoch FROM pg_xact_commit_timestamp(e.xmin))::float8)
		FROM wf.event e JOIN wf.execution x USING (run_id)
		WHERE x.workflow_id = 'clock-$i' AND e.event_type = 'ActivityTaskCancelRequested'));
}
@delays = sort { $a <=> $b } @delays;
cmp_ok($delays[5], '<', 1000, 'normally less than a second from the commit to the signal');
diag(sprintf('commit of the cancel request to SIGTERM: median %.1f ms, from %.1f to %.1f ms',
	$delays[5], $delays[0], $delays[-1]));
stop_worker($worker);

# The shell dies at once; what it runs may clean up, and is waited for.
schedule('behind-shell', 'behind');
append_to_file("$dir/cleaner", <<"PERL");
use strict;
use warnings;

\$SIG{TERM} = sub { open(my \$fifo, '<', '$dir/cleaned') or die; <\$fifo>; print "cleaned\\n"; exit };
open(my \$file, '>', '$dir/behind.pid') or die;
print \$file "\$\$\\n";
close(\$file);
sleep while 1;
PERL
gate('cleaned');
$worker = start_worker('behind-shell', "--activity=behind=perl $dir/cleaner; echo not reached");
my $pid = pid_at_gate('behind');
cancel_activity('behind-shell');
open_gate('cleaned');
is(closing_event('behind-shell'), 'ActivityTaskCanceled', 'behind a shell: canceled');
is(attribute('behind-shell', 'ActivityTaskCanceled', '{details}'), 'cleaned', 'behind a shell: cleanup was waited for');
ok(is_gone($pid), 'behind a shell: program has ended');
stop_worker($worker);

schedule('stubborn', 'stubborn');
$worker = start_worker('stubborn', '--grace-period=0.5',
	"--activity=stubborn=trap '' TERM; echo partial; sleep 1000 & echo \$! >$dir/child.pid; " . gate('stubborn'));
my $child = pid_at_gate('child');
$pid = pid_at_gate('stubborn');
cancel_activity('stubborn');
is(closing_event('stubborn'), 'ActivityTaskCanceled', 'stubborn: canceled');
is(attribute('stubborn', 'ActivityTaskCanceled', '{details}'),
	'{"killed": true, "message": "command was killed because it did not end within 0.5 s after SIGTERM"}',
	'stubborn: details tell that it was killed');
wait_until('stubborn: its children are killed, too', sub { is_gone($pid) && is_gone($child) });
stop_worker($worker);

# one that is stopped cannot clean up before it goes on
schedule('stopped', 'stopped');
$worker = start_worker('stopped', "--activity=stopped=trap 'exit 0' TERM; " . gate('stopped'));
$pid = pid_at_gate('stopped');
kill 'STOP', $pid;
cancel_activity('stopped');
is(closing_event('stopped'), 'ActivityTaskCompleted', 'stopped: went on and ended');
stop_worker($worker);

#
# Termination, time-out
#

schedule('terminate', 'wait');
$worker = start_worker('terminate', '--poll-interval=600',
	"--activity=wait=trap 'echo asked >$dir/asked' TERM; sleep 1000 & echo \$! >$dir/sleep.pid; " . gate('terminate'));
$child = pid_at_gate('sleep');
$pid = pid_at_gate('terminate');
sql(q(SELECT wf_terminate('terminate', 'test')));
wait_until('terminate: all of its group is killed', sub { is_gone($pid) && is_gone($child) });
wait_for_line($worker, qr/warning: activity "terminate" .*, is killed: /, 'terminate: logged');
ok(!-e "$dir/asked", 'terminate: without being asked');
unlike(worker_log($worker), qr/too late|is completed|reported/, 'terminate: nothing is replied');
stop_worker($worker);

schedule('timed-out', 'wait', %once, start_to_close_timeout => '4s');
$worker = start_worker('timed-out', '--poll-interval=600', '--activity=wait=' . gate('timed-out'));
$pid = pid_at_gate('timed-out');
is(closing_event('timed-out'), 'ActivityTaskTimedOut', 'timed out');
wait_until('timed out: command is killed', sub { is_gone($pid) });
stop_worker($worker);

# a paused activity may finish, and one that is reset
schedule('pause', 'wait');
$worker = start_worker('pause', '--poll-interval=600', '--activity=wait=' . gate('pause'));
$pid = pid_at_gate('pause');
sql(q(SELECT wf_pause_activity('pause', 'pause')));
wait_for('worker has heard of it', q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE application_name = 'wf_worker' AND state = 'idle' AND query LIKE '%wf_heartbeat%'));
ok(!is_gone($pid), 'pause: command goes on');
sql(q(SELECT wf_unpause_activity('pause', 'pause')));
open_gate('pause');
is(closing_event('pause'), 'ActivityTaskCompleted', 'pause: and completes');
stop_worker($worker);

#
# What commands leave behind
#

schedule('background', 'background');
run_worker('background', "--activity=background=sleep 1000 & echo \$! >$dir/background.pid; echo 1");
is(closing_event('background'), 'ActivityTaskCompleted', 'background: not waited for');
$pid = pid_at_gate('background');
wait_until('background: and killed', sub { is_gone($pid) });

check_sound($node);
$node->stop;
done_testing();
