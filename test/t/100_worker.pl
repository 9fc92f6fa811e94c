# wf_worker: what becomes of tasks, commands and signals

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use WfiTest qw(check_sound);
use WorkerTest qw($program $dir new_node start_worker worker_pid finish_worker
  run_worker wait_until wait_for_line wait_for attribute gate open_gate is_gone);

my $complete = q([{"command_type":"CompleteWorkflowExecution","result":"ok"}]);

#
# The command line
#

program_help_ok($program);
program_version_ok($program);
program_options_handling_ok($program);

my @usage_errors = (
	[ 'no queue', ['--workflow=t=true'], qr/no task queue specified/ ],
	[ 'no type', ['--task-queue=q'], qr/no workflow type or activity type specified/ ],
	[ 'empty queue', ['--task-queue='], qr/--task-queue must not be empty/ ],
	[ 'no command', ['--workflow=t'], qr/needs TYPE=COMMAND, got "t"/ ],
	[ 'empty command', ['--workflow=t= '], qr/no command after "="/ ],
	[ 'empty type', ['--workflow==true'], qr/no type before "="/ ],
	[
		'type given twice',
		[ '--workflow=t=a', '--workflow=t=b' ],
		qr/given twice for type "t"/
	],
	[
		'bad interval',
		['--poll-interval=1s'],
		qr/invalid value "1s" for option --poll-interval/
	],
	[ 'no interval', ['--poll-interval=0'], qr/must be in range 0\.001\.\.86400/ ],
	[ 'infinity', ['--task-timeout=inf'], qr/invalid value "inf"/ ],
	[ 'no slots', ['--max-concurrent=0'], qr/must be in range 1\.\.1000/ ],
	[ 'too many slots', ['--max-concurrent=1001'], qr/range 1\.\.1000/ ],
	[ 'bad number', ['--max-concurrent=x'], qr/invalid value "x"/ ],
	[ 'argument', [qw(--task-queue=q --workflow=t=true x)],
		qr/too many command-line arguments \(first is "x"\)/
	]);
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

# here the library is not preloaded
my $node = new_node("shared_preload_libraries = ''\n");

#
# Helpers
#

# Starts a workflow.
sub start_workflow
{
	my ($id, $type, $input) = @_;

	$node->safe_psql('postgres', qq(
		SELECT wf_start('$id', '$type', @{[$input // 'NULL']},
			task_queue => 'queue-$id', task_timeout => '1 min')));
}

# Waits until the workflow has events of this type, normally one.
sub wait_for_event
{
	my ($id, $type, $count) = @_;

	$count //= 1;
	wait_for("$id: $type",
		"SELECT count(*) = $count FROM wf_history('$id') WHERE event_type = '$type'"
	);
}

# Status of a workflow.
sub status
{
	my ($id) = @_;

	return $node->safe_psql('postgres',
		"SELECT status FROM wf.execution WHERE workflow_id = '$id'");
}

# Writes an executable file.
sub script
{
	my ($name, $content) = @_;

	append_to_file("$dir/$name", $content);
	chmod 0755, "$dir/$name";
	return "$dir/$name";
}

# A command that does something at its first attempt, and then completes.
sub then_complete
{
	my ($first) = @_;

	return "if [ \$WF_ATTEMPT = 1 ]; then $first; else echo '$complete'; fi";
}

# Waits until the command is at its gate; returns its process id.
sub pid_at_gate
{
	my ($name) = @_;

	wait_until("command at $name",
		sub { -e "$dir/$name.pid" && slurp_file("$dir/$name.pid") =~ /\n/ });
	return slurp_file("$dir/$name.pid") + 0;
}

#
# What a command gets and gives; a cancel request and its cleanup
#

my $order = script('order', <<'PERL');
#!/usr/bin/perl
use strict;
use warnings;
use JSON::PP;

my $line = <STDIN>;
my $task = decode_json($line);
my %seen = map { $_->{event_type} => $_ } @{ $task->{history} };
my $input = $seen{WorkflowExecutionStarted}->{attributes}->{input};
my @commands;

if ($seen{WorkflowExecutionCancelRequested})
{
	push @commands, { command_type => 'RecordMarker', marker_name => 'cleanup' };
	push @commands, { command_type => 'CancelWorkflowExecution' };
}
elsif ($input ne 'wait')
{
	my %environment = map { $_ => $ENV{$_} } grep { /^WF_/ } keys %ENV;
	my %keys = %$task;

	delete $keys{history};
	push @commands,
	  { command_type => 'CompleteWorkflowExecution',
		result => { input => $input, environment => \%environment, task => \%keys,
			rest => join('', <STDIN>) } };
}
print encode_json(\@commands) if @commands;
PERL

my $worker = start_worker('queue-order', '--poll-interval=600',
	'--identity=tester', '--workflow', "order=$order");
my $idle = q(SELECT count(*) = 1 FROM pg_stat_activity
	WHERE application_name = 'wf_worker' AND state = 'idle'
	AND query LIKE '%wf_poll_workflow_task%');
wait_for('worker has looked for tasks and sleeps', $idle);

my $begin = time();
start_workflow('order', 'order', q('"größe"'));
wait_for_event('order', 'WorkflowExecutionCompleted');
cmp_ok(time() - $begin, '<', 100, 'notification woke the worker');
is( $node->safe_psql('postgres', q(
	SELECT r -> 'input', r -> 'rest',
		r -> 'environment' = jsonb_build_object('WF_WORKFLOW_ID', 'order',
			'WF_RUN_ID', e.run_id, 'WF_WORKFLOW_TYPE', 'order', 'WF_ATTEMPT', '1',
			'WF_TASK_QUEUE', 'queue-order', 'WF_NAMESPACE', 'default'),
		r -> 'task' = jsonb_build_object('workflow_id', 'order', 'run_id', e.run_id,
			'workflow_type', 'order', 'attempt', 1, 'previous_started_event_id', 0,
			'started_event_id', 3)
	FROM wf.execution e, wf_result('order') r WHERE workflow_id = 'order')),
	'"größe"|""|t|t', 'command saw its task and environment');
is(attribute('order', 'WorkflowTaskStarted', '{identity}'),
	'tester', 'identity is recorded');

$node->safe_psql('postgres', q(
	SELECT wf_start('cancel-me', 'order', '"wait"', task_queue => 'queue-order')));
wait_for_event('cancel-me', 'WorkflowTaskCompleted');
$node->safe_psql('postgres', q(SELECT wf_cancel('cancel-me', 'not needed')));
wait_for_event('cancel-me', 'WorkflowExecutionCanceled');
is( $node->safe_psql('postgres', q(
	SELECT string_agg(event_type::text, ' ' ORDER BY event_id) FROM wf_history('cancel-me')
	WHERE event_id >= 5)),
	'WorkflowExecutionCancelRequested WorkflowTaskScheduled WorkflowTaskStarted'
	  . ' WorkflowTaskCompleted MarkerRecorded WorkflowExecutionCanceled',
	'command saw the cancel request, cleaned up and ended');

# more notifications than anybody needs
$node->safe_psql('postgres', q(
	SELECT pg_notify(wf_channel('workflow', 'queue-order'), i::text)
	FROM generate_series(1, 20000) i));
$node->safe_psql('postgres', q(
	SELECT wf_start('after', 'order', '"x"', task_queue => 'queue-order')));
wait_for_event('after', 'WorkflowExecutionCompleted');

# a worker that has nothing to do does nothing (here, time itself is measured)
SKIP:
{
	skip 'needs /proc', 1 unless -e '/proc/self/stat';
	wait_for('worker sleeps', $idle);
	my $file = '/proc/' . worker_pid($worker) . '/stat';
	my @before = split(' ', slurp_file($file));
	usleep(1_000_000);
	my @after = split(' ', slurp_file($file));
	cmp_ok($after[13] + $after[14] - $before[13] - $before[14],
		'<=', 2, 'idle worker uses no CPU time');
}
kill 'TERM', worker_pid($worker);
is(finish_worker($worker), 0, 'idle worker stops at a signal');
unlike(slurp_file($worker->{log}), qr/wait|größe|warning/, 'nothing private in the log');

#
# Failures of commands
#

my @failures = (
	[ 'status', 'echo some trouble >&2; exit 3',
		qr/^command failed with exit status 3$/, qr/^some trouble$/ ],
	[ 'missing', 'no_such_program_at_all',
		qr/^command failed with exit status 127$/, qr/no_such_program_at_all/ ],
	[ 'signal', 'echo [; kill -9 $$',
		qr/^command was terminated by signal 9: /, qr/^$/ ],
	[ 'json', 'echo "[{"; echo not quite >&2',
		qr/^output of command was not accepted: invalid input syntax for type json: /,
		qr/^not quite$/ ],
	[ 'object', 'echo {}', qr/^output of command was not accepted: /, qr/^$/ ],
	[ 'utf8', 'printf "[\"\\351\"]"',
		qr/^output of command was not accepted: invalid byte sequence/, qr/^$/ ],
	[ 'null', 'printf "[]\\0"',
		qr/^output of command was not accepted: invalid byte sequence/, qr/^$/ ],
	[ 'flood', 'head -c 17000000 /dev/zero',
		qr/^command wrote more than 16 MiB to standard output$/, qr/^$/ ],
	[ 'tail',
		q(perl -e 'print STDERR "first\n", "\xc3\xa4" x 8000, "\0\xff last"'),
		qr/^command failed with exit status 1$/, qr/^ä{2044}\?\? last$/ ]);
foreach my $case (@failures)
{
	my ($id, $command, $message, $trace) = @$case;

	$command .= '; exit 1' if $id eq 'tail';
	start_workflow($id, 'broken');
	my $log = run_worker("queue-$id", '--workflow',
		'broken=' . then_complete($command));
	is(attribute($id, 'WorkflowTaskFailed', '{cause}'),
		'WorkflowWorkerUnhandledFailure', "$id: cause");
	like(attribute($id, 'WorkflowTaskFailed', '{failure,message}'),
		$message, "$id: message");
	my $tail = attribute($id, 'WorkflowTaskFailed', '{failure,stack_trace}');
	utf8::decode($tail);
	like($tail, $id eq 'tail' ? qr/^\x{e4}{2044}\?\? last$/ : $trace, "$id: end of standard error");
	is(status($id), 'Completed', "$id: the second attempt completes it");
	like($log, qr/warning: task of workflow "$id", run \S+, attempt 1, failed: /,
		"$id: logged");
}

# A command that fails again is left to the time-out: no busy loop of attempts.
start_workflow('hopeless', 'broken');
my $log = run_worker('queue-hopeless', '--workflow', 'broken=exit 1');
is(() = $log =~ /failed: command failed with exit status 1/g, 2, 'hopeless: two attempts, then the time-out');

start_workflow('unknown', 'nobody');
run_worker('queue-unknown', '--workflow=a=true', '--workflow=b=true');
is( attribute('unknown', 'WorkflowTaskFailed', '{failure,message}'),
	'this worker has no command for workflow type "nobody", only for "a", "b"',
	'unknown type: message');

# On a slow machine, echo may take too long as well: then the attempt after the
# time-out, or another one, completes it.
start_workflow('slow', 'slow');
$worker = start_worker('queue-slow', '--task-timeout=0.2', '--workflow',
	'slow=' . then_complete('sleep 1000'));
wait_for_event('slow', 'WorkflowExecutionCompleted');
is(attribute('slow', 'WorkflowTaskFailed', '{failure,message}'),
	'command was ended because it ran too long', 'slow: message');
kill 'TERM', worker_pid($worker);
is(finish_worker($worker), 0, 'slow: worker stops');

start_workflow('refused', 'refused');
$log = run_worker('queue-refused', '--workflow', 'refused='
	. then_complete(q(echo '[{"command_type":"CancelTimer","timer_id":"none"}]')));
like($log, qr/warning: commands of workflow "refused", run \S+, attempt 1, were not accepted: BadCancelTimerAttributes: /,
	'refused: logged with cause');
is(status('refused'), 'Completed', 'refused: the second attempt completes it');

#
# Pipes
#

start_workflow('big-ignored', 'big', q(to_jsonb(repeat('x', 1000000))));
run_worker('queue-big-ignored', '--workflow', "big=echo '$complete'");
is(status('big-ignored'), 'Completed', 'command that does not read its input');

start_workflow('big-read', 'big', q(to_jsonb(repeat('x', 1000000))));
run_worker('queue-big-read', '--workflow',
	q(big=n=$(wc -c); echo "[{\"command_type\":\"CompleteWorkflowExecution\",\"result\":$n}]"));
cmp_ok($node->safe_psql('postgres', q(SELECT wf_result('big-read'))),
	'>', 1000000, 'command that reads its big input');

start_workflow('big-written', 'big');
run_worker('queue-big-written', '--workflow',
	q(big=printf '[{"command_type":"CompleteWorkflowExecution","result":"'; head -c 1000000 /dev/zero | tr '\0' x; echo '"}]'));
is($node->safe_psql('postgres', q(SELECT length(wf_result('big-written') #>> '{}'))),
	'1000000', 'command that writes much output');

start_workflow('closed', 'closed');
run_worker('queue-closed', '--workflow',
	"closed=echo '$complete'; exec <&- >&- 2>&-; sleep 0.1");
is(status('closed'), 'Completed', 'command that closes its standard descriptors');

start_workflow('background', 'background');
$begin = time();
run_worker('queue-background', '--workflow',
	"background=(sleep 100; echo no) & echo \$! >$dir/background; echo '$complete'");
cmp_ok(time() - $begin, '<', 50, 'command that leaves a process behind is not waited for');
is(status('background'), 'Completed', 'and its output counts');
kill 'KILL', slurp_file("$dir/background") + 0;

#
# Time-outs, signals
#

start_workflow('late', 'late');
$worker = start_worker('queue-late', '--exit-when-empty', '--workflow', 'late=' . gate('late'));
pid_at_gate('late');
$node->safe_psql('postgres', q(SELECT wf_terminate('late', 'test')));
open_gate('late');
is(finish_worker($worker), 0, 'late: worker goes on');
like(slurp_file($worker->{log}),
	qr/warning: reply for workflow "late", run \S+, attempt 1, came too late: /, 'late: logged');
is(status('late'), 'Terminated', 'late: nothing else happened');

start_workflow('drain', 'drain');
$worker = start_worker('queue-drain', '--workflow', 'drain=' . gate('drain') . "; echo '$complete'");
pid_at_gate('drain');
kill 'TERM', worker_pid($worker);
wait_for_line($worker, qr/stopping, commands still running: 1/, 'drain: signal arrived');
$node->safe_psql('postgres', q(SELECT wf_start('drain-2', 'drain', task_queue => 'queue-drain')));
open_gate('drain');
is(finish_worker($worker), 0, 'drain: success');
is(status('drain'), 'Completed', 'drain: what ran was replied');
is($node->safe_psql('postgres', q(
	SELECT count(*) FROM wf_history('drain-2') WHERE event_type = 'WorkflowTaskStarted')),
	'0', 'drain: nothing new was taken');

start_workflow('twice', 'twice');
$worker = start_worker('queue-twice', '--workflow',
	"twice=trap 'echo asked >$dir/twice.asked; exit 1' TERM; echo \$\$ >$dir/twice.pid; sleep 1000");
my $pid = pid_at_gate('twice');
kill 'INT', worker_pid($worker);
wait_for_line($worker, qr/stopping/, 'twice: first signal arrived');
ok(kill(0, $pid), 'twice: command goes on');
kill 'INT', worker_pid($worker);
is(finish_worker($worker), 1, 'twice: the second signal ends the worker');
is(slurp_file("$dir/twice.asked"), "asked\n", 'twice: command was asked to end');
is(kill(0, $pid), 0, 'twice: command has ended');

start_workflow('stubborn', 'stubborn');
$worker = start_worker('queue-stubborn', '--workflow',
	"stubborn=trap '' TERM; echo \$\$ >$dir/stubborn.pid; sleep 1000");
$pid = pid_at_gate('stubborn');
kill 'TERM', worker_pid($worker);
wait_for_line($worker, qr/stopping/, 'stubborn: first signal arrived');
kill 'TERM', worker_pid($worker);
is(finish_worker($worker), 1, 'stubborn: worker ends');
is(kill(0, $pid), 0, 'stubborn: command was killed');

SKIP:
{
	skip 'needs Linux', 2 unless $^O eq 'linux';
	start_workflow('orphan', 'orphan');
	$worker = start_worker('queue-orphan', '--workflow', 'orphan=' . gate('orphan'));
	$pid = pid_at_gate('orphan');
	kill 'KILL', worker_pid($worker);
	finish_worker($worker);
	wait_until('orphan: command does not outlive its worker', sub { is_gone($pid) });
}

check_sound($node);
$node->stop;
done_testing();
