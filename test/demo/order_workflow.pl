#!/usr/bin/perl
# The workflow of an order, for wf_worker: a workflow task comes in on standard
# input, as a JSON object with the history so far; what to do next goes to
# standard output, as a JSON array of commands.

use strict;
use warnings;
use JSON::PP;

my $task = decode_json(join '', <STDIN>);
my %last;	# attributes of the last event of each type
$last{ $_->{event_type} } = $_->{attributes} foreach @{ $task->{history} };

my $order = $last{WorkflowExecutionStarted}{input};
my @commands;

sub command { my ($type, %fields) = @_; push @commands, { command_type => $type, %fields } }

# A bug, for the demo to run into.
die "cannot wrap an anvil\n" if $order->{item} eq 'anvil';

if (!$last{TimerStarted})
{
	command('RecordMarker', marker_name => "$order->{item} reserved");
	command('StartTimer', timer_id => 'payment', start_to_fire_timeout => '1h');
}
if ($last{WorkflowExecutionCancelRequested})
{
	# The clean-up, and the confirmation that it is done.
	command('CancelTimer', timer_id => 'payment');
	command('RecordMarker', marker_name => "$order->{item} put back");
	command('RecordMarker', marker_name => 'refund recorded');
	command('CancelWorkflowExecution');
}
elsif ($last{WorkflowExecutionSignaled})
{
	command('CancelTimer', timer_id => 'payment');
	command('RecordMarker', marker_name => "$order->{item} shipped");
	command('CompleteWorkflowExecution', result => 'shipped');
}
elsif ($last{TimerFired})
{
	command('RecordMarker', marker_name => "$order->{item} put back");
	command('CompleteWorkflowExecution', result => 'not paid');
}

print encode_json(\@commands);
