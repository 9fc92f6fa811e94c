#!/usr/bin/perl
# Two workflows about cancelling an activity, for wf_worker.  "greeting" waits
# for three seconds and cancels the activity itself.  "careful" cancels it when
# somebody cancels the workflow, and then runs another activity to clean up.

use strict;
use warnings;
use JSON::PP;

my $task = decode_json(join '', <STDIN>);
my (%event, %count);	# last event of each type; how many there are
foreach (@{ $task->{history} })
{
	$event{ $_->{event_type} } = $_;
	$count{ $_->{event_type} }++;
}

my @commands;
sub command { my ($type, %fields) = @_; push @commands, { command_type => $type, %fields } }
sub schedule
{
	my ($id, $type, %fields) = @_;
	command('ScheduleActivityTask', activity_id => $id, activity_type => $type,
		start_to_close_timeout => '5 min', heartbeat_timeout => '30 s', %fields);
}

my $scheduled = $event{ActivityTaskScheduled};
my $asked = $event{ActivityTaskCancelRequested};
my $canceled = $event{ActivityTaskCanceled};

if (!$scheduled)
{
	schedule('loop', 'cancellable');
	command('StartTimer', timer_id => 'patience', start_to_fire_timeout => '3 s')
	  if $task->{workflow_type} eq 'greeting';
}
elsif (($event{TimerFired} || $event{WorkflowExecutionCancelRequested}) && !$asked)
{
	command('RequestCancelActivityTask', scheduled_event_id => $scheduled->{event_id});
}
elsif ($canceled && $task->{workflow_type} eq 'greeting')
{
	command('CompleteWorkflowExecution', result => $canceled->{attributes}{details});
}
elsif ($event{ActivityTaskCompleted})
{
	command('CancelWorkflowExecution', details => $event{ActivityTaskCompleted}{attributes}{result});
}
elsif ($canceled && $count{ActivityTaskScheduled} == 1)
{
	schedule('tidy', 'cleanup', input => "tidied up after: $canceled->{attributes}{details}");
}

print encode_json(\@commands);
